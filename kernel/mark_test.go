// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRuleMarksAreOurBitsAndDiffer(t *testing.T) {
	for _, mask := range []uint32{Usual().Mark, 0xff, 0x00ff0000, 0x81c3000c, 0xf000000f} {
		n := Numbers{Mark: mask}
		local, dial := n.MarkLocal(), n.MarkDial()
		if local&dial != 0 || bits.OnesCount32(local) != 1 || bits.OnesCount32(dial) != 1 || n.MarkRule()|local|dial != mask || n.MarkRule()&(local|dial) != 0 {
			t.Errorf("mask %#x is parted into %#x, %#x and %#x", mask, local, dial, n.MarkRule())
		}
		seen := map[uint32]int{}
		for k := 1; k <= MaxRules; k++ {
			m := n.RuleMark(k)
			if m == 0 || m&^n.MarkRule() != 0 {
				t.Errorf("rule %d: mark %#x", k, m)
			}
			if other, dup := seen[m]; dup {
				t.Errorf("rules %d and %d: both %#x", other, k, m)
			}
			seen[m] = k
		}
	}
}

// tellMark answers each connection with the rule's bits in its socket's mark.
func tellMark(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return
		}
		mark := 0
		if rc, err := c.SyscallConn(); err == nil {
			rc.Control(func(fd uintptr) { mark, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) })
		}
		fmt.Fprintf(c, "%#x\n", uint32(mark)&Usual().MarkRule())
		c.Close()
	}
}

// The accepted socket knows which rule took its connection, whatever the rule looks at; the answers find their way
// though another package routes by its own bits in the SYN's mark.
func TestAcceptedSocketKnowsItsRule(t *testing.T) {
	h := newHouse(t)
	l4, l6 := h.listeners()
	go tellMark(l4)
	go tellMark(l6)
	h.must(h.cpe.Script("rule add pref 2001 fwmark 0x100/0x3f00 lookup 1\nroute add default dev dsl table 1\n"))
	h.must(h.cpe.Run("nft", "table inet other { chain pre { type filter hook prerouting priority -151; iifname br-lan meta mark set 0x100; }; }"))
	mac := h.macOf(h.lan, "eth0")
	rule := func(n int, r TableRule) TableRule { r.Name, r.Number = fmt.Sprintf("r%d", n), n; return r }
	table := lanTable()
	table.Door4, table.Door6 = portOf(l4), portOf(l6)
	table.Rules = []TableRule{
		rule(1, TableRule{DstPorts: []PortRange{{81, 81}}, MAC: []MAC{{1}}}), // nobody's
		rule(16, TableRule{DstPorts: []PortRange{{81, 81}}, MAC: []MAC{mac}}),
		rule(63, TableRule{DSCP: []uint8{46}}),
		rule(3, TableRule{DstPorts: []PortRange{{82, 82}}, Interfaces: []string{"br-lan"}}),
		rule(4, TableRule{DstPorts: []PortRange{{83, 83}}, Src: prefixes("192.168.77.2/32", "fd77::2/128")}),
		rule(5, TableRule{DstPorts: []PortRange{{84, 84}}, Dst: prefixes("203.0.113.0/24", "2001:db8:9::/48")}),
		rule(6, TableRule{DstPorts: []PortRange{{85, 85}}, DomainSet: "tv"}),
		{Name: "without a number", DstPorts: []PortRange{{86, 86}}},
	}
	h.apply(h.want(table))
	h.must(h.cpe.Do(func() error {
		return h.rec.AddDomain(context.Background(), "tv", []netip.Addr{netip.MustParseAddr(server4), netip.MustParseAddr(server6)}, time.Hour)
	}))
	h.rulesAreKnown("")
	// With SYN cookies nothing is left of the SYN when the socket is made; conntrack remembers.
	if !HasConntrack() {
		t.Log("no conntrack here: SYN cookies are not tried")
		return
	}
	h.must(h.cpe.Sysctl("net.ipv4.tcp_syncookies", "2"))
	table.Conntrack = true
	h.apply(h.want(table))
	h.must(h.cpe.Do(func() error {
		return h.rec.AddDomain(context.Background(), "tv", []netip.Addr{netip.MustParseAddr(server4), netip.MustParseAddr(server6)}, time.Hour)
	}))
	h.rulesAreKnown("with SYN cookies: ")
	hits, err := h.rec.Hits()
	h.must(err)
	for name, want := range map[string]uint64{"r1": 0, "r16": 4, "r63": 2, "r6": 2} {
		if got := hits[name].Packets; got < want || want == 0 && got != 0 { // a SYN may be repeated
			t.Errorf("hits of %s: %d, want %d", name, got, want)
		}
	}
}

// rulesAreKnown connects once for each rule and family.
func (h *house) rulesAreKnown(when string) {
	h.t.Helper()
	for _, tt := range []struct {
		what string
		port string
		dscp int
		want int
	}{
		{"no rule", port, 0, 0}, {"mac", "81", 0, 16}, {"dscp", port, 46, 63}, {"interface", "82", 0, 3},
		{"source", "83", 0, 4}, {"destination", "84", 0, 5}, {"domain", "85", 0, 6}, {"rule without a number", "86", 0, 0},
		{"first match", "81", 46, 16},
	} {
		for _, server := range []string{server4, server6} {
			want := fmt.Sprintf("%#x", Usual().RuleMark(tt.want))
			if got := h.markOf(net.JoinHostPort(server, tt.port), tt.dscp); got != want {
				h.t.Errorf("%s%s, %s: mark %s, want %s", when, tt.what, server, got, want)
			}
		}
	}
}

// markOf is what tellMark says to a LAN host whose packets bear a DSCP.
func (h *house) markOf(addr string, dscp int) (got string) {
	h.t.Helper()
	h.must(h.lan.Do(func() error {
		d := net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, rc syscall.RawConn) error {
			return rc.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TOS, dscp<<2)
				unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TCLASS, dscp<<2)
			})
		}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			got = err.Error()
			return nil
		}
		defer c.Close()
		got = hear(c)
		return nil
	}))
	return got
}
