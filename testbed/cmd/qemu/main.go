// SPDX-License-Identifier: Apache-2.0
package main

import (
	"fmt"
	"os"
	"spillway/testbed/qemu"
)

func main() {
	d := qemu.Debian{Dir: os.Args[1], Log: func(f string, a ...any) { fmt.Printf(f+"\n", a...) }}
	for _, g := range qemu.Guests() {
		if g.Kernel.Built != "" {
			continue
		}
		k, err := d.Kernel(g.Kernel)
		fmt.Println(k, err)
		k, err = d.Userland(g.Userland)
		fmt.Println(k, err)
	}
}
