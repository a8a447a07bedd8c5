// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/linkemu"
	"spillway/testbed/netns"
	"spillway/testbed/traffic"
)

// native is a world without daemon and concentrator.
func native(t *testing.T, links ...Link) *World {
	t.Helper()
	netns.Require(t)
	bin, err := Build()
	if err != nil && !errors.Is(err, ErrNotYet) {
		t.Fatal(err)
	}
	w, err := Make(Config{Links: links}, t.TempDir(), bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if err := w.StartServer(w.Dir); err != nil {
		t.Fatal(err)
	}
	return w
}

// reach connects from the router to the server by one device and returns the local address.
func reach(w *World, device, to string) (local string, err error) {
	err = w.CPE.Do(func() error {
		d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) })
			return errors.Join(cerr, err)
		}}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(context.Background(), "tcp", to)
		if err == nil {
			local = c.LocalAddr().String()
			c.Close()
		}
		return err
	})
	return local, err
}

func TestEachKindOfLinkReachesTheServer(t *testing.T) {
	ppp, only6 := LTE(40, 10), LTE(40, 10)
	ppp.Kind, only6.NoV4 = linkemu.PPP, true
	same := netip.MustParsePrefix("192.168.8.0/24")
	stick1, stick2 := DSL(16, 2), LTE(40, 10)
	stick1.Network, stick1.NAT = same, true
	stick2.Network, stick2.NAT, stick2.Host = same, true, 3
	for name, links := range map[string][]Link{
		"ethernet":    Two(),
		"ppp":         {DSL(16, 2), ppp},
		"ipv6 only":   {DSL(16, 2), only6},
		"same subnet": {stick1, stick2},
		"eight":       {line("a", 1, 1, 1), line("b", 1, 1, 1), line("c", 1, 1, 1), line("d", 1, 1, 1), line("e", 1, 1, 1), line("f", 1, 1, 1), line("g", 1, 1, 1), line("h", 1, 1, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			w := native(t, links...)
			for i, l := range w.Links {
				if !l.NoV4 {
					local, err := reach(w, l.Device, To("4"))
					if err != nil || !strings.HasPrefix(local, w.Address4(i).String()+":") {
						t.Errorf("%s by IPv4: from %q, %v", l.Name, local, err)
					}
				}
				local, err := reach(w, l.Device, To("6"))
				if err != nil || !strings.HasPrefix(local, "["+w.Address6(i).String()+"]") {
					t.Errorf("%s by IPv6: from %q, %v", l.Name, local, err)
				}
			}
		})
	}
}

func TestTheHomeReachesTheServerNativelyByTheLinkThatWorks(t *testing.T) {
	w := native(t, Two()...)
	carried := func() (dsl, lte uint64) {
		s, err := w.Sample()
		if err != nil {
			t.Fatal(err)
		}
		return s.Links[0].RxOctets, s.Links[1].RxOctets
	}
	get := func(family string) {
		t.Helper()
		r, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 500_000, To: To(family)})
		if err != nil || r.Failed != 0 || r.Bad != 0 || r.Octets != 500_000 {
			t.Fatalf("IPv%s: %+v, %v", family, r, err)
		}
	}
	get("4")
	get("6")
	if dsl, lte := carried(); dsl < 1_000_000 || lte > 10_000 {
		t.Errorf("dsl carried %d octets, lte %d: want all on dsl", dsl, lte)
	}
	if err := w.Lines[0].Cut(); err != nil {
		t.Fatal(err)
	}
	get("4")
	get("6")
	if _, lte := carried(); lte < 1_000_000 {
		t.Errorf("lte carried %d octets without dsl", lte)
	}
	out, err := w.Curl("-o", filepath.Join(w.Dir, "got"), URL("4", "server.log")).CombinedOutput()
	if err != nil {
		t.Errorf("curl: %v: %s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(w.Dir, "got")); err != nil || !strings.Contains(string(b), "ready") {
		t.Errorf("curl got %q, %v", b, err)
	}
}
