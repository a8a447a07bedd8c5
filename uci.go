// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"

	"spillway/config"
	"spillway/openwrt/uci"
)

// uciFile is the package's UCI configuration.
const uciFile = "/etc/config/spillway"

func uciCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	if err := parse(flags, args, 1); err != nil {
		return err
	}
	name := or(flags.Arg(0), uciFile)
	text, err := readAll(e, name)
	if err != nil {
		return fmt.Errorf("read UCI: %w", err)
	}
	out, err := uci.Import(bytes.NewReader(text), name)
	if err != nil {
		return usageError{err}
	}
	if _, err := config.Parse(name, string(out)); err != nil {
		return usageError{uci.Explain(out, name, err)}
	}
	_, err = e.stdout.Write(out)
	return err
}
