// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"spillway/testbed/linkemu"
	"spillway/testbed/world"
)

// Ports of the server in Faithful.
const (
	portAnswers = 9000 // answers an octet by one, and then a page
	portRefuses = 9001
	portHole6   = 9002 // answers over IPv4; over IPv6 nothing comes back
	portOnly4   = 9003 // answers over IPv4, refuses over IPv6
	portHole    = 9004 // nothing comes back
)

// manners is what LAN hosts see of servers, and what a connection costs.
type manners struct {
	connect, first, first95 float64 // ms, medians of one connection after the other; and the 95th percentile
	rate                    float64 // connections a second, 32 at once
	failed                  int
	refused                 int // of ten to a port that nobody listens on, those that the host saw refused
	overHole, overRefusal   int // of five by curl, those that came to a page by IPv4
	hole, refusal           float64
}

// Faithful plays what LAN hosts see of servers that refuse and of servers that are not there, with SYNs held and without; what
// holding costs; and that SYNs pass when too many are held, when the daemon stands still, and when it is gone.
func Faithful() Scenario {
	dsl := world.DSL(100, 40)
	dsl.Up.Delay, dsl.Down.Delay = 10*time.Millisecond, 10*time.Millisecond
	var held, warm, plain manners
	var others, frozen, thawed, native float64
	value := func(v *float64) func(*Run) float64 { return func(*Run) float64 { return *v } }
	count := func(v *int) func(*Run) float64 { return func(*Run) float64 { return float64(*v) } }
	with := map[string]string{"faithful": "true"}
	return Scenario{
		Name: "faithful", About: "LAN hosts see failures as they are (relay.faithful), and SYNs pass when nobody can judge them",
		Links: []world.Link{dsl, world.LTE(100, 40)}, ServerDelay: linkemu.Shape{Delay: 5 * time.Millisecond},
		Settings: world.Settings{Relay: with},
		Before:   func(w *world.World) error { return errors.Join(w.Queue(), faithfulServer(w)) },
		Events: []Event{
			do(0, "measure, held", func(w *world.World) (err error) {
				if err = mannersBecome(w, true); err == nil {
					held, err = measureManners(w, 20*time.Second)
				}
				return err
			}),
			do(0, "measure, held, warm", func(w *world.World) (err error) {
				w.Settings.Relay = map[string]string{"faithful": "true", "warm": "8"}
				if err = w.Router.Reload(w.TOML()); err != nil {
					return err
				}
				time.Sleep(2 * time.Second) // they are made
				warm, err = measureManners(w, 20*time.Second)
				return err
			}),
			do(0, "measure, not held", func(w *world.World) (err error) {
				w.Settings.Relay = nil
				if err = w.Router.Reload(w.TOML()); err == nil {
					err = mannersBecome(w, false)
				}
				if err == nil {
					plain, err = measureManners(w, 2*time.Second) // for pages that will not come
				}
				return err
			}),
			do(0, "too many", func(w *world.World) (err error) {
				w.Settings.Relay = with
				if err = w.Router.Reload(w.TOML()); err == nil {
					err = mannersBecome(w, true)
				}
				if err != nil {
					return err
				}
				crowd := holes(w, 300)
				defer crowd()
				time.Sleep(500 * time.Millisecond)
				others = 0
				for range 10 {
					if _, _, err := exchange(w, "4"); err == nil {
						others++
					}
				}
				return nil
			}),
			do(0, "standstill", func(w *world.World) (err error) {
				if err = w.Router.Freeze(true); err != nil {
					return err
				}
				var connected atomic.Int64
				var all sync.WaitGroup
				for range 450 { // more than the queue takes
					all.Go(func() {
						if c, err := dialFrom(w, world.At("4", portAnswers), 40*time.Second); err == nil {
							connected.Add(1)
							c.Close()
						}
					})
				}
				err = world.WaitFor("a connection that the kernel accepts", 30*time.Second, func() bool { return connected.Load() > 0 })
				time.Sleep(2 * time.Second) // more of them
				frozen = float64(connected.Load())
				if err = errors.Join(err, w.Router.Freeze(false)); err != nil {
					return err
				}
				all.Wait()
				began := time.Now()
				err = world.WaitFor("a connection after the standstill", 30*time.Second, func() bool {
					_, _, err := exchange(w, "4")
					return err == nil
				})
				thawed = time.Since(began).Seconds()
				return err
			}),
			do(0, "death", func(w *world.World) (err error) {
				if err = w.Router.Kill(); err != nil {
					return err
				}
				began := time.Now()
				err = world.WaitFor("a native connection", 30*time.Second, func() bool {
					_, _, err := exchange(w, "4")
					return err == nil
				})
				native = time.Since(began).Seconds()
				return err
			}),
		},
		Expect: []Expectation{
			{What: "held: connections to a closed port that the host saw refused, of 10", Measure: count(&held.refused), Is: AtLeast, Aim: 10, Bound: 10},
			{What: "not held: the same", Measure: count(&plain.refused), Is: AtMost, Aim: 0, Bound: 0},
			{What: "held: curl over a hole in IPv6, pages by IPv4 of 5", Measure: count(&held.overHole), Is: AtLeast, Aim: 5, Bound: 5},
			{What: "held: curl over a hole in IPv6, median", Unit: "ms", Measure: value(&held.hole), Is: AtMost, Aim: 400, Bound: none},
			{What: "not held: curl over a hole in IPv6, pages of 5", Measure: count(&plain.overHole), Is: AtMost, Aim: 0, Bound: none},
			{What: "held: curl over a refusal in IPv6, pages by IPv4 of 5", Measure: count(&held.overRefusal), Is: AtLeast, Aim: 5, Bound: 5},
			{What: "held: curl over a refusal in IPv6, median", Unit: "ms", Measure: value(&held.refusal), Is: AtMost, Aim: 200, Bound: none},
			{What: "not held: curl over a refusal in IPv6, pages of 5", Measure: count(&plain.overRefusal), Is: AtMost, Aim: 0, Bound: none},
			{What: "held: connections that failed", Measure: count(&held.failed), Is: AtMost, Aim: 0, Bound: 0},
			{What: "not held: connections that failed", Measure: count(&plain.failed), Is: AtMost, Aim: 0, Bound: 0},
			{What: "held: median until the SYN-ACK", Unit: "ms", Measure: value(&held.connect), Is: AtMost, Aim: 50, Bound: none},
			{What: "not held: median until the SYN-ACK", Unit: "ms", Measure: value(&plain.connect), Is: AtMost, Aim: 5, Bound: none},
			{What: "held: median until the first octet", Unit: "ms", Measure: value(&held.first), Is: AtMost, Aim: 80, Bound: none},
			{What: "held, warm = 8: median until the SYN-ACK", Unit: "ms", Measure: value(&warm.connect), Is: AtMost, Aim: 40, Bound: none},
			{What: "held, warm = 8: median until the first octet", Unit: "ms", Measure: value(&warm.first), Is: AtMost, Aim: 70, Bound: none},
			{What: "held, warm = 8: connections that failed", Measure: count(&warm.failed), Is: AtMost, Aim: 0, Bound: 0},
			{What: "not held: median until the first octet", Unit: "ms", Measure: value(&plain.first), Is: AtMost, Aim: 60, Bound: none},
			{What: "held: 95th percentile until the first octet", Unit: "ms", Measure: value(&held.first95), Is: AtMost, Aim: 100, Bound: none},
			{What: "not held: 95th percentile until the first octet", Unit: "ms", Measure: value(&plain.first95), Is: AtMost, Aim: 100, Bound: none},
			{What: "held: connections a second, 32 at once", Measure: value(&held.rate), Is: AtLeast, Aim: 200, Bound: none},
			{What: "held, warm = 8: connections a second, 32 at once", Measure: value(&warm.rate), Is: AtLeast, Aim: 200, Bound: none},
			{What: "not held: connections a second, 32 at once", Measure: value(&plain.rate), Is: AtLeast, Aim: 200, Bound: none},
			{What: "300 SYNs to a hole: a host's other connections that work, of 10", Measure: value(&others), Is: AtLeast, Aim: 10, Bound: 10},
			{What: "daemon stands still: connections of 450 that the kernel accepted meanwhile", Measure: value(&frozen), Is: AtLeast, Aim: 1, Bound: 1},
			{What: "daemon goes on: until a connection works", Unit: "s", Measure: value(&thawed), Is: AtMost, Aim: 1, Bound: 30},
			{What: "daemon killed: until a connection works, natively", Unit: "s", Measure: value(&native), Is: AtMost, Aim: 3, Bound: 30},
		},
	}
}

// faithfulServer has the server answer, refuse and keep silent.
func faithfulServer(w *world.World) error {
	for _, l := range []struct {
		network string
		port    int
	}{{"tcp", portAnswers}, {"tcp", portHole6}, {"tcp4", portOnly4}, {"tcp", portHole}} {
		var listener net.Listener
		if err := w.SRV.Do(func() (err error) {
			listener, err = net.Listen(l.network, fmt.Sprintf(":%d", l.port))
			return err
		}); err != nil {
			return err
		}
		w.AtClose(func() { listener.Close() })
		go answer(listener)
	}
	return w.SRV.Run("nft", fmt.Sprintf("table inet holes { chain in { type filter hook input priority 0; meta nfproto ipv6 tcp dport %d drop; tcp dport %d drop; }; }",
		portHole6, portHole))
}

// answer answers the first octets of a connection by a page.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := c.Read(make([]byte, 4096)); err == nil {
				io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
			}
		}()
	}
}

func dialFrom(w *world.World, to string, within time.Duration) (c net.Conn, err error) {
	err = w.LAN.Do(func() (err error) {
		d := net.Dialer{Timeout: within}
		d.SetMultipathTCP(false)
		c, err = d.Dial("tcp", to)
		return err
	})
	return c, err
}

// exchange connects, asks at once, and times the SYN-ACK and the first octet.
func exchange(w *world.World, family string) (connect, first time.Duration, err error) {
	to := world.At(family, portAnswers)
	err = w.LAN.Do(func() error { // dial and exchange on one thread: no waiting for another in between
		began := time.Now()
		d := net.Dialer{Timeout: 20 * time.Second}
		d.SetMultipathTCP(false)
		c, err := d.Dial("tcp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		connect = time.Since(began)
		c.SetDeadline(began.Add(30 * time.Second))
		if _, err := c.Write([]byte{'?'}); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		first = time.Since(began)
		return err
	})
	return connect, first, err
}

// mannersBecome waits until a closed port looks refused, or does not.
func mannersBecome(w *world.World, refused bool) error {
	return world.WaitFor(fmt.Sprintf("refusals as they are: %v", refused), 60*time.Second, func() bool {
		c, err := dialFrom(w, world.At("4", portRefuses), 20*time.Second)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED) == refused && (err == nil) != refused
	})
}

// measureManners takes all the figures; curl waits so long for a page.
func measureManners(w *world.World, patience time.Duration) (m manners, err error) {
	var connects, firsts []time.Duration
	for i := range 60 {
		connect, first, err := exchange(w, []string{"4", "6"}[i&1])
		if err != nil {
			m.failed++
			continue
		}
		connects, firsts = append(connects, connect), append(firsts, first)
	}
	m.connect, m.first, m.first95 = middle(connects), middle(firsts), quantile(firsts, 95)
	m.rate = together(w, 300, 32, &m.failed)
	for range 10 {
		c, err := dialFrom(w, world.At("4", portRefuses), 20*time.Second)
		if err == nil {
			c.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			m.refused++
		}
	}
	m.overHole, m.hole = happy(w, portHole6, patience)
	m.overRefusal, m.refusal = happy(w, portOnly4, patience)
	return m, nil
}

// together makes connections, some at once, and returns how many a second.
func together(w *world.World, all, parallel int, failed *int) float64 {
	var group sync.WaitGroup
	var bad, next atomic.Int64
	began := time.Now()
	for range parallel {
		group.Go(func() {
			for next.Add(1) <= int64(all) {
				if _, _, err := exchange(w, "4"); err != nil {
					bad.Add(1)
				}
			}
		})
	}
	group.Wait()
	*failed += int(bad.Load())
	return float64(all) / time.Since(began).Seconds()
}

// happy has curl, which tries IPv6 first and IPv4 200 ms later, fetch a page five times: how often it did, and how long it took.
func happy(w *world.World, port uint16, patience time.Duration) (pages int, median float64) {
	var took []time.Duration
	for range 5 {
		began := time.Now()
		out, err := w.Curl("-m", fmt.Sprint(patience.Seconds()), "--resolve", fmt.Sprintf("name.test:%d:[%s],%s", port, world.Server6, world.Server4),
			fmt.Sprintf("http://name.test:%d/", port)).Output()
		if err == nil && string(out) == "yes" {
			pages++
			took = append(took, time.Since(began))
		}
	}
	return pages, middle(took)
}

// holes begins connections to a hole; the function that it returns ends them.
func holes(w *world.World, n int) func() {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if c, err := dialFrom(w, world.At("4", portHole), 4*time.Second); err == nil {
				c.Close()
			}
		})
	}
	return all.Wait
}

func middle(d []time.Duration) float64 { return quantile(d, 50) }

// quantile is the percentile in ms; 0 without any.
func quantile(d []time.Duration, percent int) float64 {
	if len(d) == 0 {
		return 0
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return float64(d[min(len(d)-1, len(d)*percent/100)]) / 1e6
}
