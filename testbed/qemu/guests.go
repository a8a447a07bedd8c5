// SPDX-License-Identifier: Apache-2.0

// Package qemu emulates whole routers: Debian's kernels for MIPS, ARM and x86 boot in QEMU with an initramfs that this
// package builds, and stand in the testbed's world in the place of the namespace cpe. The LAN host, the link emulator, the
// concentrator and the server stay where they are, and so do the scenarios.
//
//	lan (namespace) ── TAP ── lan0 [ guest: kernel, nft, spillway ] dsl, lte ── linkemu ── providers (namespaces)
//
// Everything is software emulation (TCG): rates are scaled to what a guest can carry, times are the guest's own.
package qemu

import (
	"fmt"
	"os"
	"strings"
)

// Guest is one kind of router.
type Guest struct {
	Name     string
	About    string
	Kernel   Kernel
	Userland string   // Debian architecture of busybox, nft and their libraries; "": none, and nft is the one of guest/nft
	Build    []string // environment of the Go tool
	QEMU     string   // the emulator, with the arguments that make the machine
	Machine  []string
	Memory   int     // MB
	Carries  float64 // Mbit/s of the yardstick relay when the emulator has a core of 2.x GHz to itself: what rates are scaled by
	Console  string  // kernel's name of the first serial line
	Bus      string  // of virtio devices: "pci" or "device" (MMIO)
	Package  string  // Debian package of the emulator
}

// Kernel says where a kernel comes from: a package of a suite, or a build of our own.
type Kernel struct {
	Arch, Suite, Package string // Package is the one that depends on the newest of its kind
	Built                string // directory below the cache that `make qemu-be` fills; "": none
}

const (
	stable    = "bookworm"
	backports = "bookworm-backports"
	unstable  = "sid"
)

// Guests returns all kinds, the smallest first.
func Guests() []Guest {
	malta := Guest{
		Userland: "mipsel", Build: []string{"GOARCH=mipsle", "GOMIPS=softfloat"},
		QEMU: "qemu-system-mipsel", Machine: []string{"-M", "malta", "-cpu", "24Kc"}, Memory: 64, Carries: 110, Console: "ttyS0", Bus: "pci", Package: "qemu-system-mips",
	}
	armhf := Guest{
		Userland: "armhf", Build: []string{"GOARCH=arm", "GOARM=7"},
		QEMU: "qemu-system-arm", Machine: []string{"-M", "virt", "-cpu", "cortex-a15"}, Memory: 128, Carries: 100, Console: "ttyAMA0", Bus: "device", Package: "qemu-system-arm",
	}
	arm64 := Guest{
		Userland: "arm64", Build: []string{"GOARCH=arm64", "GOARM64=v8.0"},
		QEMU: "qemu-system-aarch64", Machine: []string{"-M", "virt", "-cpu", "cortex-a53"}, Memory: 128, Carries: 110, Console: "ttyAMA0", Bus: "pci", Package: "qemu-system-arm",
	}
	amd64 := Guest{
		Userland: "amd64", Build: []string{"GOARCH=amd64", "GOAMD64=v1"},
		QEMU: "qemu-system-x86_64", Machine: accelerated(), Memory: 256, Carries: 130, // the kernel takes 45 by itself
		Console: "ttyS0", Bus: "pci", Package: "qemu-system-x86",
	}
	with := func(g Guest, name, about string, k Kernel) Guest {
		g.Name, g.About, g.Kernel = name, about, k
		return g
	}
	mips64 := with(malta, "mips64el-6.12", "64-bit MIPS kernel, 32-bit programs", Kernel{Arch: "mips64el", Suite: backports, Package: "linux-image-5kc-malta"})
	mips64.QEMU, mips64.Machine, mips64.Memory = "qemu-system-mips64el", []string{"-M", "malta", "-cpu", "5KEc"}, 128 // the kernel takes more than half of 64
	big := with(malta, "mips-be", "big-endian MIPS, the kernel built by `make qemu-be`", Kernel{Built: "malta-be"})
	big.QEMU, big.Userland, big.Build = "qemu-system-mips", "", []string{"GOARCH=mips", "GOMIPS=softfloat"}
	return []Guest{
		with(malta, "mipsel-6.1", "32-bit little-endian MIPS (24Kc)", Kernel{Arch: "mipsel", Suite: stable, Package: "linux-image-4kc-malta"}),
		mips64,
		with(armhf, "armhf-6.1", "32-bit ARM (Cortex-A15)", Kernel{Arch: "armhf", Suite: stable, Package: "linux-image-armmp"}),
		with(armhf, "armhf-6.12", "32-bit ARM (Cortex-A15)", Kernel{Arch: "armhf", Suite: backports, Package: "linux-image-armmp"}),
		with(arm64, "arm64-6.12", "64-bit ARM (Cortex-A53)", Kernel{Arch: "arm64", Suite: backports, Package: "linux-image-arm64"}),
		with(amd64, "amd64-6.1", "x86", Kernel{Arch: "amd64", Suite: stable, Package: "linux-image-amd64"}),
		with(amd64, "amd64-6.12", "x86", Kernel{Arch: "amd64", Suite: backports, Package: "linux-image-amd64"}),
		with(amd64, "amd64-newest", "x86 with the newest kernel that Debian has", Kernel{Arch: "amd64", Suite: unstable, Package: "linux-image-amd64"}),
		big,
	}
}

// accelerated lets an x86 guest use the processor itself where the kernel has KVM for Intel or AMD. What only calls itself
// so (kvm_pvm, on some rented machines) starts no kernel of Debian's.
func accelerated() []string {
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		if _, err := os.Stat("/sys/module/" + module); err != nil {
			continue
		}
		if kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
			kvm.Close()
			return []string{"-accel", "kvm", "-accel", "tcg"}
		}
	}
	return []string{"-accel", "tcg"}
}

// Find picks a guest by its name.
func Find(name string) (Guest, error) {
	var names []string
	for _, g := range Guests() {
		if g.Name == name {
			return g, nil
		}
		names = append(names, g.Name)
	}
	return Guest{}, fmt.Errorf("guest %q: known are %s", name, strings.Join(names, ", "))
}
