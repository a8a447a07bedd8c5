// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"sync"
	"sync/atomic"
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

// Faithful plays what LAN hosts see of servers that refuse and of servers that are not there, with SYNs held and without; what
// holding costs; and that SYNs pass when too many are held, when the daemon stands still, and when it is gone.
func Faithful() Scenario {
	dsl := world.DSL(100, 40)
	dsl.Up.Delay, dsl.Down.Delay = 10*time.Millisecond, 10*time.Millisecond
	f := &faithful{}
	return Scenario{
		Name: "faithful", About: "LAN hosts see failures as they are (relay.faithful), and SYNs pass when nobody can judge them",
		Links: []world.Link{dsl, world.LTE(100, 40)}, ServerDelay: linkemu.Shape{Delay: 5 * time.Millisecond},
		Settings: world.Settings{Relay: holding()},
		Before:   func(w *world.World) error { return errors.Join(w.Queue(), faithfulServer(w)) },
		Events: []Event{
			do(0, "measure, held", f.measureHeld),
			do(0, "measure, held, warm", f.measureWarm),
			do(0, "measure, not held", f.measurePlain),
			do(0, "too many", f.tooMany),
			do(0, "standstill", f.standstill),
			do(0, "death", f.death),
		},
		Expect: f.expect(),
	}
}

// faithful is what the parts of Faithful find.
type faithful struct {
	held, warm, plain manners
	others            float64 // connections that work while too many SYNs are held, of 10
	frozen            float64 // connections that the kernel accepts while the daemon stands still
	thawed, native    float64 // s, until a connection works after the standstill, and after the daemon's death
}

// holding is the setting by which SYNs are held.
func holding() map[string]string { return map[string]string{"faithful": "true"} }

func (f *faithful) measureHeld(w *world.World) (err error) {
	if err = mannersBecome(w, true); err == nil {
		f.held, err = measureManners(w, 20*time.Second)
	}
	return err
}

func (f *faithful) measureWarm(w *world.World) (err error) {
	w.Settings.Relay = map[string]string{"faithful": "true", "warm": "8"}
	if err = w.Router.Reload(w.TOML()); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // they are made
	f.warm, err = measureManners(w, 20*time.Second)
	return err
}

func (f *faithful) measurePlain(w *world.World) (err error) {
	w.Settings.Relay = nil
	if err = w.Router.Reload(w.TOML()); err == nil {
		err = mannersBecome(w, false)
	}
	if err == nil {
		f.plain, err = measureManners(w, 2*time.Second) // for pages that will not come
	}
	return err
}

func (f *faithful) tooMany(w *world.World) (err error) {
	w.Settings.Relay = holding()
	if err = w.Router.Reload(w.TOML()); err == nil {
		err = mannersBecome(w, true)
	}
	if err != nil {
		return err
	}
	crowd := holes(w, 300)
	defer crowd()
	time.Sleep(500 * time.Millisecond)
	f.others = 0
	for range 10 {
		if _, _, err := exchange(w, "4"); err == nil {
			f.others++
		}
	}
	return nil
}

func (f *faithful) standstill(w *world.World) (err error) {
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
	f.frozen = float64(connected.Load())
	if err = errors.Join(err, w.Router.Freeze(false)); err != nil {
		return err
	}
	all.Wait()
	f.thawed, err = untilExchange(w, "a connection after the standstill")
	return err
}

func (f *faithful) death(w *world.World) (err error) {
	if err = w.Router.Kill(); err != nil {
		return err
	}
	f.native, err = untilExchange(w, "a native connection")
	return err
}

// untilExchange waits until a connection works, and tells how long that took, s.
func untilExchange(w *world.World, what string) (took float64, err error) {
	began := time.Now()
	err = world.WaitFor(what, 30*time.Second, func() bool {
		_, _, err := exchange(w, "4")
		return err == nil
	})
	return time.Since(began).Seconds(), err
}

func (f *faithful) expect() []Expectation {
	value := func(v *float64) func(*Run) float64 { return func(*Run) float64 { return *v } }
	count := func(v *int) func(*Run) float64 { return func(*Run) float64 { return float64(*v) } }
	return []Expectation{
		{What: "held: connections to a closed port that the host saw refused, of 10", Measure: count(&f.held.refused), Is: AtLeast, Aim: 10, Bound: 10},
		{What: "not held: the same", Measure: count(&f.plain.refused), Is: AtMost, Aim: 0, Bound: 0},
		{What: "held: curl over a hole in IPv6, pages by IPv4 of 5", Measure: count(&f.held.overHole), Is: AtLeast, Aim: 5, Bound: 5},
		{What: "held: curl over a hole in IPv6, median", Unit: "ms", Measure: value(&f.held.hole), Is: AtMost, Aim: 400, Bound: none},
		{What: "not held: curl over a hole in IPv6, pages of 5", Measure: count(&f.plain.overHole), Is: AtMost, Aim: 0, Bound: none},
		{What: "held: curl over a refusal in IPv6, pages by IPv4 of 5", Measure: count(&f.held.overRefusal), Is: AtLeast, Aim: 5, Bound: 5},
		{What: "held: curl over a refusal in IPv6, median", Unit: "ms", Measure: value(&f.held.refusal), Is: AtMost, Aim: 200, Bound: none},
		{What: "not held: curl over a refusal in IPv6, pages of 5", Measure: count(&f.plain.overRefusal), Is: AtMost, Aim: 0, Bound: none},
		{What: "held: connections that failed", Measure: count(&f.held.failed), Is: AtMost, Aim: 0, Bound: 0},
		{What: "not held: connections that failed", Measure: count(&f.plain.failed), Is: AtMost, Aim: 0, Bound: 0},
		{What: "held: median until the SYN-ACK", Unit: "ms", Measure: value(&f.held.connect), Is: AtMost, Aim: 50, Bound: none},
		{What: "not held: median until the SYN-ACK", Unit: "ms", Measure: value(&f.plain.connect), Is: AtMost, Aim: 5, Bound: none},
		{What: "held: median until the first octet", Unit: "ms", Measure: value(&f.held.first), Is: AtMost, Aim: 80, Bound: none},
		{What: "held, warm = 8: median until the SYN-ACK", Unit: "ms", Measure: value(&f.warm.connect), Is: AtMost, Aim: 40, Bound: none},
		{What: "held, warm = 8: median until the first octet", Unit: "ms", Measure: value(&f.warm.first), Is: AtMost, Aim: 70, Bound: none},
		{What: "held, warm = 8: connections that failed", Measure: count(&f.warm.failed), Is: AtMost, Aim: 0, Bound: 0},
		{What: "not held: median until the first octet", Unit: "ms", Measure: value(&f.plain.first), Is: AtMost, Aim: 60, Bound: none},
		{What: "held: 95th percentile until the first octet", Unit: "ms", Measure: value(&f.held.first95), Is: AtMost, Aim: 100, Bound: none},
		{What: "not held: 95th percentile until the first octet", Unit: "ms", Measure: value(&f.plain.first95), Is: AtMost, Aim: 100, Bound: none},
		{What: "held: connections a second, 32 at once", Measure: value(&f.held.rate), Is: AtLeast, Aim: 200, Bound: none},
		{What: "held, warm = 8: connections a second, 32 at once", Measure: value(&f.warm.rate), Is: AtLeast, Aim: 200, Bound: none},
		{What: "not held: connections a second, 32 at once", Measure: value(&f.plain.rate), Is: AtLeast, Aim: 200, Bound: none},
		{What: "300 SYNs to a hole: a host's other connections that work, of 10", Measure: value(&f.others), Is: AtLeast, Aim: 10, Bound: 10},
		{What: "daemon stands still: connections of 450 that the kernel accepted meanwhile", Measure: value(&f.frozen), Is: AtLeast, Aim: 1, Bound: 1},
		{What: "daemon goes on: until a connection works", Unit: "s", Measure: value(&f.thawed), Is: AtMost, Aim: 1, Bound: 30},
		{What: "daemon killed: until a connection works, natively", Unit: "s", Measure: value(&f.native), Is: AtMost, Aim: 3, Bound: 30},
	}
}
