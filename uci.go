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
	out, _, err := fromUCI(text, name)
	if err != nil {
		return usageError{err}
	}
	_, err = e.stdout.Write(out)
	return err
}

// fromUCI makes the configuration of UCI's text, as TOML and as values. Errors name section and option.
func fromUCI(text []byte, name string) (toml []byte, c *config.Config, err error) {
	if toml, err = uci.Import(bytes.NewReader(text), name); err != nil {
		return nil, nil, err
	}
	if c, err = config.Parse(name, string(toml)); err != nil {
		return nil, nil, uci.Explain(toml, name, err)
	}
	return toml, c, nil
}
