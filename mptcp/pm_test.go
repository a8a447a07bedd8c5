// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// conversation is with a made-up kernel, which answers each request's type and body by fn: attributes behind a generic netlink header, or
// a refusal.
func conversation(t *testing.T, fn func(kind uint16, body []byte) ([]byte, unix.Errno)) *netlink.Conn {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := netlink.Over(ends[0])
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(ends[1])
		b := make([]byte, 1<<16)
		for {
			n, err := unix.Read(ends[1], b)
			if err != nil || n < unix.NLMSG_HDRLEN {
				return
			}
			kind := binary.NativeEndian.Uint16(b[4:])
			data, errno := fn(kind, b[unix.NLMSG_HDRLEN:n])
			if data = append([]byte{0, 0, 0, 0}, data...); errno != 0 {
				kind, data = unix.NLMSG_ERROR, binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
			}
			unix.Write(ends[1], netlink.Frame(netlink.Message{Type: kind, Seq: binary.NativeEndian.Uint32(b[8:]), Data: data}))
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c
}

// familyAnswer is what the kernel says of the path manager's family.
func familyAnswer(id uint16, group uint32) []byte {
	var e netlink.Encoder
	e.Uint16(unix.CTRL_ATTR_FAMILY_ID, id)
	e.Uint32(unix.CTRL_ATTR_VERSION, 1)
	e.Nested(unix.CTRL_ATTR_MCAST_GROUPS, func(e *netlink.Encoder) error {
		e.Nested(1, func(e *netlink.Encoder) error {
			e.Uint32(unix.CTRL_ATTR_MCAST_GRP_ID, group)
			e.String(unix.CTRL_ATTR_MCAST_GRP_NAME, pmEvents)
			return nil
		})
		return nil
	})
	b, _ := e.Encode()
	return b
}

// scripted is a kernel that refuses every command, which is told to saw, once the family was found.
func scripted(t *testing.T, errno unix.Errno, saw func(cmd uint8)) *PathManager {
	t.Helper()
	pm, ok, err := initPathManager(conversation(t, func(kind uint16, body []byte) ([]byte, unix.Errno) {
		if kind == unix.GENL_ID_CTRL {
			return familyAnswer(30, 5), 0
		}
		saw(body[0])
		return nil, errno
	}))
	if err != nil || !ok {
		t.Fatalf("ok %v, %v", ok, err)
	}
	return pm
}

func TestFindFamily(t *testing.T) {
	c := conversation(t, func(uint16, []byte) ([]byte, unix.Errno) { return familyAnswer(30, 5), 0 })
	f, err := findFamily(c, pmFamily)
	if err != nil || f.id != 30 || f.version != 1 || f.groups[pmEvents] != 5 || len(f.groups) != 1 {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestKernelWithoutMPTCPIsNoError(t *testing.T) {
	c := conversation(t, func(uint16, []byte) ([]byte, unix.Errno) { return nil, unix.ENOENT })
	if pm, ok, err := initPathManager(c); pm != nil || ok || err != nil {
		t.Errorf("got %v, %v, %v, want nil, false, nil", pm, ok, err)
	}
}

func TestRequestsCarryTheirCommand(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	local, remote := netip.AddrPortFrom(a, 1), netip.MustParseAddrPort("192.0.2.9:2")
	for _, test := range []struct {
		name string
		cmd  uint8
		do   func(*PathManager) error
	}{
		{"add", cmdAddAddr, func(p *PathManager) error { return p.Add(Endpoint{Addr: a}) }},
		{"remove", cmdDelAddr, func(p *PathManager) error { return p.Remove(1, a) }},
		{"flags", cmdSetFlags, func(p *PathManager) error { return p.SetFlags(1, a, FlagBackup) }},
		{"flush", cmdFlushAddrs, (*PathManager).Flush},
		{"limits", cmdSetLimits, func(p *PathManager) error { return p.SetLimits(Limits{}) }},
		{"create", cmdSubflowCreate, func(p *PathManager) error { return p.CreateSubflow(1, Endpoint{ID: 1, Addr: a}, remote) }},
		{"destroy", cmdSubflowDestroy, func(p *PathManager) error { return p.DestroySubflow(1, local, remote) }},
		{"priority", cmdSetFlags, func(p *PathManager) error { return p.SetSubflowBackup(1, local, remote, true) }},
		{"withdraw", cmdRemove, func(p *PathManager) error { return p.RemoveAddr(1, 0) }},
		{"announce", cmdAnnounce, func(p *PathManager) error { return p.Announce(1, Endpoint{ID: 1, Addr: a}) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got uint8
			err := test.do(scripted(t, unix.EPERM, func(cmd uint8) { got = cmd }))
			if got != test.cmd {
				t.Errorf("command %d, want %d", got, test.cmd)
			}
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("error %v, want a refused permission", err)
			}
		})
	}
}

func TestLostEventsAreReported(t *testing.T) {
	c := conversation(t, func(uint16, []byte) ([]byte, unix.Errno) { return nil, unix.ENOBUFS })
	if err := c.Send(netlink.Message{Type: unix.GENL_ID_CTRL}); err != nil {
		t.Fatal(err)
	}
	if err := receiveEvents(context.Background(), c, 30, func(Event) {}); !errors.Is(err, ErrOverrun) {
		t.Errorf("got %v, want ErrOverrun", err)
	}
}
