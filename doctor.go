// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
)

func doctorCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	ask, js, err := asking(flags, args, 0)
	if err != nil {
		return err
	}
	return show(e, ask, js, "doctor", nil, writeDoctor)
}

func (h *house) doctor(ctx context.Context) (*Doctor, error) { return &Doctor{}, nil }
