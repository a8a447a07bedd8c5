// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// Every scenario there is: the stories, the faults, the loads.
func Every() []Scenario { return slices.Concat(All(), Faults(), lateServers(), Loads()) }

// fault is what goes wrong while a LAN host does two things: requests of 20 kB, a new connection each, ten a second; and a
// download of 12 MB, under way when it happens at 1.5 s. When all is expected to be well again a third begins: 10 MB.
type fault struct {
	name, about string
	links       []world.Link
	settings    world.Settings
	before      func(*world.World) error
	events      []Event
	kept        bool          // the servers of the requests leave the end to the host, as HTTP/1.1's do
	far         time.Duration // one way between concentrator and server
	length      time.Duration // of the requests
	settled     time.Duration // when the last download begins; 0: length

	requests   float64 // percent that may fail; what is within the aim besides is none
	slowest    float64 // ms, aim for a request
	bulkBreaks bool    // nobody can save the download
	stall      float64 // ms, aim for its longest silence
	native     bool    // the last download is forwarded without us, by the first link
}

// happens is when faults happen.
const happens = 1500 * time.Millisecond

func (f fault) scenario() Scenario {
	if f.links == nil {
		f.links = world.Two()
	}
	if f.settled == 0 {
		f.settled = f.length
	}
	if f.slowest == 0 {
		f.slowest = 1500
	}
	if f.stall == 0 {
		f.stall = 1500
	}
	if f.settings.Policy == nil {
		// The guard takes a rate that falls with the end of a download for the fault of LTE now and then, and lets it rest. What
		// is looked at here is whether connections are relayed and bonded again.
		f.settings.Policy = map[string]string{"never_worse": "false"}
	}
	expect := []Expectation{
		// One begins each 100 ms. Whose server has ended may lose its last octets when a subflow goes (Linux refuses another), and on a busy machine
		// several are that far at once.
		{What: "requests that failed", Unit: "%", Measure: FailedShare("requests"), Is: AtMost, Aim: f.requests, Bound: max(3*f.requests, 15)},
		{What: "slowest request", Unit: "ms", Measure: Slowest("requests"), Is: AtMost, Aim: f.slowest, Bound: 20_000},
		{What: "connections with a wrong octet", Measure: Wrong("requests", "bulk", "after"), Is: AtMost, Aim: 0, Bound: 0},
	}
	if !f.bulkBreaks {
		expect = append(expect,
			Expectation{What: "download under way: broken", Measure: Broken("bulk"), Is: AtMost, Aim: 0, Bound: 0},
			Expectation{What: "download under way: longest silence", Unit: "ms", Measure: Stall("bulk"), Is: AtMost, Aim: f.stall, Bound: f.stall + 15_000})
	}
	if f.bulkBreaks {
		expect = append(expect, Expectation{What: "download cut short: ended as if whole", Measure: WithError("bulk", "ended after"), Is: AtMost, Aim: 0, Bound: 0})
	}
	expect = append(expect, Expectation{What: "download afterwards: broken", Measure: Broken("after"), Is: AtMost, Aim: 0, Bound: 0})
	last := f.links[len(f.links)-1].Name
	if f.native {
		expect = append(expect, Expectation{What: "download afterwards: payload on " + last, Unit: "B", Measure: Payload(last, f.settled, 0), Is: AtMost, Aim: 300_000, Bound: none})
	} else {
		expect = append(expect, Expectation{What: "download afterwards: payload on " + last, Unit: "B", Measure: Payload(last, f.settled, 0), Is: AtLeast, Aim: 2_000_000, Bound: none}) // a busy machine may not fill the first link
	}
	return Scenario{
		Name: f.name, About: f.about, Links: f.links, Settings: f.settings, Before: f.before, Events: f.events, Expect: expect,
		ServerDelay: linkemu.Shape{Delay: f.far},
		Demands: []Demand{
			{Name: "requests", Demand: traffic.Demand{Kind: traffic.Web, Octets: 20_000, Connections: int(f.length / (100 * time.Millisecond)), Every: 100 * time.Millisecond, Parallel: 200, Timeout: 12 * time.Second, Keep: f.kept}},
			{Name: "bulk", Start: 500 * time.Millisecond, Demand: traffic.Demand{Kind: traffic.Get, Octets: 12_000_000}},
			{Name: "after", Start: f.settled, Demand: traffic.Demand{Kind: traffic.Get, Octets: 10_000_000}},
		},
	}
}

// Faults are the scenarios in which something breaks that is not the order of the day. Each prints what the LAN saw.
func Faults() (all []Scenario) {
	for _, list := range [][]fault{concentratorFaults(), kernelFaults(), linkFaults(), middleboxFaults(), machineFaults()} {
		for _, f := range list {
			all = append(all, f.scenario())
		}
	}
	return append(all, diskFull(), diskReadOnly(), conntrackFull(), memoryShort(), memoryOut(), memoryKilled(), busKilled(), thousandFlaps())
}

func do(at time.Duration, name string, act func(*world.World) error) Event {
	return Event{At: at, Do: Action(name), Act: act}
}

// router runs lines of shell where the router is.
func router(lines ...string) func(*world.World) error {
	return func(w *world.World) error { return w.OnRouter(lines...) }
}

func concentratorFaults() []fault {
	const dead = 7 * time.Second
	refuse := "table inet fault { chain in { type filter hook input priority -300; tcp dport %d %s; }; }"
	filter := func(verdict string) func(*world.World) error {
		return func(w *world.World) error { return w.HAG.Run("nft", fmt.Sprintf(refuse, world.Port, verdict)) }
	}
	unfilter := func(w *world.World) error { return w.HAG.Run("nft", "delete table inet fault") }
	list := []fault{
		{name: "concentrator-frozen", about: "SIGSTOP of the concentrator for 5 s: new connections go natively, then all goes on",
			events: []Event{{At: happens, Do: FreezeConcentrator}, {At: happens + 5*time.Second, Do: ThawConcentrator}},
			length: dead, settled: happens + 12*time.Second, requests: 2, slowest: 6000, stall: 6000},
		{name: "concentrator-blackholed", about: "nothing reaches the concentrator for 5 s: new connections go natively, then all goes on",
			events: []Event{do(happens, "drop", filter("drop")), do(happens+5*time.Second, "undrop", unfilter)},
			length: dead, settled: happens + 12*time.Second, requests: 2, slowest: 6000, stall: 9000},
		{name: "concentrator-resetting", about: "the concentrator's host resets everything from now on: new connections go natively",
			events: []Event{do(happens, "reset", filter("reject with tcp reset"))},
			length: dead, requests: 10, bulkBreaks: true, native: true},
	}
	for _, i := range impostors() {
		list = append(list, fault{name: "concentrator-" + i.name, about: i.about + ": new connections go natively",
			events: []Event{do(happens, i.name, i.replace)}, length: dead, requests: 15, slowest: 6000, bulkBreaks: true, native: true})
	}
	return list
}

// kernelFaults: somebody deletes what the daemon made.
func kernelFaults() []fault {
	deleted := func(name, about string, lines ...string) fault {
		return fault{name: name, about: about + ": it is back within seconds", events: []Event{do(happens, name, router(lines...))},
			length: 3 * time.Second, settled: happens + 4*time.Second}
	}
	return []fault{
		deleted("table-deleted", "somebody deletes our nft table", "nft delete table inet spillway"),
		deleted("table-emptied", "somebody empties our nft table's chains", "nft flush table inet spillway"),
		deleted("ruleset-flushed", "somebody flushes all of nft and loads the firewall again", "nft list table inet provider >/tmp/spillway-provider.$$",
			"nft flush ruleset", "nft -f /tmp/spillway-provider.$$", "rm /tmp/spillway-provider.$$"),
		deleted("endpoints-flushed", "somebody flushes the MPTCP endpoints", "ip mptcp endpoint flush"),
		deleted("limits-changed", "somebody forbids further subflows", "ip mptcp limits set subflows 0"),
		deleted("rules-deleted", "somebody deletes our routing rules", "for p in 900 910 911 912 913; do ip rule del pref $p || true; ip -6 rule del pref $p || true; done"),
		deleted("routes-deleted", "somebody flushes our routing tables", "for t in 7700 7701 7702; do ip route flush table $t; ip -6 route flush table $t; done"),
	}
}

// linkFaults come twice where a link goes for good: with servers that end the connection after their answer, and with such as leave that
// to the host. Only the latter's connections can get another subflow (Linux refuses it once the peer has sent its end).
func linkFaults() (all []fault) {
	for _, f := range ofLinks() {
		all = append(all, f)
		switch f.name {
		case "link-readdressed", "link-replaced", "links-swapped":
			f.name, f.about, f.kept = f.name+"-kept", f.about+", and servers keep the connections", true
			all = append(all, f)
			f.name, f.about, f.far = strings.TrimSuffix(f.name, "kept")+"far", f.about+", 60 ms away", 60*time.Millisecond
			all = append(all, f)
		}
	}
	return all
}

func ofLinks() []fault {
	second := happens + 2*time.Second
	link := func(name string, fn func(w *world.World, i int) error) func(*world.World) error {
		return func(w *world.World) error {
			i, err := w.Link(name)
			if err != nil {
				return err
			}
			return fn(w, i)
		}
	}
	rename := func(from, to string) string {
		return "ip link set " + from + " down; ip link set " + from + " name " + to + "; ip link set " + to + " up"
	}
	readdress := func(i int) func(*world.World) error {
		return func(w *world.World) error { return w.Addresses(i) }
	}
	both := func(fns ...func(*world.World) error) func(*world.World) error {
		return func(w *world.World) error {
			for _, fn := range fns {
				if err := fn(w); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []fault{
		{name: "link-renamed", about: "DSL's device gets another name for 2 s", length: 5 * time.Second, settled: second + 14*time.Second,
			events: []Event{do(happens, "rename", router(rename("dsl", "other"))), do(second, "rename back", both(router(rename("other", "dsl")), readdress(0)))}},
		{name: "link-replaced", about: "DSL's device is removed and another of the same name made", length: 4 * time.Second, settled: happens + 14*time.Second,
			events: []Event{do(happens, "replace", link("dsl", (*world.World).Replace))}},
		{name: "lte-replaced", about: "the LTE stick restarts while it carries", length: 4 * time.Second, settled: happens + 14*time.Second,
			events: []Event{do(happens, "replace", link("lte", (*world.World).Replace))}},
		{name: "link-readdressed", about: "DSL gets another IPv4 address", length: 4 * time.Second, settled: happens + 4*time.Second,
			events: []Event{{At: happens, Do: Readdress, Link: "dsl"}}},
		{name: "lte-readdressed", about: "LTE gets another IPv4 address", length: 4 * time.Second, settled: happens + 4*time.Second,
			events: []Event{{At: happens, Do: Readdress, Link: "lte"}}},
		{name: "both-down", about: "both links lose carrier for 3 s", length: 7 * time.Second, settled: happens + 15*time.Second, requests: 40, slowest: 6000, stall: 6000,
			events: []Event{{At: happens, Do: Cut, Link: "dsl"}, {At: happens, Do: Cut, Link: "lte"},
				{At: happens + 3*time.Second, Do: Restore, Link: "dsl"}, {At: happens + 3*time.Second, Do: Restore, Link: "lte"}}},
		{name: "links-swapped", about: "DSL and LTE change names, as two sticks do after a restart of the bus", length: 4 * time.Second, settled: happens + 14*time.Second, stall: 3000,
			events: []Event{do(happens, "swap", both(router(rename("dsl", "other"), rename("lte", "dsl"), rename("other", "lte")), swapRoutes))}},
		{name: "mtu-lowered", about: "DSL's MTU falls to 1280 at both ends", length: 4 * time.Second, settled: happens + 3*time.Second,
			events: []Event{do(happens, "mtu", func(w *world.World) error {
				if err := w.OnRouter("ip link set dsl mtu 1280"); err != nil {
					return err
				}
				return w.Providers[0].Script("link set cust mtu 1280\n")
			})}},
		{name: "flapping", about: "DSL loses carrier for 300 ms, eight times in 8 s", length: 10 * time.Second, settled: happens + 20*time.Second, stall: 3000, events: flaps("dsl", 8)},
	}
}

func flaps(link string, n int) (events []Event) {
	for i := range n {
		at := happens + time.Duration(i)*time.Second
		events = append(events, Event{At: at, Do: Cut, Link: link}, Event{At: at + 300*time.Millisecond, Do: Restore, Link: link})
	}
	return events
}

// swapRoutes gives the devices that have changed names the addresses that belong to the lines behind them.
func swapRoutes(w *world.World) error {
	w.Links[0].Device, w.Links[1].Device = w.Links[1].Device, w.Links[0].Device
	defer func() { w.Links[0].Device, w.Links[1].Device = w.Links[1].Device, w.Links[0].Device }()
	for i := range w.Links {
		if err := w.Addresses(i); err != nil {
			return err
		}
	}
	return nil
}

func middleboxFaults() []fault {
	box := func(link string, b linkemu.Middlebox) []Event {
		return []Event{{At: 0, Do: Meddle, Link: link, Box: b}}
	}
	late := func(link string, b linkemu.Middlebox) []Event {
		return []Event{{At: happens, Do: Meddle, Link: link, Box: b}}
	}
	return []fault{
		{name: "stripped-dsl", about: "a box on DSL removes MPTCP's options: plain TCP by DSL", events: box("dsl", linkemu.Middlebox{StripMPTCP: true}),
			length: 3 * time.Second, native: true},
		{name: "stripped-lte", about: "a box on LTE removes MPTCP's options: all by DSL", events: box("lte", linkemu.Middlebox{StripMPTCP: true}),
			length: 3 * time.Second, native: true},
		{name: "stripped-midway", about: "a box on LTE begins to remove MPTCP's options", events: late("lte", linkemu.Middlebox{StripMPTCP: true}),
			length: 4 * time.Second, native: true, stall: 3000},
		{name: "join-stripped", about: "a box on LTE lets no subflow join: all by DSL", events: box("lte", linkemu.Middlebox{StripJoin: true}),
			length: 3 * time.Second, native: true},
		{name: "octets-altered", about: "a box on LTE alters payload and corrects TCP's checksum; MPTCP's own is on", before: checksums,
			events: late("lte", linkemu.Middlebox{AlterOctets: true}), length: 4 * time.Second, native: true, stall: 3000},
		{name: "syn-data-dropped", about: "a firewall on both links drops SYNs with data", length: 4 * time.Second, slowest: 3500,
			events: append(box("dsl", linkemu.Middlebox{DropSYNData: true}), box("lte", linkemu.Middlebox{DropSYNData: true})...)},
		{name: "prio-dropped", about: "a box on both links drops what carries MP_PRIO", length: 4 * time.Second, stall: 3000,
			events: append(box("dsl", linkemu.Middlebox{DropPrio: true}), box("lte", linkemu.Middlebox{DropPrio: true})...)},
	}
}

// checksums switches MPTCP's own on at both ends.
func checksums(w *world.World) error {
	if err := w.SetOnRouter("net.mptcp.checksum_enabled", "1"); err != nil {
		return err
	}
	return w.HAG.Sysctl("net.mptcp.checksum_enabled", "1")
}
