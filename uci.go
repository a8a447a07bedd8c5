// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"spillway/config"
	"spillway/openwrt/uci"
)

// uciFile is the package's UCI configuration, and renderedFile what the init script makes of it for the daemon.
const (
	uciFile      = "/etc/config/spillway"
	renderedFile = "/var/run/spillway/spillway.toml"
)

func uciCommand(_ context.Context, e env, flags *flag.FlagSet, args []string) error {
	if err := parse(flags, args, 1); err != nil {
		return err
	}
	name := or(flags.Arg(0), uciFile)
	text, err := readAll(e, name)
	if err != nil {
		return fmt.Errorf("read UCI: %w", err)
	}
	_, out, err := fromUCI(text, name)
	if err != nil {
		return usageError{err}
	}
	_, err = e.stdout.Write(out)
	return err
}

// fromUCI reads UCI's text as a configuration, and returns the daemon's text of it too. Errors name section and option.
func fromUCI(text []byte, name string) (*config.Config, []byte, error) {
	out, err := uci.Import(bytes.NewReader(text), name)
	if err != nil {
		return nil, nil, err
	}
	c, err := config.Parse(name, string(out))
	return c, out, uci.Explain(out, name, err)
}

// origin is where a configuration was found.
type origin struct {
	file string
	text []byte // the daemon's, made of UCI's; nil: the file's own
}

// explain puts UCI's names into errors about lines.
func (o origin) explain(err error) error {
	if o.text == nil {
		return err
	}
	return uci.Explain(o.text, o.file, err)
}

// findConfig reads a configuration; OpenWrt's where nothing is at the usual place and that is there.
func findConfig(file, usual, openwrt string) (*config.Config, origin, error) {
	if _, err := os.Stat(file); file == usual && errors.Is(err, os.ErrNotExist) {
		if text, err := os.ReadFile(openwrt); err == nil {
			c, out, err := fromUCI(text, openwrt)
			return c, origin{openwrt, out}, err
		}
	}
	c, err := config.Load(file)
	return c, origin{file: file}, err
}
