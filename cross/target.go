// SPDX-License-Identifier: Apache-2.0

// Package cross builds the router's binary for every router we know, holds it to its flash budget, says what each
// dependency costs, and wraps it into OpenWrt packages (.ipk for opkg, .apk for apk) that are the same octets
// whoever builds them. Nothing of this package is linked into the router's binary.
package cross

import (
	"fmt"
	"strings"
)

// Target is one kind of machine.
type Target struct {
	Name string   // what people type
	Env  []string // for the Go tool
	QEMU string   // user-mode emulator without "qemu-" and "-static"; "": runs here or isn't tried
	// Align is what the linker rounds segments to; "": its own choice, 64 KiB, which only fills the file with zeros
	// where the kernel's pages are smaller.
	Align string
	// Arches are the OpenWrt package architectures that run this binary.
	Arches []string
}

// Targets is the matrix. OpenWrt's MIPS kernels have no FPU emulation, so a hardfloat binary dies of SIGILL there; on
// ARM Go needs only d0..d15, so GOARM=7 fits every VFPv3 and GOARM=5 whatever has no FPU. Pages are 4 KiB on 32-bit ARM and at most 16 KiB on the
// MIPS kernels that routers run.
func Targets() []Target {
	return []Target{
		{"mips", []string{"GOARCH=mips", "GOMIPS=softfloat"}, "mips", "0x4000", []string{"mips_24kc", "mips_4kec", "mips_mips32"}},
		{"mipsle", []string{"GOARCH=mipsle", "GOMIPS=softfloat"}, "mipsel", "0x4000", []string{"mipsel_24kc", "mipsel_74kc", "mipsel_mips32"}},
		{"armv5", []string{"GOARCH=arm", "GOARM=5"}, "", "0x1000", []string{"arm_arm926ej-s", "arm_cortex-a9", "arm_xscale", "arm_fa526"}},
		{"armv6", []string{"GOARCH=arm", "GOARM=6"}, "", "0x1000", []string{"arm_arm1176jzf-s_vfp"}},
		{"armv7", []string{"GOARCH=arm", "GOARM=7"}, "arm", "0x1000", []string{
			"arm_cortex-a5_vfpv4", "arm_cortex-a7_neon-vfpv4", "arm_cortex-a7_vfpv4", "arm_cortex-a8_vfpv3",
			"arm_cortex-a9_neon", "arm_cortex-a9_vfpv3-d16", "arm_cortex-a15_neon-vfpv4"}},
		{"arm64", []string{"GOARCH=arm64", "GOARM64=v8.0"}, "aarch64", "", []string{
			"aarch64_cortex-a53", "aarch64_cortex-a72", "aarch64_cortex-a76", "aarch64_generic"}},
		{"amd64", []string{"GOARCH=amd64", "GOAMD64=v1"}, "", "", []string{"x86_64"}},
	}
}

// Select picks targets by their names, comma separated; "" or "all" is every one.
func Select(names string) ([]Target, error) {
	all := Targets()
	if names == "" || names == "all" {
		return all, nil
	}
	var out []Target
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, t := range all {
			if t.Name == name {
				out, found = append(out, t), true
			}
		}
		if !found {
			return nil, fmt.Errorf("target %q: known are %s", name, Names(all))
		}
	}
	return out, nil
}

// Names lists targets for people.
func Names(ts []Target) string {
	var out []string
	for _, t := range ts {
		out = append(out, t.Name)
	}
	return strings.Join(out, ", ")
}
