// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"spillway/testbed/qemu"
	"spillway/testbed/usage"
)

// runPC runs a command in an emulated PC, and returns what this program is to end with: what the command ended with, or 125 if it
// did not come to that.
func runPC(ctx context.Context, command []string, o options) int {
	code, err := o.inPC(ctx, command)
	if err != nil {
		fmt.Fprintln(os.Stderr, "qemu: pc:", err)
		return 125
	}
	return code
}

func (o options) inPC(ctx context.Context, command []string) (code int, err error) {
	if len(command) == 0 {
		usage.Wrong("qemu", errors.New("pc: name a command"))
	}
	name := o.guests
	if name == "" {
		name = "amd64-6.12"
	}
	g, err := qemu.Find(name)
	if err != nil {
		return 0, err
	}
	kept := o.keep
	if kept == "" {
		if kept, err = os.MkdirTemp("", "spillway-pc-"); err != nil {
			return 0, err
		}
		defer os.Remove(kept) // unless the command has left something
	} else if err := os.MkdirAll(kept, 0o755); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("its limit is %v (-limit)", o.limit))
	defer cancel()
	return o.store().Run(ctx, qemu.PC{Guest: g, CPUs: o.cpus, Memory: o.memory, Kept: kept, Output: os.Stdout}, command)
}
