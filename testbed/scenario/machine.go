// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spillway/testbed/fakeubusd"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// machineFaults: the router itself lacks something.
func machineFaults() []fault {
	return []fault{
		{name: "descriptors-out", about: "200 descriptors, and 300 connections at once from 1.5 s to 4.5 s", length: 6 * time.Second, settled: 8 * time.Second, slowest: 6000,
			settings: world.Settings{Relay: map[string]string{"max_per_host": "4096"}}, // the host has all that there is
			before:   Wrap("ulimit -n 200"), events: []Event{do(happens, "300 connections", crowd(300, 3*time.Second))}},
		{name: "ports-out", about: "the router has 60 local ports, and 200 connections at once from 1.5 s to 4.5 s", length: 6 * time.Second, settled: 8 * time.Second, slowest: 6000,
			before:   func(w *world.World) error { return w.SetOnRouter("net.ipv4.ip_local_port_range", "40000 40059") },
			settings: world.Settings{Relay: map[string]string{"max_per_host": "4096"}}, // the host has all that there is
			events:   []Event{do(happens, "200 connections", crowd(200, 3*time.Second))}},
		{name: "conntrack-absent", about: "no connection tracking on the router: what is relayed needs none", length: 3 * time.Second,
			before: router("nft delete table inet provider")},
	}
}

// crowd opens connections that hold still for a while and don't matter.
func crowd(n int, hold time.Duration) func(*world.World) error {
	return func(w *world.World) error {
		_, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 100, Connections: n, Parallel: n, Hold: hold, Timeout: 5 * time.Second})
		return err
	}
}

// unwritable is a fault of the directory where quota counters and earlier sysctls are kept: set up by lines of shell before the daemon
// starts, mended by others later. What was not saved is then.
func unwritable(name, about string, setUp, mend []string) Scenario {
	links := world.Two()
	links[1].More = "quota = \"1GB\"\n" // so that there is something to save within seconds
	var v verdict
	saved := false
	s := fault{name: name, about: about + ", until 5 s", links: links, length: 5 * time.Second,
		settings: world.Settings{Daemon: map[string]string{"state": `"/run/spillway/usage.json"`}}, before: Wrap(setUp...),
		events: []Event{
			do(4*time.Second, "doctor", v.ask("machine/quota counters")),
			do(5*time.Second, "mend", func(w *world.World) error {
				if w.Own() { // the mounts are the whole machine's
					return w.OnRouter(mend...)
				}
				u, err := w.Router.Usage()
				if err != nil {
					return err
				}
				return w.CPE.Run("nsenter", "-t", fmt.Sprint(u.Pid), "-m", "sh", "-ec", strings.Join(mend, "\n"))
			}),
			do(5*time.Second, "wait", func(w *world.World) error {
				saved = world.WaitFor("", time.Minute, func() bool { return strings.Contains(w.Router.Log(), "saved again") }) == nil
				return nil
			}),
		}}.scenario()
	s.Expect = append(s.Expect, v.named("machine/quota counters"),
		Expectation{What: "counters are saved once there is room (1: yes)", Measure: func(*Run) float64 {
			if saved {
				return 1
			}
			return 0
		}, Is: AtLeast, Aim: 1, Bound: 1})
	return s
}

func diskFull() Scenario {
	return unwritable("disk-full", "no octet can be written where quota counters and earlier sysctls are kept",
		[]string{"mount -t tmpfs -o size=4k,nr_inodes=16 tmpfs /run", "mkdir /run/spillway", "head -c 4096 /dev/zero >/run/full || true"}, []string{"rm /run/full"})
}

func diskReadOnly() Scenario {
	return unwritable("disk-read-only", "where quota counters and earlier sysctls are kept is mounted read-only",
		[]string{"mount -t tmpfs -o size=64k tmpfs /run", "mkdir /run/spillway", "mount -o remount,ro /run"}, []string{"mount -o remount,rw /run"})
}

// verdict is what doctor says of one check, asked in the middle of a fault.
type verdict struct{ result, what string }

// ask has doctor look at the router.
func (v *verdict) ask(check string) func(*world.World) error {
	return func(w *world.World) error {
		answer, err := w.Router.Control("doctor", nil)
		if err != nil {
			return fmt.Errorf("ask doctor: %w", err)
		}
		var d struct {
			Checks []struct{ Name, Result, What string }
		}
		if err := json.Unmarshal(answer, &d); err != nil {
			return err
		}
		for _, c := range d.Checks {
			if c.Name == check {
				v.result, v.what = c.Result, c.What
				return nil
			}
		}
		return fmt.Errorf("doctor has no check %q", check)
	}
}

// named expects that doctor has named the fault.
func (v *verdict) named(check string) Expectation {
	return Expectation{What: "doctor calls " + check + " failed (1: yes)", Measure: func(r *Run) float64 {
		r.log("        doctor: %s %s: %s", check, v.result, v.what)
		return float64(strings.Count(v.result, "fail"))
	}, Is: AtLeast, Aim: 1, Bound: 1}
}

// conntrackFull fills the router's table of connections. The kernel drops the first packet of each new one then, before any program
// could see it; what is under way goes on.
func conntrackFull() Scenario {
	const full = 3500 * time.Millisecond
	var v verdict
	told := make(chan error, 1)
	s := fault{name: "conntrack-full", about: "the table of tracked connections is full from 1.5 s to 5 s: what is under way goes on, new ones wait until there is room",
		length: 8 * time.Second, settled: 9 * time.Second, slowest: 8000,
		events: []Event{
			do(happens, "fill the table", func(w *world.World) error { _, err := w.CPE.FillConntrack(); return err }),
			// doctor tries connections too, and waits for each: the table would be full for ten seconds if we waited for doctor.
			do(happens+full/2, "doctor", func(w *world.World) error { go func() { told <- v.ask("machine/conntrack")(w) }(); return nil }),
			do(happens+full, "make room", func(w *world.World) error { return w.CPE.EmptyConntrack() }),
			do(happens+full, "doctor's answer", func(*world.World) error {
				select {
				case err := <-told:
					return err
				case <-time.After(time.Minute):
					return errors.New("doctor has no answer after a minute")
				}
			}),
		}}.scenario()
	s.Expect = append(s.Expect, v.named("machine/conntrack"))
	return s
}

// memoryShort gives the daemon and its sockets 32 MB on a machine that says it has 64, and three times the connections that fit.
func memoryShort() Scenario {
	var before, full, after world.Usage
	var peak, kills int
	group := new(memoryGroup)
	s := fault{name: "memory-short", about: "a router of 64 MB, 32 of them for the daemon and its sockets, and 3000 connections at once from 1.5 s to 6.5 s",
		length: 8 * time.Second, settled: 10 * time.Second, slowest: 8000,
		settings: world.Settings{Relay: map[string]string{"max_per_host": "100000"}},
		before: func(w *world.World) error {
			if err := group.make(w, 32<<20); err != nil {
				return err
			}
			return Wrap(append(memoryOf(w, 64<<10), group.enter())...)(w)
		},
		events: []Event{
			do(happens-time.Second, "count", func(w *world.World) (err error) { before, err = w.Router.Usage(); return err }),
			do(happens+4*time.Second, "count", func(w *world.World) (err error) { full, err = w.Router.Usage(); return err }),
			do(9*time.Second, "count", func(w *world.World) (err error) {
				after, err = w.Router.Usage()
				peak, kills = group.peak()
				return err
			}),
		}}.scenario()
	s = crowded(s, 5*time.Second)
	s.Expect = append(s.Expect,
		Expectation{What: "daemons killed or started again", Measure: func(*Run) float64 { return float64(after.Pid - before.Pid + kills) }, Is: AtMost, Aim: 0, Bound: 0},
		Expectation{What: "connections relayed in the midst of it", Measure: func(*Run) float64 { return float64(full.Sessions) }, Is: AtMost, Aim: 1200, Bound: none},
		Expectation{What: "resident memory in the midst of it", Unit: "kB", Measure: func(*Run) float64 { return float64(full.RSS >> 10) }, Is: AtMost, Aim: 24_000, Bound: none},
		Expectation{What: "most memory with the kernel's for it", Unit: "kB", Measure: func(*Run) float64 { return float64(peak >> 10) }, Is: AtMost, Aim: 32 << 10, Bound: none})
	return s
}

// tooMany is a router whose owner allows 20,000 connections where memory suffices for 600; 3,000 come. Where that
// bound is seen, the daemon knows of it.
func tooMany(name, what string, seen bool) (f fault, group *memoryGroup) {
	group = new(memoryGroup)
	return fault{name: name, about: "the owner allows 20000 connections where memory suffices for 600, and 3000 come: " + what,
		length: 9 * time.Second, settled: 13 * time.Second,
		settings: world.Settings{Relay: map[string]string{"max_sessions": "20000", "max_per_host": "20000"}},
		before: func(w *world.World) error {
			if err := group.make(w, 26<<20); err != nil {
				return err
			}
			lines := append(memoryOf(w, 64<<10), group.enter())
			if seen {
				lines = append(lines, group.show()...)
			}
			return Wrap(lines...)(w)
		},
	}, group
}

// crowded has 3,000 connections come, which stay for hold, and counts those of them that fail.
func crowded(s Scenario, hold time.Duration) Scenario {
	s.Demands = append(s.Demands, Demand{Name: "crowd", Start: happens,
		Demand: traffic.Demand{Kind: traffic.Get, Octets: 100, Connections: 3000, Parallel: 3000, Hold: hold, Timeout: 8 * time.Second}})
	s.Expect = append(s.Expect, Expectation{What: "of the 3000 failed", Unit: "%", Measure: FailedShare("crowd"), Is: AtMost, Aim: 5, Bound: none})
	return s
}

// memoryOut is a daemon that sees how little memory is left.
func memoryOut() Scenario {
	var full world.Usage
	var peak, kills int
	f, group := tooMany("memory-out", "the door closes while memory is out, and the kernel need not kill", true)
	f.slowest = 8000
	f.events = []Event{
		do(happens+3*time.Second, "count", func(w *world.World) (err error) { full, err = w.Router.Usage(); return err }),
		do(12*time.Second, "count", func(*world.World) error { peak, kills = group.peak(); return nil }),
	}
	s := crowded(f.scenario(), 4*time.Second)
	s.Expect = append(s.Expect,
		Expectation{What: "times that the kernel killed it", Measure: func(*Run) float64 { return float64(kills) }, Is: AtMost, Aim: 0, Bound: 0},
		Expectation{What: "connections relayed in the midst of it", Measure: func(*Run) float64 { return float64(full.Sessions) }, Is: AtLeast, Aim: 200, Bound: none},
		Expectation{What: "most memory with the kernel's for it", Unit: "kB", Measure: func(*Run) float64 { return float64(peak >> 10) }, Is: AtMost, Aim: 26 << 10, Bound: none})
	return s
}

// memoryKilled is one that does not: the kernel kills it, as often as it does, and it is started again a second later as by procd.
func memoryKilled() Scenario {
	var first, last world.Usage
	var kills int
	f, group := tooMany("memory-killed", "the kernel kills the daemon, procd starts it again", false)
	f.requests, f.slowest, f.bulkBreaks = 15, 8000, true
	f.events = []Event{
		do(happens-time.Second, "count", func(w *world.World) (err error) { first, err = w.Router.Usage(); return err }),
		do(happens, "wait", func(w *world.World) error {
			return world.WaitFor("the kernel to kill the daemon", 10*time.Second, func() bool { _, err := w.Router.Usage(); return err != nil })
		}),
		do(happens, "start it again", func(w *world.World) error {
			_, kills = group.peak()
			time.Sleep(time.Second)
			return w.Router.Start(w.TOML())
		}),
		do(12*time.Second, "count", func(w *world.World) (err error) { last, err = w.Router.Usage(); return err }),
	}
	s := crowded(f.scenario(), 4*time.Second)
	s.Expect = append(s.Expect,
		Expectation{What: "times that the kernel killed it", Measure: func(*Run) float64 { return float64(kills) }, Is: AtLeast, Aim: 1, Bound: 1},
		Expectation{What: "objects in the kernel more than before", Measure: func(*Run) float64 {
			return float64(last.NFT + last.Rules + last.Routes - first.NFT - first.Rules - first.Routes)
		}, Is: AtMost, Aim: 0, Bound: 0})
	return s
}

// memoryOf has the daemon believe in a machine of so many KiB.
func memoryOf(w *world.World, kib int) []string {
	file := filepath.Join(w.Dir, "meminfo")
	return []string{fmt.Sprintf("sed 's/^MemTotal:.*/MemTotal: %d kB/' /proc/meminfo >%s", kib, file), "mount --bind " + file + " /proc/meminfo"}
}

// memoryGroup is a control group of the first or second kind that bounds the memory of what is in it, the kernel's for its sockets
// included.
type memoryGroup struct {
	dir string
	v2  bool
}

func (g *memoryGroup) make(w *world.World, octets int) error {
	root := "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); err != nil {
		root, g.v2 = "/sys/fs/cgroup", true
		os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0o644) // refused: the file below is missing then
	}
	g.dir = fmt.Sprintf("%s/spillway-%d", root, os.Getpid())
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return fmt.Errorf("a control group to bound memory: %w", err)
	}
	w.AtClose(func() { world.WaitFor("", 5*time.Second, func() bool { return os.Remove(g.dir) == nil }) })
	name := "memory.limit_in_bytes"
	if g.v2 {
		name = "memory.max"
	}
	if err := os.WriteFile(filepath.Join(g.dir, name), fmt.Append(nil, octets), 0o644); err != nil {
		return fmt.Errorf("bound the memory of a control group: %w", err)
	}
	return nil
}

// enter is the line of shell by which the daemon goes into the group. In a namespace of its own it sees other mounts than we.
func (g *memoryGroup) enter() string {
	return fmt.Sprintf("echo $$ >/proc/%d/root%s/cgroup.procs", os.Getpid(), g.dir)
}

// show are lines of shell that let the daemon see the group. In a namespace of its own its /sys is another one.
func (g *memoryGroup) show() []string {
	if g.v2 {
		return []string{"mount -t cgroup2 none /sys/fs/cgroup"}
	}
	return []string{"mount -t tmpfs none /sys/fs/cgroup", "mkdir /sys/fs/cgroup/memory", "mount -t cgroup -o memory none /sys/fs/cgroup/memory"}
}

// peak is the most octets that the group had, and how often the kernel has killed for want of them.
func (g *memoryGroup) peak() (octets, kills int) {
	read := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(g.dir, name))
		return string(b)
	}
	if g.v2 {
		fmt.Sscan(read("memory.peak"), &octets)
		_, n, _ := strings.Cut(read("memory.events"), "oom_kill ")
		fmt.Sscan(n, &kills)
		return octets, kills
	}
	fmt.Sscan(read("memory.max_usage_in_bytes"), &octets)
	_, n, _ := strings.Cut(read("memory.oom_control"), "oom_kill ")
	fmt.Sscan(n, &kills)
	return octets, kills
}

// busKilled ends the router's bus and starts another.
func busKilled() Scenario {
	var bus *fakeubusd.Server
	var path string
	back := 0
	s := fault{name: "ubusd-killed", about: "ubusd ends for 2 s and another one starts: the object is there again", length: 5 * time.Second, settled: 6 * time.Second,
		before: func(w *world.World) (err error) {
			path = filepath.Join(w.Dir, "ubus.sock")
			w.Settings.Daemon = map[string]string{"ubus": fmt.Sprintf("%q", path)}
			bus, err = fakeubusd.Listen(path)
			w.AtClose(func() { bus.Close() })
			return err
		},
		events: []Event{
			do(happens, "kill ubusd", func(*world.World) error { bus.Close(); return nil }),
			do(happens+2*time.Second, "start ubusd", func(w *world.World) (err error) {
				if bus, err = fakeubusd.Listen(path); err != nil {
					return err
				}
				return world.WaitFor("spillway's object on the bus", 30*time.Second, func() bool { back = bus.Objects("spillway"); return back > 0 })
			}),
		}}.scenario()
	s.Expect = append(s.Expect, Expectation{What: "objects of ours on the new bus", Measure: func(*Run) float64 { return float64(back) }, Is: AtLeast, Aim: 1, Bound: 1})
	return s
}

// thousandFlaps switches each link off and on, 500 times, faster than anything can follow, and counts what the daemon holds at rest.
func thousandFlaps() Scenario {
	const each = 500
	var counts [3]world.Usage
	count := func(i int) func(*world.World) error {
		return func(w *world.World) (err error) {
			if counts[i], err = w.AtRest(); err != nil {
				return err
			}
			if i == 2 {
				world.PrintUsage(os.Stdout, "start", "500 flaps", "1000 flaps", counts)
			}
			return nil
		}
	}
	flap := func(w *world.World) error {
		for n := range each {
			if err := w.Flap(n%2, 8*time.Millisecond); err != nil {
				return err
			}
			time.Sleep(12 * time.Millisecond)
		}
		return nil
	}
	ask := Demand{Name: "meanwhile", After: 1, Demand: traffic.Demand{Kind: traffic.Web, Octets: 5000, Connections: 80, Every: 100 * time.Millisecond, Parallel: 100, Timeout: 20 * time.Second}}
	return Scenario{
		Name: "flaps-1000", About: "each link is switched off and on 500 times within half a minute: nothing stays behind, and all is as before",
		Links: world.Two(), Settings: world.Settings{Policy: map[string]string{"never_worse": "false"}},
		Demands: []Demand{
			{Name: "first", Demand: traffic.Demand{Kind: traffic.Web, Octets: 20_000, Connections: 30, Every: 50 * time.Millisecond, Parallel: 30, Timeout: 12 * time.Second}},
			ask,
			{Name: "after", After: 5, Demand: traffic.Demand{Kind: traffic.Get, Octets: 10_000_000}},
		},
		Events: []Event{
			do(3*time.Second, "count", count(0)), do(0, "500 flaps", flap), do(0, "count", count(1)), do(0, "500 flaps", flap), do(0, "count", count(2)),
		},
		Expect: []Expectation{
			{What: "requests meanwhile that failed", Unit: "%", Measure: FailedShare("meanwhile"), Is: AtMost, Aim: 100, Bound: none},
			{What: "connections with a wrong octet", Measure: Wrong("first", "meanwhile", "after"), Is: AtMost, Aim: 0, Bound: 0},
			{What: "kinds of things that have grown", Measure: func(*Run) float64 { return float64(len(world.Grown(counts[0], counts[2]))) }, Is: AtMost, Aim: 0, Bound: 0},
			{What: "download afterwards: broken", Measure: Broken("after"), Is: AtMost, Aim: 0, Bound: 0},
			// Links that came and went so often are used last for a while: it is one of them that carries.
			{What: "download afterwards: rate", Unit: "Mbit/s", Measure: Mbit("after"), Is: AtLeast, Aim: 10, Bound: 1},
		},
	}
}
