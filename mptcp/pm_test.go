// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// scripted is a kernel that answers by fn, once the family was found.
func scripted(t *testing.T, fn genltest.Func) *PathManager {
	t.Helper()
	family := genetlink.Family{ID: 30, Name: pmFamily, Version: 1, Groups: []genetlink.MulticastGroup{{ID: 5, Name: pmEvents}}}
	pm, ok, err := initPathManager(genltest.Dial(genltest.ServeFamily(family, fn)))
	if err != nil || !ok {
		t.Fatalf("ok %v, %v", ok, err)
	}
	t.Cleanup(func() { pm.Close() })
	return pm
}

func TestKernelWithoutMPTCPIsNoError(t *testing.T) {
	c := genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, genltest.Error(int(unix.ENOENT))
	})
	defer c.Close()
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
			pm := scripted(t, func(m genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
				got = m.Header.Command
				return nil, genltest.Error(int(unix.EPERM))
			})
			err := test.do(pm)
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
	c := genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, &netlink.OpError{Op: "receive", Err: unix.ENOBUFS}
	})
	defer c.Close()
	if err := receiveEvents(context.Background(), c, 30, func(Event) {}); !errors.Is(err, ErrOverrun) {
		t.Errorf("got %v, want ErrOverrun", err)
	}
}
