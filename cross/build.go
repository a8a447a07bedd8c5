// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Builder compiles the program at Root.
type Builder struct {
	Root    string // the module's folder
	Program string // package to build, "." is the router's binary
	Version string // what `spillway version` says
}

// Build compiles for a target into file: static, stripped, without paths and without the state of the checkout, so
// that the same sources and Go give the same octets anywhere.
func (b Builder) Build(t Target, file string) error {
	return b.compile(t, file, "-s -w -X main.version="+b.Version)
}

// buildNamed compiles with the symbols' names, for weighing.
func (b Builder) buildNamed(t Target, file string) error {
	return b.compile(t, file, "-w -X main.version="+b.Version)
}

// forSize has the compiler prefer small code.
//
// Functions are inlined nowhere but in the relay's engine, which copies every octet, and of the atomics that it uses. Elsewhere
// inlining buys nothing that a system call wouldn't drown, and costs 6 % of the file and 12 % of its flash on MIPS (measured:
// 5,570,753 / 1,445,888 octets with, 5,243,073 / 1,265,664 without): what was inlined where must be told to a traceback, so that
// even functions of a few instructions are dearer in flash inlined than called. Maps are a half slower, some microseconds a
// connection on MIPS, and none an octet (10 kB of flash with sync's locks). A later pattern wins over an earlier one.
//
// Elsewhere, too, a slice whose length is known only at run time is made on the heap, as before Go 1.25: to try the stack
// first for those of at most 32 octets costs every make and append, 20 kB of file and 8 kB of flash in all.
//
// And a deferred call is noted for the runtime, as before Go 1.14, not written out at each return: 4 kB of both.
var forSize = []string{
	"-gcflags=all=-l -d=variablemakethreshold=0,noopendefer=1",
	"-gcflags=sync/atomic=", "-gcflags=spillway/relay/engine=",
}

func (b Builder) compile(t Target, file, ldflags string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if t.Align != "" {
		ldflags += " -R " + t.Align
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", file}, forSize...)
	cmd := exec.Command("go", append(args, b.Program)...)
	cmd.Dir = b.Root
	cmd.Env = append(Environ(t), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for %s: %w\n%s", b.Program, t.Name, err, out)
	}
	return nil
}

// Environ is the environment that makes the Go tool build for a target, without cgo. The collector is the one from before Go 1.26, 25 kB of file
// and 8 kB of flash smaller: the newer one looks at whole pages at a time, which pays for heaps that no router has room for.
func Environ(t Target) []string {
	return append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOEXPERIMENT=nogreenteagc"), t.Env...)
}

// Epoch is the time that stands in all packages: SOURCE_DATE_EPOCH, else that of the last commit, else 0.
func Epoch(root string) time.Time {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		text = git(root, "log", "-1", "--format=%ct")
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		seconds = 0
	}
	return time.Unix(seconds, 0).UTC()
}

// Release is the packages' version: base, and the number of commits as OpenWrt's release number, which grows with
// every change as package managers want.
func Release(root, base string) string {
	n := git(root, "rev-list", "--count", "HEAD")
	if n == "" {
		n = "1"
	}
	return base + "-r" + n
}

// git answers "" where there is no repository.
func git(root string, args ...string) string {
	cmd := exec.Command("git", append([]string{"-C", root}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(out))
}

// Root finds the module's folder from the current one.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" || file == os.DevNull {
		return "", fmt.Errorf("find go.mod from here: %v: run this inside the repository", err)
	}
	return filepath.Dir(file), nil
}
