// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/qemu/guest"
)

// PC is an emulated PC with a kernel of Debian's and this machine's own files: tests and benchmarks run there as they do here, but on
// another kernel, as root without being root here, and with whatever this machine's kernel has lost. The files are read-only (9p), what is
// written stays in memory, but for what goes to guest.Kept.
type PC struct {
	Guest  Guest // an x86 one
	CPUs   int
	Memory int       // MB
	Kept   string    // directory that is guest.Kept there
	Output io.Writer // of the command, both streams
}

// Run boots the PC, runs the command in the directory and with the environment that this process has, and returns the command's
// exit code. The machine ends with ctx.
func (d Debian) Run(ctx context.Context, pc PC, command []string) (code int, err error) {
	if pc.Guest.Userland != "amd64" || pc.Guest.Kernel.Built != "" {
		return 0, fmt.Errorf("guest %s: a PC has this machine's programs and needs an x86 kernel", pc.Guest.Name)
	}
	image, err := d.preparePC(pc.Guest)
	if err != nil {
		return 0, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	ours, theirs, err := pair("job")
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	out, in, err := os.Pipe()
	if err != nil {
		theirs.Close()
		return 0, err
	}
	defer out.Close()
	console, err := os.CreateTemp("", "spillway-pc-console-")
	if err != nil {
		return 0, err
	}
	console.Close()
	defer os.Remove(console.Name())
	cmd := exec.CommandContext(ctx, pc.Guest.QEMU, pc.arguments(image, console.Name())...)
	cmd.ExtraFiles = []*os.File{theirs, in} // descriptors 3 and 4
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	said := &strings.Builder{}
	cmd.Stderr, cmd.WaitDelay = said, 5*time.Second
	err = cmd.Start()
	theirs.Close()
	in.Close()
	if err != nil {
		return 0, fmt.Errorf("start %s (Debian package %s): %w", pc.Guest.QEMU, pc.Guest.Package, err)
	}
	copied := make(chan struct{})
	go func() {
		io.Copy(pc.Output, out)
		close(copied)
	}()
	var answer guest.Answer
	err = json.NewEncoder(ours).Encode(guest.Job{Command: command, Dir: dir, Env: os.Environ()})
	if err == nil {
		err = ours.read(&answer)
	}
	ended := cmd.Wait() // the machine switches itself off
	<-copied
	if ctx.Err() != nil {
		return 0, fmt.Errorf("%s was ended: %w", pc.Guest.Name, context.Cause(ctx))
	}
	if err != nil {
		text, _ := os.ReadFile(console.Name())
		return 0, fmt.Errorf("%w: %w\n%sthe console's end:\n%s", ErrMachine, errors.Join(err, ended), said, text[max(0, len(text)-3000):])
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s: %s", pc.Guest.Name, answer.Error)
	}
	return code, json.Unmarshal(answer.Result, &code)
}

// preparePC packs the kernel, its modules and the PC's first process.
func (d Debian) preparePC(g Guest) (Image, error) {
	kernel, err := d.Kernel(g.Kernel)
	if err != nil {
		return Image{}, fmt.Errorf("guest %s: %w", g.Name, err)
	}
	dir := filepath.Join(d.Dir, "pc", g.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Image{}, err
	}
	image := Image{Bin: dir, Initramfs: filepath.Join(dir, "initramfs")}
	if image.Kernel, err = kernelImage(kernel); err != nil {
		return image, fmt.Errorf("guest %s: %w", g.Name, err)
	}
	if err := build(filepath.Join(dir, "init"), "./testbed/qemu/guest/pc", g.Build); err != nil {
		return image, err
	}
	return image, pack(image.Initramfs,
		image.first,
		func(a *Archive) error { return drivers(a, kernel, slices.Concat(wanted, wantedByPC)) })
}

// arguments is the emulator's command line. tsc=reliable: emulated, the processor's counter is as good as the host's clock, but the
// kernel distrusts it, and each look at the clocks that it would take instead costs some microseconds: 20 times slower connections.
func (pc PC) arguments(image Image, console string) []string {
	return append(append([]string{}, pc.Guest.Machine...), "-cpu", "max", "-smp", fmt.Sprint(pc.CPUs), "-m", fmt.Sprint(pc.Memory),
		"-display", "none", "-vga", "none", "-nic", "none", "-no-reboot", "-serial", "file:"+console, "-monitor", "none",
		"-kernel", image.Kernel, "-initrd", image.Initramfs,
		"-append", "console="+pc.Guest.Console+" quiet panic=-1 rdinit=/init nokaslr no_timer_check mitigations=off nopti tsc=reliable clocksource=tsc",
		"-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
		"-virtfs", "local,path="+pc.Kept+",mount_tag=kept,security_model=none",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=job,fd=3", "-device", "virtserialport,chardev=job,name=job",
		"-chardev", "file,id=output,path=/dev/fd/4", "-device", "virtserialport,chardev=output,name=output")
}
