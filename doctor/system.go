// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"spillway/command"
	"spillway/netlink"
)

// commandTime bounds each command that a check runs. Tests wait for longer.
var commandTime = 5 * time.Second

// System is a world with the functions that every Linux gives. Main adds the configuration, the links, the daemon's
// state and its probes. Commands end with the context.
func System(ctx context.Context) *World {
	return &World{
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
		Route: route,
	}
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

// route asks the kernel by which device it would send from one address to another of its family, as `ip route get` does (RTM_GETROUTE,
// rtnetlink(7)). The error is the kernel's: unix.ENETUNREACH, say.
func route(from, to netip.Addr) (string, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return "", err
	}
	defer c.Close()
	from, to = from.Unmap(), to.Unmap()
	family := byte(unix.AF_INET)
	if to.Is6() {
		family = unix.AF_INET6
	}
	head := make([]byte, unix.SizeofRtMsg)
	head[0], head[1], head[2] = family, byte(to.BitLen()), byte(from.BitLen())
	var e netlink.Encoder
	e.Bytes(unix.RTA_DST, to.AsSlice())
	e.Bytes(unix.RTA_SRC, from.AsSlice())
	addresses, err := e.Encode()
	if err != nil {
		return "", err
	}
	answers, err := c.Execute(netlink.Message{Type: unix.RTM_GETROUTE, Data: append(head, addresses...)})
	if err != nil {
		return "", err
	}
	if len(answers) != 1 || answers[0].Type != unix.RTM_NEWROUTE || len(answers[0].Data) < len(head) {
		return "", errors.New("the kernel answers with something else")
	}
	index := uint32(0)
	d := netlink.Decode(answers[0].Data[len(head):])
	for d.Next() {
		if d.Type() == unix.RTA_OIF {
			index = d.Uint32()
		}
	}
	device, err := net.InterfaceByIndex(int(index)) // 0: an error
	if err != nil {
		return "", errors.Join(d.Err(), err)
	}
	return device.Name, nil
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
