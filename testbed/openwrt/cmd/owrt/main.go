// SPDX-License-Identifier: Apache-2.0

// Command owrt is every program of the tree that testbed/openwrt lays, by the name it is called with.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"spillway/testbed/openwrt"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "owrt" && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	var err error
	switch name {
	case "init":
		err = openwrt.Init(args[0])
	case "uci":
		err = openwrt.UCI(args, os.Stdout)
	case "opkg":
		err = openwrt.Opkg(args, os.Stdout)
	case "apk":
		err = openwrt.Apk(args, os.Stdout)
	case "ubus":
		err = openwrt.Ubus(args)
	case "ujail":
		err = openwrt.Ujail(args)
	case "procd-call":
		text := []byte(nil)
		if len(args) > 0 && args[0] == "set" {
			text, _ = io.ReadAll(os.Stdin)
		}
		err = openwrt.ProcdCall(args, string(text))
	default:
		err = fmt.Errorf("owrt: no program %q", name)
	}
	if err != nil {
		if !openwrt.Silent(err) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}
