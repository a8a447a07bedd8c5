// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"spillway/command"
)

// commandTime bounds each command that a check runs. Tests wait for longer.
var commandTime = 5 * time.Second

// System is a world with the functions that every Linux gives. Main adds the configuration, the links, the daemon's
// state and its probes. Commands end with the context.
func System(ctx context.Context) *World {
	w := &World{
		Now:      time.Now(),
		ReadFile: os.ReadFile,
		Glob: func(pattern string) []string {
			names, _ := filepath.Glob(pattern) // the only error is a bad pattern of ours
			return names
		},
		Space: space,
		LookPath: func(name string) bool {
			_, err := command.Find(name)
			return err == nil
		},
		Run: func(name string, args ...string) (string, error) { return run(ctx, "", name, args...) },
		NftCheck: func(ruleset string) error {
			_, err := run(ctx, ruleset, "nft", "-c", "-f", "-")
			return err
		},
		Route: func(from, to netip.Addr) (string, error) {
			out, err := run(ctx, "", "ip", "route", "get", to.String(), "from", from.String())
			if err != nil {
				return "", err
			}
			return outgoing(out)
		},
	}
	if !w.LookPath("ip") {
		w.Route = nil
	}
	return w
}

// run runs a command; the error carries what it complained about.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	out, err := command.Run(ctx, stdin, name, args...)
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, firstLine(out))
	}
	return out, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// outgoing finds the device in the answer of `ip route get`: "198.51.100.1 from 10.0.0.2 via 10.0.0.1 dev wan ...".
func outgoing(answer string) (string, error) {
	f := strings.Fields(answer)
	for i, word := range f {
		if word == "dev" && i+1 < len(f) {
			return f[i+1], nil
		}
	}
	return "", fmt.Errorf("ip route get answered %q", firstLine(answer))
}

// space asks what the file system of a directory has.
func space(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, err
	}
	block := uint64(s.Bsize)
	return Space{Free: uint64(s.Bavail) * block, Total: uint64(s.Blocks) * block, ReadOnly: s.Flags&unix.ST_RDONLY != 0}, nil
}
