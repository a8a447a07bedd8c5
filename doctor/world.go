// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net/netip"
	"time"
)

// World is all that the checks may look at. Plain fields are facts that main has at hand; function fields look or probe
// when called. A nil function makes its checks be skipped, so that an examination without a running daemon still
// tells about the machine. System fills in what every Linux gives.
type World struct {
	Now      time.Time
	StateDir string   // where counters are kept, "/etc/spillway"
	LAN      []string // interfaces whose TCP is relayed
	Faithful bool     // SYNs shall be held until the server has answered
	Features Features
	Links    []Link
	Remotes  []Concentrator

	// Collisions tells, a sentence each, who uses our numbers in the kernel; MarkMask is our part of the firewall mark.
	Collisions func() ([]string, error)
	MarkMask   uint32
	MarkLocal  uint32 // of it, the bit of what the relay's own sockets are to receive

	PathManager string // as configured
	Apart       bool   // subflows are made for each connection apart, by the daemon
	Strangers   int    // then: MPTCP connections of other programs

	// The machine.
	ReadFile func(path string) ([]byte, error)
	Glob     func(pattern string) []string
	Space    func(dir string) (Space, error)
	LookPath func(command string) bool
	Run      func(command string, args ...string) (output string, err error)
	NftCheck func(ruleset string) error                           // `nft -c -f -`: would the kernel take it?
	Route    func(from, to netip.Addr) (device string, err error) // which way the kernel would send
	Counter  func(name string) uint64                             // MPTcpExt of /proc/net/netstat

	// The daemon; nil: it does not run.
	Door  func() Door
	Good  func() error // what is configured now can be read; else why not
	Table func() error // the nft table is in place and as wanted
	Saved func() error // the quota counters are in their file; else why not
	Held  func() error // why SYNs are not held, where Faithful asks for it

	// Probes by one link, to one concentrator, each at most some seconds. They cost some hundred octets.
	Connect  func(Link, Concentrator) (time.Duration, error) // plain TCP, bound to the link: how long the handshake took
	PathMTU  func(Link, Concentrator) (int, error)           // octets of an IP packet that arrive undivided
	Info     func(Link, Concentrator) (string, error)        // Convert Info: what the converter supports, in words
	SYNData  func(Link, Concentrator) (accepted bool, err error)
	MPTCP    func(Link, Concentrator) (kept bool, err error)
	Join     func(from, l Link, c Concentrator) (joined bool, err error) // a second subflow by l of a connection that began on from
	SeenFrom func(Link, Concentrator) (netip.Addr, error)                // the link's address as the other end sees it

	seen map[netip.Addr]string // links by the address they are seen from
}

// Features are what the running kernel can do, probed by main (never guessed from a version).
type Features struct {
	MPTCP, PathManager, FastOpenClient, FastOpenNoCookie, IsMPTCP, FullInfo, UserspacePM, Apart, Diag bool
}

// Link is one configured link with what linkmon knows of it.
type Link struct {
	Name, Device       string
	Role               string
	RoleWhy            string // why it has it, where the configuration does not say; "": it does, or it is the usual one
	Joins              bool   // it has an MPTCP endpoint: connections that begin elsewhere get a subflow here
	Idle               bool   // metered and not in use: probes are not sent unless asked for
	Present            bool
	Up, Carrier        bool
	PointToPoint       bool
	MTU                int
	Addr4, Addr6       netip.Addr
	Gateway4, Gateway6 netip.Addr
	Route4, Route6     bool
	Flapping           bool
	Dead               string // why the live connections call it dead; "": alive
}

// Addr is the link's source address in the family of to; zero: it has none.
func (l Link) Addr(to netip.Addr) netip.Addr {
	if to.Is4() || to.Is4In6() {
		return l.Addr4
	}
	return l.Addr6
}

// Concentrator is one address of one configured concentrator.
type Concentrator struct {
	Name     string // as configured
	Addr     netip.AddrPort
	Protocol string // convert, socks5, socks4a, transparent
	Cookie   string // of convert: what it wants to see in each message; "": what it tells us, if anything
}

// Door is the state of the relay's listening sockets.
type Door struct {
	Open         bool
	Port4, Port6 uint16
	Why          string // why it is closed
}

// Space is what a file system has.
type Space struct {
	Free, Total uint64 // octets
	ReadOnly    bool
}
