// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// heap has the daemon, built as a test binary of package main, write profiles of its heap with 0, 100 and 1,000 connections, and
// returns what `go tool pprof` says of them.
func (s *Stage) heap(ctx context.Context) (string, error) {
	binary := filepath.Join(s.dir, "spillway.test")
	if err := command(ctx, s.bin.root, append(os.Environ(), "CGO_ENABLED=0"), "go", "test", "-c", "-o", binary, "."); err != nil {
		return "", err
	}
	args, err := spillway(s, "bond")
	if err != nil {
		return "", err
	}
	prefix := filepath.Join(s.dir, "heap")
	p, err := s.Start(s.cpe, "relay-heap", "env", "SPILLWAY_CONFIG="+args[len(args)-1], "SPILLWAY_HEAP="+prefix,
		binary, "-test.run", "^TestHeapOfTheDaemon$")
	if err != nil {
		return "", err
	}
	defer p.Stop()
	time.Sleep(3 * time.Second)
	var text strings.Builder
	for i, n := range []int{0, 100, 1000} {
		path := fmt.Sprintf("%s.%d", prefix, i+1)
		profile := func(string) {
			time.Sleep(2 * time.Second)
			p.cmd.Process.Signal(syscall.SIGUSR2)
			err = await("a profile of the heap", 20*time.Second, func() bool { _, e := os.Stat(path); return e == nil || !p.running() })
		}
		o := outcome{}
		if n == 0 {
			profile("")
		} else if _, e := s.loadMarked(time.Minute, demand{Hold: n}, profile, &o); e != nil {
			return "", fmt.Errorf("heap with %d connections: %w", n, e)
		}
		if !p.running() {
			return "", fmt.Errorf("heap with %d connections: the daemon ended: %s", n, p.text())
		}
		if err != nil {
			return "", err
		}
		top, err := s.lan.Output("go", "tool", "pprof", "-top", "-nodecount=12", "-sample_index=inuse_space", binary, path)
		if err != nil {
			return "", fmt.Errorf("go tool pprof: %w", err)
		}
		_, top, _ = strings.Cut(top, "Showing nodes")
		fmt.Fprintf(&text, "%d connections: showing nodes%s\n", n, strings.TrimRight(top, "\n"))
	}
	return "```\n" + text.String() + "```\n", nil
}
