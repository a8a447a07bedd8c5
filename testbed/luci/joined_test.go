// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/openwrt/uci"
	"spillway/testbed/await"
	"spillway/testbed/fakeubusd"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
	"spillway/ubus"
	"spillway/ubus/netifd"
)

// router is a real daemon in a world of namespaces, on a bus, configured by UCI.
type router struct {
	*world.World
	socket, config string
	bus            *fakeubusd.Server
}

const routerUCI = `
config global 'global'
	option enabled '1'

config lan 'lan'
	list interfaces 'lan0'

config link 'dsl'
	option device 'dsl'
	option role 'primary'
	option down_kbit '16000'
	option up_kbit '2000'

config link 'lte'
	option device 'lte'
	option role 'overflow'
	option down_kbit '40000'
	option up_kbit '10000'
	option quota '50GB'

config concentrator 'hag'
	option address '198.51.100.10'
	option port '5124'

config policy 'policy'
	option never_worse '1'

config relay 'relay'
`

func newRouter(t *testing.T) *router {
	t.Helper()
	w := world.New(t, world.Config{Links: world.Two()})
	r := &router{World: w, socket: filepath.Join(w.Dir, "ubus.sock"), config: filepath.Join(w.Dir, "spillway")}
	var err error
	if r.bus, err = fakeubusd.Listen(r.socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.bus.Close() })
	if err := os.WriteFile(r.config, []byte(routerUCI), 0o600); err != nil {
		t.Fatal(err)
	}
	toml, err := r.toml()
	if err != nil {
		t.Fatal(err)
	}
	for _, start := range []func() error{func() error { return w.StartServer(w.Dir) }, func() error { return w.StartConcentrator() }, func() error { return w.Router.Start(toml) }} {
		if err := start(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// toml is what the init script would render, with the daemon's sockets where a test can have them.
func (r *router) toml() (string, error) {
	f, err := os.Open(r.config)
	if err != nil {
		return "", err
	}
	defer f.Close()
	toml, err := uci.Import(f, r.config)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("[daemon]\ncontrol = %q\nstate = %q\nubus = %q\n%s", filepath.Join(r.Dir, "control"), filepath.Join(r.Dir, "usage.json"), r.socket, toml), nil
}

func (r *router) reload() error {
	toml, err := r.toml()
	if err != nil {
		return err
	}
	return r.Router.Reload(toml)
}

// call waits until the object is there and answers.
func (r *router) call(t *testing.T, method string, args any) ubus.Msg {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		m, err := r.try(method, args)
		if err == nil {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (r *router) try(method string, args any) (ubus.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := ubus.Dial(ctx, r.socket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Call(ctx, "spillway", method, args)
}

// TestDaemonOnTheBus: a thousand connections, ubusd killed and started again, and none of them harmed.
func TestDaemonOnTheBus(t *testing.T) {
	r := newRouter(t)
	const connections = 1000
	done := make(chan error, 1)
	go func() { // not so fast that the door's queue could overflow, and more be forwarded natively; a busy machine opens them slowly, and the first must not end before the last begins
		result, err := r.Demand(traffic.Demand{Kind: traffic.Get, Connections: connections, Parallel: 200, Every: time.Millisecond, Octets: 2000, Hold: 45 * time.Second, Timeout: 120 * time.Second})
		if err == nil && result.Failed > 0 {
			err = fmt.Errorf("%d of %d connections failed: %q", result.Failed, connections, result.Errors)
		}
		done <- err
	}()
	most := int64(0)
	waitUntil(t, "a thousand connections", func() bool {
		n, _ := r.call(t, "status", nil).Int("sessions")
		most = max(most, n)
		select {
		case err := <-done:
			t.Fatalf("the connections ended early, %d were there at most: %v", most, err)
		default:
		}
		return n >= connections
	})
	timed := func(what, method string, args any, limit time.Duration) {
		var took []time.Duration
		for range 41 {
			start := time.Now()
			r.call(t, method, args)
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		t.Logf("%s with %d connections over the bus: median %v, longest %v", what, connections, took[len(took)/2], took[len(took)-1])
		if median := took[len(took)/2]; median > limit {
			t.Errorf("%s takes %v, want %v", what, median, limit)
		}
	}
	timed("status", "status", nil, 20*time.Millisecond)
	timed("flows, the first 100", "flows", map[string]any{"offset": 0, "limit": 100}, 2*time.Second)
	timed("flows, the last 100", "flows", map[string]any{"offset": 900, "limit": 100}, 2*time.Second)
	timed("flows, all", "flows", map[string]any{"offset": 0, "limit": 1000}, 2*time.Second)
	// A page from the middle, its numbers as text and with the argument that uhttpd adds. Only connections whose
	// concentrator has answered are listed.
	waitUntil(t, "a page of flows", func() bool {
		page := r.call(t, "flows", map[string]any{"offset": 700, "limit": "50", "ubus_rpc_session": "x"})
		total, _ := page.Int("total")
		return total >= 800 && len(page.List("flows")) == 50
	})

	r.bus.Close()
	restarted := time.Now()
	var err error
	if r.bus, err = fakeubusd.Listen(r.socket); err != nil {
		t.Fatal(err)
	}
	r.call(t, "status", nil)
	back := time.Since(restarted)
	t.Logf("the object was back %v after ubusd's restart", back)
	if back > 3*time.Second {
		t.Errorf("the object was back %v after ubusd's restart, want 3 s", back)
	}
	if err := await.Value(t, "the connections' end", done); err != nil {
		t.Error(err)
	}
}

// TestReloadAppliesARoleAndRefusesAWrongOne without breaking a connection.
func TestReloadAppliesARoleAndRefusesAWrongOne(t *testing.T) {
	r := newRouter(t)
	done := make(chan error, 1)
	go func() {
		result, err := r.Demand(traffic.Demand{Kind: traffic.Get, Connections: 4, Octets: 3 << 19, Mbit: 10, Timeout: 60 * time.Second})
		if err == nil && result.Failed > 0 {
			err = fmt.Errorf("connections failed: %q", result.Errors)
		}
		done <- err
	}()
	state := func(name string) string {
		for _, v := range r.call(t, "links", nil).List("links") {
			if l, ok := v.(ubus.Msg); ok && l.Text("name") == name {
				return l.Text("state")
			}
		}
		return ""
	}
	waitUntil(t, "dsl is first", func() bool { return state("dsl") == "first" })
	edit := func(old, new string) {
		text, err := os.ReadFile(r.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.config, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("'primary'", "'off'")
	edit("'overflow'", "'primary'")
	if err := r.reload(); err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	waitUntil(t, "lte is first", func() bool { return state("lte") == "first" })
	applied := time.Since(changed)
	t.Logf("a new role applied after %v", applied)
	if applied > 2*time.Second {
		t.Errorf("a new role applied after %v, want 2 s", applied)
	}
	edit("option quota '50GB'", "option quote '50GB'")
	if err := r.reload(); err == nil || !strings.Contains(err.Error(), "spillway.lte.quote: unknown option; did you mean quota?") {
		t.Errorf("a wrong option: %v", err)
	}
	if s := state("lte"); s != "first" {
		t.Errorf("after the refused change lte is %s", s)
	}
	if err := await.Value(t, "the connections' end", done); err != nil {
		t.Error(err)
	}
}

// TestNetifdsWordGivesALineItsRole: it comes after the daemon's start, and what it calls mobile is left alone while DSL suffices. With another
// protocol the line is as any other.
func TestNetifdsWordGivesALineItsRole(t *testing.T) {
	r := newRouter(t)
	byInterface := strings.NewReplacer("option device 'dsl'\n\toption role 'primary'", "option interface 'wan'", "option device 'lte'\n\toption role 'overflow'", "option interface 'wwan'",
		"option never_worse '1'", "option hold_up '100ms'") // a link that is held back would be silent for that
	if err := os.WriteFile(r.config, []byte(byInterface.Replace(routerUCI)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.reload(); err != nil {
		t.Fatal(err)
	}
	link := func(name string) (l ubus.Msg) {
		for _, v := range r.call(t, "links", nil).List("links") {
			if x, ok := v.(ubus.Msg); ok && x.Text("name") == name {
				l = x
			}
		}
		return l
	}
	is := func(name, role, state string) func() bool {
		return func() bool { l := link(name); return l.Text("role") == role && l.Text("state") == state }
	}
	waitUntil(t, "lte is primary before netifd is there", is("lte", "primary", "off"))
	c, err := ubus.Dial(t.Context(), r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	one := func(name, device, proto string) ubus.Msg {
		return ubus.Msg{{Name: "interface", Value: name}, {Name: "up", Value: true}, {Name: "l3_device", Value: device}, {Name: "proto", Value: proto}}
	}
	dump := ubus.Msg{{Name: "interface", Value: []ubus.Msg{one("wan", "dsl", "pppoe"), one("wwan", "lte", "qmi")}}}
	network := ubus.Object{Name: netifd.Object, Methods: []ubus.Method{{Name: "dump", Handle: func(ubus.Msg) (any, ubus.Status) { return dump, ubus.OK }}}}
	if err := c.Publish(t.Context(), &network); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "dsl is first", is("dsl", "primary", "first"))
	waitUntil(t, "lte is for what overflows", is("lte", "overflow", "off"))
	waitUntil(t, "lte could carry", func() bool { return strings.HasPrefix(link("lte").Text("why"), "lte is not needed") })
	if result, err := r.Demand(traffic.Demand{Kind: traffic.Get, Connections: 2, Octets: 1 << 20, Mbit: 6, Timeout: 60 * time.Second}); err != nil || result.Failed > 0 {
		t.Errorf("%v, %d connections failed", err, result.Failed)
	}
	rx, _ := link("lte").Int("rx_bytes")
	if t.Logf("2 MiB at 6 Mbit/s: lte received %d octets; %s", rx, link("lte").Text("role_why")); rx > 20_000 {
		t.Error("lte was used though dsl is not full")
	}
	if err := c.Notify(netifd.Object, "interface.update", one("wwan", "lte", "dhcp")); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "lte is as any other", is("lte", "primary", "active"))
}

// interfaces are the world's, as netifd would tell them.
func interfaces() []ubus.Msg {
	var all []ubus.Msg
	for name, device := range map[string]string{"lan": "lan0", "wan": "dsl", "wwan": "lte"} {
		all = append(all, ubus.Msg{{Name: "interface", Value: name}, {Name: "up", Value: true}, {Name: "l3_device", Value: device}, {Name: "proto", Value: "static"}})
	}
	return all
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// TestPagesMoveWithRealTraffic drives the pages against the daemon: what moves there is traffic.
func TestPagesMoveWithRealTraffic(t *testing.T) {
	b := findBrowser(t)
	r := newRouter(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.call(t, "status", nil)
	server, err := New(ctx, Options{App: app, Config: r.config, Socket: r.socket, Interfaces: interfaces(), Apply: r.reload})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	defer web.Close()
	awaitUCI(t, web.URL)
	done := make(chan struct{})
	defer func() { await.Value(t, "the traffic's end", done) }()
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			r.Demand(traffic.Demand{Kind: traffic.Get, Connections: 6, For: 5 * time.Second, Mbit: 22, Timeout: 30 * time.Second})
		}
	}()
	defer cancel()
	b.run(t, web.URL, "joined", "DAEMON=1")
}
