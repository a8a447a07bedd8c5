// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"
)

// Table is the nft table as data: whose TCP goes where.
type Table struct {
	Interfaces []string // LAN devices whose TCP is relayed
	// Links are the links' devices. A connection that the kernel would route out of another device (a VPN, a guest network,
	// a second router) is left alone: no concentrator reaches it. None: all connections are relayed.
	Links []string
	// Door4 and Door6 are the ports of the relay's transparent listeners on 127.0.0.1 and ::1; 0: closed, the kernel
	// forwards that family natively.
	Door4, Door6 uint16
	// Burst is how many connections each listener's queue holds; 0: not known. Of SYNs that come faster than it can be emptied the kernel forwards
	// what is too much natively. A full queue would drop them, and conntrack know them as the router's own: when they are repeated and the
	// door is closed, nobody translates their address.
	Burst int
	// Transparent takes answers from the links for the relay that are addressed to LAN hosts: of connections that it made
	// with a LAN host's own address.
	Transparent bool
	// RelayNative sends connections of LAN hosts that speak MPTCP themselves to the relay too; else they pass.
	RelayNative bool
	// Refuse resets every connection that would be relayed (on_concentrator_down = "block").
	Refuse bool
	// Concentrators are the upstreams' addresses and ports. Connections to these addresses are never relayed.
	Concentrators []netip.AddrPort
	// OpenConcentrators lets LAN hosts talk to the upstreams' ports themselves; else they are refused.
	OpenConcentrators bool
	// Conntrack marks intercepted connections in conntrack, where the kernel has it. Without it connections fail while a
	// flood of SYNs makes the kernel use SYN cookies.
	Conntrack bool
	// Queue holds each SYN that is for the relay in the packet queue QueueNumber, until its reader says Let, Refuse or
	// Unreachable by a mark. Without a reader, and when the queue is full, SYNs go on to the relay at once.
	Queue   bool
	Numbers Numbers     // zero: Usual
	Rules   []TableRule // first match wins
	Sets    []string    // domain sets besides those of Rules
}

// Action is what happens to a connection that a TableRule matches.
type Action uint8

const (
	ActionRelay  Action = iota // to the relay, which knows the way by Number; later rules do not matter
	ActionBypass               // forwarded natively
	ActionBlock                // reset
)

// TableRule is nft's share of a [[rule]]: all conditions must hold, an empty one always holds. Dst and DomainSet are
// one condition: either.
type TableRule struct {
	Name       string
	Action     Action
	Number     int // of a rule with ActionRelay, 1 to MaxRules: RuleMark of it is in the accepted socket's mark; 0: none
	Src, Dst   []netip.Prefix
	DomainSet  string // name of a pair of sets NAME4 and NAME6 with timeouts, for AddDomain and dnsmasq
	MAC        []MAC
	DstPorts   []PortRange
	DSCP       []uint8 // 0..63
	Interfaces []string
	Window     Window
}

// MAC is a hardware address of a LAN host.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// PortRange is First..Last, both included.
type PortRange struct{ First, Last uint16 }

// Ruleset is a rendered table. Rulesets with the same Mark are the same.
type Ruleset struct {
	// Mark tells the table's content in short: a hash of the text, and how many rules each chain has. The hash is the
	// table's comment in the kernel, the counts are the kernel's own, so that the table of an earlier process is known
	// again, and a flushed chain is seen.
	Mark string
	text string // without counters' values and domain sets' elements; "" when it was read from the kernel

	names   map[string]string // of rules, by their counters' names
	domains []string          // sets with timeouts
}

// Text is what nft loads: the whole table in one transaction.
func (r Ruleset) Text() string { return r.text }

// Names of what the table counts beside the rules.
const (
	CounterRelayed      = "relayed"      // connections sent to the relay
	CounterNative       = "native"       // passed because the LAN host speaks MPTCP itself
	CounterRefused      = "refused"      // reset because no concentrator works
	CounterConcentrator = "concentrator" // refused because a LAN host must not talk to a concentrator's port
)

const (
	// Of elements that dnsmasq adds without one: it does so when its own name server answers, and not again while it remembers
	// that, which is hardly ever for more than a day.
	domainTimeout = "1d"
	domainSize    = 16384 // elements; what a LAN host can make us resolve is bounded
	burstsASecond = 8     // so often the daemon surely empties the door's queue
	isNotSYN      = "tcp flags & (fin | syn | rst | ack) != syn"
	reset         = "reject with tcp reset"
)

// Render makes the nft text. The error names the rule and what is wrong with it.
func Render(t Table) (Ruleset, error) {
	if t.Numbers == (Numbers{}) {
		t.Numbers = Usual()
	}
	w := &writer{names: map[string]string{}}
	if err := errors.Join(checkDevices(t.Interfaces), checkDevices(t.Links), w.rules(t)); err != nil {
		return Ruleset{}, err
	}
	w.prerouting(t)
	body := w.body()
	sum := fnv.New128a() // tells tables apart; nobody gains by forging one, and sha256 costs flash
	sum.Write([]byte(body))
	hash := fmt.Sprintf("%x", sum.Sum(nil))
	var b strings.Builder
	// The first two lines make the transaction work whether the table is there or not.
	fmt.Fprintf(&b, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n\tcomment \"%[2]s\"\n", TableName, hash)
	b.WriteString(body)
	b.WriteString("}\n")
	return Ruleset{Mark: hash + w.shape(), text: b.String(), names: w.names, domains: w.domains}, nil
}

// prerouting is where LAN TCP is told apart. Priority mangle is after conntrack, before NAT and routing.
func (w *writer) prerouting(t Table) {
	local := t.Numbers.MarkLocal()
	c := w.chain("prerouting", "type filter hook prerouting priority mangle; policy accept;")
	if len(t.Interfaces) == 0 {
		return
	}
	if t.Transparent && len(t.Links) > 0 {
		c.add("iifname %s meta l4proto tcp socket transparent 1 meta mark set meta mark | %#x accept", quotedSet(t.Links), local)
	}
	c.add("iifname != %s return", quotedSet(t.Interfaces))
	c.add("meta l4proto != tcp return")
	// Packets of connections that the relay holds. Before any rule, so that a new rule does not tear what is established;
	// not for a SYN, which may reuse the ports of a connection in TIME_WAIT and must reach the listener.
	c.add("%s socket transparent 1 meta mark set meta mark | %#x accept", isNotSYN, local)
	if t.Conntrack && !t.Refuse {
		// An ACK that answers a SYN cookie has no socket yet. Only conntrack can tell it from one of a native connection, and
		// which rule took its SYN.
		for _, d := range t.doors() {
			c.add("meta nfproto %s tcp flags & (fin | syn | rst | ack) == ack ct mark & %#[2]x == %#[2]x tproxy %[3]s:%[4]d meta mark set ct mark accept",
				d.family, local, d.target, d.port)
		}
	}
	c.add("%s return", isNotSYN)
	if t.Conntrack && !t.Refuse {
		// A SYN that was forwarded natively and comes again goes the same way: NAT would translate its address on its way to the door too.
		c.add("ct status snat,dnat return")
		// A SYN that was given to the door and dropped there, as it was about to close, may go natively when it comes again: its ACKs are not
		// the door's then.
		c.add("ct mark & %#[1]x == %#[1]x ct mark set ct mark & %#[2]x", local, ^local)
	}
	c.add("fib daddr type local return")
	if len(t.Links) > 0 {
		// One without any route is relayed: the main table may have lost its default route with a dead link.
		c.add("fib daddr oif exists fib daddr oifname != %s return", quotedSet(t.Links))
	}
	w.concentrators(c, t)
	if len(t.Rules) > 0 {
		c.jump("rules")
	}
	if !t.RelayNative {
		// Subtypes by number: nft 1.0.6 does not know their names. 0 is MP_CAPABLE, 1 is MP_JOIN.
		w.counter(CounterNative)
		c.add("tcp option mptcp subtype 0 counter name %s return", CounterNative)
		c.add("tcp option mptcp subtype 1 counter name %s return", CounterNative)
	}
	if t.Refuse {
		w.counter(CounterRefused)
		c.add("counter name %s %s", CounterRefused, reset)
		return
	}
	was, most := "meta mark", ""
	if t.Burst > 0 {
		most = fmt.Sprintf("limit rate %d/second burst %d packets ", t.Burst*burstsASecond, t.Burst)
	}
	if t.Queue {
		for _, d := range t.doors() {
			c.add("meta nfproto %s %smeta mark set meta mark | %#x queue num %d bypass", d.family, most, t.Numbers.MarkDial(), QueueNumber)
		}
		most = ""
		c, was = w.held(t), fmt.Sprintf("meta mark & %#x", ^t.Numbers.MarkDial())
	}
	// Without a listener tproxy ends the rule and the kernel forwards natively: the listening socket is the switch.
	track := ""
	if t.Conntrack {
		track = fmt.Sprintf("ct mark set ct mark | %#x ", local)
	}
	for _, d := range t.doors() {
		w.counter(CounterRelayed)
		c.add("meta nfproto %s meta l4proto tcp %stproxy %s:%d meta mark set %s | %#x %scounter name %s accept",
			d.family, most, d.target, d.port, was, local, track, CounterRelayed)
	}
	if t.Queue {
		c.add("meta mark set meta mark & %#x", ^(t.Numbers.MarkDial() | local))
	}
}

// held is where SYNs go on after the queue: a chain of its own, as a packet that leaves a queue, whether by its reader or past
// it, goes on behind the chain that sent it there.
func (w *writer) held(t Table) *chain {
	c := w.chain("held", "type filter hook prerouting priority mangle + 1; policy accept;")
	c.add("iifname != %s return", quotedSet(t.Interfaces))
	c.add("meta l4proto != tcp return")
	c.add("%s return", isNotSYN)
	local, dial := t.Numbers.MarkLocal(), t.Numbers.MarkDial()
	both := local | dial
	c.add("meta mark & %#x == %#x %s", both, both, reset)
	c.add("meta mark & %#x == %#x reject with icmpx type host-unreachable", both, local)
	c.add("meta mark & %#x != %#x return", both, dial)
	return c
}

// Let is the mark that a held SYN gets from the queue's reader to go on to the relay. All but two bits stay as they were.
func (n Numbers) Let(mark uint32) uint32 { return mark&^n.MarkLocal() | n.MarkDial() }

// Refuse is the one to be reset.
func (n Numbers) Refuse(mark uint32) uint32 { return mark | n.MarkLocal() | n.MarkDial() }

// Unreachable is the one to be answered with host unreachable.
func (n Numbers) Unreachable(mark uint32) uint32 { return mark&^n.MarkDial() | n.MarkLocal() }

// door is a listener as nft names it.
type door struct {
	family, target string
	port           uint16
}

// doors are the open ones.
func (t *Table) doors() (open []door) {
	for _, d := range []door{{"ipv4", "ip to 127.0.0.1", t.Door4}, {"ipv6", "ip6 to [::1]", t.Door6}} {
		if d.port != 0 {
			open = append(open, d)
		}
	}
	return open
}

// concentrators keeps the upstreams out of the relay, which would else talk to itself through them, and keeps LAN hosts
// from speaking Convert past the policy.
func (w *writer) concentrators(c *chain, t Table) {
	for _, v6 := range []bool{false, true} {
		var services, addrs []string
		for _, a := range t.Concentrators {
			if addr := a.Addr().Unmap().WithZone(""); addr.Is6() == v6 {
				services = append(services, fmt.Sprintf("%v . %d", addr, a.Port()))
				addrs = append(addrs, addr.String())
			}
		}
		if len(addrs) == 0 {
			continue
		}
		if !t.OpenConcentrators {
			w.counter(CounterConcentrator)
			c.add("%s daddr . tcp dport %s counter name %s %s", ip(v6), set(services), CounterConcentrator, reset)
		}
		c.add("%s daddr %s return", ip(v6), set(addrs))
	}
}
