// SPDX-License-Identifier: Apache-2.0

package netifd

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"spillway/testbed/fakeubusd"
	"spillway/ubus"

	"github.com/google/go-cmp/cmp"
)

const dump = `{"interface":[
 {"interface":"lan","up":true,"pending":false,"available":true,"autostart":true,"dynamic":false,"uptime":812,"l3_device":"br-lan","proto":"static","device":"br-lan",
  "metric":0,"ipv4-address":[{"address":"192.168.1.1","mask":24}],"ipv6-address":[],"route":[],"data":{}},
 {"interface":"wan","up":true,"pending":false,"available":true,"l3_device":"pppoe-wan","proto":"pppoe","device":"dsl0","route":[{"target":"0.0.0.0","mask":0,"nexthop":"62.155.0.1","source":"0.0.0.0/0"}]},
 {"interface":"wwan","up":false,"pending":true,"available":true,"autostart":true,"proto":"qmi","device":"cdc-wdm0","data":{}},
 {"interface":"stick","up":true,"l3_device":"usb0","device":"usb0","proto":"dhcp"},
 {"interface":"cable","up":true,"l3_device":"eth1","device":"eth1","proto":"dhcp"},
 "nonsense", {"up":true}]}`

const metrics = `{"api_version":"4.17.18.6","vendor":"Broadcom 194.180","state":"Showtime with TC-Layer sync","state_num":7,"up":true,"uptime":3423,
 "mode":"G.993.2 (VDSL2, Profile 17a, with down- and upstream vectoring)","annex":"B","profile":"17a","power_state":"L0 - Synchronized",
 "upstream":{"vendor":null,"interleave_delay":0,"data_rate":31999000,"attndr":32401000,"snr":9.1,"latn":20.3},
 "downstream":{"data_rate":94999000,"attndr":101234000,"snr":11.2},"errors":{}}`

func parse(t *testing.T, s string) ubus.Msg {
	t.Helper()
	m, err := ubus.FromJSON([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDump(t *testing.T) {
	want := []Interface{
		{Name: "lan", Up: true, Proto: "static", Device: "br-lan"},
		{Name: "wan", Up: true, Proto: "pppoe", Device: "pppoe-wan", Kind: DSL},
		{Name: "wwan", Proto: "qmi", Kind: LTE},
		{Name: "stick", Up: true, Proto: "dhcp", Device: "usb0", Kind: LTE},
		{Name: "cable", Up: true, Proto: "dhcp", Device: "eth1"},
	}
	if diff := cmp.Diff(want, ParseDump(parse(t, dump))); diff != "" {
		t.Error(diff)
	}
}

func TestLine(t *testing.T) {
	want := Line{Present: true, DownBit: 94999000, UpBit: 31999000}
	if diff := cmp.Diff(want, ParseLine(parse(t, metrics))); diff != "" {
		t.Error(diff)
	}
	training := ParseLine(parse(t, `{"up":false,"state":"Handshake","downstream":{"data_rate":94999000},"upstream":{"data_rate":null}}`))
	if training.DownBit != 0 || !training.Present {
		t.Errorf("%+v", training)
	}
	if big := ParseLine(parse(t, `{"up":true,"downstream":{"data_rate":-1294967296}}`)); big.DownBit != 3e9 || big.UpBit != 0 {
		t.Errorf("3 Gbit/s read as %d", big.DownBit)
	}
}

// bus is one to be alone on.
func bus(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "u")
	s, err := fakeubusd.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return path
}

// client is one of a bus that has these objects.
func client(t *testing.T, path string, objects ...ubus.Object) *ubus.Conn {
	t.Helper()
	c, err := ubus.Dial(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for i := range objects {
		if err := c.Publish(context.Background(), &objects[i]); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// gone waits until ubusd knows that an object's owner has left: till then its name is taken, and somebody asked who answers no more.
func gone(t *testing.T, path, object string) {
	t.Helper()
	c := client(t, path)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := c.Lookup(context.Background(), object); errors.Is(err, ubus.NotFound) {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%s, whose owner has left: %v", object, err)
		}
	}
}

// says is an object with one method, which always answers the same.
func says(object, method string, m ubus.Msg) ubus.Object {
	return ubus.Object{Name: object, Methods: []ubus.Method{{Name: method, Handle: func(ubus.Msg) (any, ubus.Status) { return m, ubus.OK }}}}
}

// network plays netifd and the modem on a bus.
func network(t *testing.T, path string, answer *ubus.Msg) (c *ubus.Conn) {
	t.Helper()
	return client(t, path, says("dsl", "metrics", *answer), says(Object, "dump", parse(t, dump)))
}

func TestWatcherFollowsInterfacesAndRestarts(t *testing.T) {
	path := bus(t)
	line := parse(t, metrics)
	n := network(t, path, &line)
	states := make(chan State, 10)
	next := func() State {
		select {
		case s := <-states:
			return s
		case <-time.After(20 * time.Second):
			t.Fatal("no state came")
			return State{}
		}
	}
	w := Watch(func(s State) { states <- s })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go ubus.Run(ctx, path, ubus.Options{Subscriptions: []ubus.Subscription{w.Subscription()}})
	first := next()
	if first.Device("wan") != "pppoe-wan" || first.Device("wwan") != "" || first.Line.DownBit != 94999000 {
		t.Errorf("first %+v", first)
	}
	n.Notify(Object, "interface.update", parse(t, `{"interface":"wwan","up":true,"l3_device":"wwan0","device":"cdc-wdm0","proto":"qmi"}`))
	if s := next(); s.Device("wwan") != "wwan0" || s.Device("wan") != "pppoe-wan" || len(s.Interfaces) != 5 {
		t.Errorf("after wwan came up: %+v", s)
	}
	n.Notify(Object, "interface.update", parse(t, `{"interface":"wwan","up":true,"l3_device":"wwan0","device":"cdc-wdm0","proto":"qmi","uptime":7}`))
	n.Notify(Object, "interface.down", parse(t, `{"interface":"wan","up":false,"proto":"pppoe","device":"dsl0"}`))
	if s := next(); s.Device("wan") != "" || s.Device("wwan") != "wwan0" {
		t.Errorf("after wan went down (and wwan told nothing new): %+v", s)
	}
	n.Close()
	gone(t, path, "dsl")
	line = parse(t, `{"up":false,"state":"Handshake"}`)
	network(t, path, &line)
	if s := next(); s.Device("wan") != "pppoe-wan" || s.Line != (Line{Present: true}) {
		t.Errorf("after netifd's restart: %+v", s)
	}
	w.Refresh()
	if len(states) != 0 {
		t.Error("the same state was published twice")
	}
}

// TestALineIsWhatItIsWhileItIsDown: a protocol that Guess does not know has no device then. Another protocol is another line.
func TestALineIsWhatItIsWhileItIsDown(t *testing.T) {
	w := Watch(func(State) {})
	for _, step := range []struct {
		data string
		want Kind
	}{
		{`{"interface":"stick","up":true,"l3_device":"wwan0","proto":"own"}`, LTE},
		{`{"interface":"stick","up":false,"proto":"own"}`, LTE},
		{`{"interface":"stick","up":false,"proto":"dhcp","device":"eth1"}`, Unknown},
		{`{"interface":"stick","up":true,"l3_device":"eth1","proto":"dhcp","device":"eth1"}`, Unknown},
	} {
		w.notified("interface.update", parse(t, step.data))
		if i, _ := w.state.Find("stick"); i.Kind != step.want {
			t.Errorf("%s: %q, want %q", step.data, i.Kind, step.want)
		}
	}
}

// TestTheModemsDaemonMayComeLate, after ours at the router's start, and be started anew: the line comes up after it, which netifd tells.
func TestTheModemsDaemonMayComeLate(t *testing.T) {
	path := bus(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	modem := says("dsl", "metrics", parse(t, metrics))
	network := client(t, path, says(Object, "dump", parse(t, dump)))
	states := make(chan State, 10)
	rate := func(when string, want int64) {
		t.Helper()
		select {
		case s := <-states:
			if s.Line.DownBit != want {
				t.Errorf("%s: %d bit/s, want %d", when, s.Line.DownBit, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: no state came", when)
		}
	}
	w := Watch(func(s State) { states <- s })
	go ubus.Run(ctx, path, ubus.Options{Subscriptions: []ubus.Subscription{w.Subscription()}})
	rate("before the modem's daemon", 0)
	daemon := client(t, path, modem)
	tell := func(up string) {
		network.Notify(Object, "interface.update", parse(t, `{"interface":"wan","up":`+up+`,"l3_device":"pppoe-wan","device":"dsl0","proto":"pppoe"}`))
	}
	tell("false")
	rate("the modem's daemon is there", 94999000)
	daemon.Close()
	gone(t, path, "dsl")
	tell("true")
	rate("it is started anew", 0)
	client(t, path, modem)
	tell("false")
	rate("it is there again", 94999000)
}

// TestADumpThatFailedIsAskedForAgain: netifd tells of changes alone, so that links would have no device until each changed.
func TestADumpThatFailedIsAskedForAgain(t *testing.T) {
	path := bus(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	status := make(chan ubus.Status, 2)
	status <- ubus.Timeout
	status <- ubus.OK
	client(t, path, ubus.Object{Name: Object, Methods: []ubus.Method{{Name: "dump", Handle: func(ubus.Msg) (any, ubus.Status) { return parse(t, dump), <-status }}}})
	states := make(chan State, 10)
	w := Watch(func(s State) { states <- s })
	go ubus.Run(ctx, path, ubus.Options{Subscriptions: []ubus.Subscription{w.Subscription()}})
	<-states
	w.Refresh() // as each minute
	select {
	case s := <-states:
		if s.Device("wan") != "pppoe-wan" {
			t.Errorf("%+v", s)
		}
	case <-time.After(5 * time.Second):
		t.Error("it was not asked again")
	}
}

// TestTheNewestStateIsPublishedLast: notifications and the look each minute come from two goroutines.
func TestTheNewestStateIsPublishedLast(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	var last State
	first := true
	w := Watch(func(s State) {
		if first {
			first = false
			close(enter)
			<-leave
		}
		last = s
	})
	var both sync.WaitGroup
	both.Go(func() { w.update(func(s *State) { s.Line.DownBit = 1 }) })
	<-enter
	second := make(chan struct{})
	both.Go(func() { w.update(func(s *State) { s.Line.DownBit = 2 }); close(second) })
	select {
	case <-second: // it has overtaken the first
	case <-time.After(100 * time.Millisecond):
	}
	close(leave)
	both.Wait()
	if last.Line.DownBit != 2 {
		t.Errorf("the last that was published is %+v", last)
	}
}
