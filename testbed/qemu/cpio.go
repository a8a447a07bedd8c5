// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// Archive writes a cpio archive in the format that the kernel unpacks at boot ("newc",
// Documentation/driver-api/early-userspace/buffer-format.rst). The first error sticks.
type Archive struct {
	w    io.Writer
	err  error
	node int
	dirs map[string]bool
}

// NewArchive starts an archive.
func NewArchive(w io.Writer) *Archive {
	return &Archive{w: w, dirs: map[string]bool{"": true, ".": true}}
}

const (
	modeDirectory = 0o040000
	modeDevice    = 0o020000
	modeFile      = 0o100000
	modeLink      = 0o120000
)

// File adds a file and the directories above it.
func (a *Archive) File(name string, mode uint32, content []byte) {
	a.above(name)
	a.entry(name, modeFile|mode, 0, 0, content)
}

// Symlink adds a symbolic link.
func (a *Archive) Symlink(name, target string) {
	a.above(name)
	a.entry(name, modeLink|0o777, 0, 0, []byte(target))
}

// Device adds a character device.
func (a *Archive) Device(name string, major, minor uint32) {
	a.above(name)
	a.entry(name, modeDevice|0o600, major, minor, nil)
}

// above adds the directories that lead to a name.
func (a *Archive) above(name string) {
	dir := path.Dir(name)
	if a.dirs[dir] {
		return
	}
	a.above(dir)
	a.dirs[dir] = true
	a.entry(dir, modeDirectory|0o755, 0, 0, nil)
}

// entry writes one header, the name and the content, each padded to four octets.
func (a *Archive) entry(name string, mode, major, minor uint32, content []byte) {
	a.node++
	a.print("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.node, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
	a.pad(110 + len(name) + 1)
	if a.err == nil {
		_, a.err = a.w.Write(content)
	}
	a.pad(len(content))
}

func (a *Archive) pad(n int) { a.print("%s", strings.Repeat("\x00", (4-n%4)%4)) }

func (a *Archive) print(format string, args ...any) {
	if a.err == nil {
		_, a.err = fmt.Fprintf(a.w, format, args...)
	}
}

// Close writes the end mark.
func (a *Archive) Close() error {
	a.node = -1 // the trailer is node 0
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}
