// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spillway/testbed/world"
)

// wide is a pair of lines on which nothing is slow.
func wide() []world.Link {
	dsl, lte := world.DSL(200, 200), world.LTE(200, 200)
	dsl.Up, dsl.Down = world.Shape(200, 2), world.Shape(200, 2)
	lte.Up, lte.Down = world.Shape(200, 4), world.Shape(200, 4)
	return []world.Link{dsl, lte}
}

const dscpOfTest = 46

// kinds are the conditions that a rule may have: one that holds for the LAN host's connections to a family of the server,
// and one that does not.
func kinds(mac string) []struct{ name, yes, no string } {
	return []struct{ name, yes, no string }{
		{"src", `src = ["192.168.1.0/24", "2001:db8:1::2"]`, `src = ["192.168.1.3", "2001:db8:2::/64"]`},
		{"dst", `dst = ["203.0.113.0/24", "2001:db8:5::/48"]`, `dst = ["203.0.112.0/24", "2001:db8:6::/48"]`},
		{"dst_port", ``, `src = ["192.0.2.1"]`},
		{"mac", fmt.Sprintf("mac = [%q]", mac), `mac = ["02:00:00:00:00:01"]`},
		{"dscp", fmt.Sprintf("dscp = [%d]", dscpOfTest), `dscp = [10]`},
		{"interface", fmt.Sprintf("interface = [%q]", world.LANDevice), `interface = ["br-guest"]`},
		{"domain", `domain = ["server.test"]`, `domain = ["elsewhere.test"]`},
		{"wildcard", `domain = ["*.wild.test"]`, `domain = ["*.elsewhere.test"]`},
		{"time", `days = ["mon","tue","wed","thu","fri","sat","sun"]`, `days = ["` + strings.ToLower(time.Now().AddDate(0, 0, 3).Weekday().String()) + `"]`},
	}
}

var actions = []string{"bypass", "primary", "bond", "no-lte", "block"}

// TestRules tries every action with every condition in both families. Before each rule stands one whose condition does
// not hold and which would block.
func TestRules(t *testing.T) {
	h, must := atHome(t, world.Config{Links: wide(), Settings: world.Settings{Policy: map[string]string{"hold_up": `"1s"`}}})
	must(h.LAN.Script("link set eth0 address 02:00:00:00:77:77\n"))
	remove, err := h.Hosts(world.Server4 + " server.test\n" + world.Server6 + " server.test\n192.0.2.77 elsewhere.test\n")
	must(err)
	t.Cleanup(remove)
	must(h.StartConcentrator())

	type one struct {
		name, kind, action string
		port               int
	}
	var cases []one
	var ports []int
	text := h.TOML()
	for i, k := range kinds("02:00:00:00:77:77") {
		for j, action := range actions {
			c := one{fmt.Sprintf("%s-%s", k.name, action), k.name, action, 9000 + 10*i + j}
			cases, ports = append(cases, c), append(ports, c.port)
			for _, r := range []struct{ name, condition, action string }{{"no-" + c.name, k.no, "block"}, {c.name, k.yes, action}} {
				text += fmt.Sprintf("[[rule]]\nname = %q\ndst_port = [\"%d\"]\n%s\naction = %q\n", r.name, c.port, r.condition, r.action)
			}
		}
	}
	ports = append(ports, 8999)
	must(h.Serve(ports...))
	must(h.Router.Start(text))
	for _, c := range cases {
		if c.kind == "wildcard" { // as dnsmasq does, by the line that the log shows
			set := "d_" + strings.ReplaceAll(c.name, "-", "_")
			must(h.CPE.Run("nft", fmt.Sprintf("add element inet spillway %s4 { %s }; add element inet spillway %s6 { %s }", set, world.Server4, set, world.Server6)))
			if !strings.Contains(h.Router.Log(), "4#inet#spillway#"+set+"4,6#inet#spillway#"+set+"6") {
				t.Errorf("the log has no line for dnsmasq and %s", c.name)
			}
		}
	}
	must(world.WaitFor("the domain's addresses", 20*time.Second, func() bool {
		for _, c := range cases {
			out, _ := h.CPE.Output("nft", "list", "set", "inet", "spillway", "d_"+strings.ReplaceAll(c.name, "-", "_")+"6")
			if c.kind == "domain" && !strings.Contains(out, world.Server6) {
				return false
			}
		}
		return true
	}))

	for _, family := range []string{"4", "6"} {
		h.expectWay(t, "no rule", Server(family, 8999), way{rule: "", mptcp: true})
		for _, c := range cases {
			want := way{rule: c.name, mptcp: c.action == "bond", native: c.action == "bypass", refused: c.action == "block"}
			h.expectWay(t, c.name+" IPv"+family, Server(family, c.port), want)
		}
	}
	b, err := h.Router.Control("status", nil)
	must(err)
	for _, c := range cases {
		if !strings.Contains(string(b), fmt.Sprintf(`"name":%q`, c.name)) || strings.Contains(string(b), fmt.Sprintf(`"name":%q,"action":%q,"hits":0`, c.name, c.action)) {
			t.Errorf("rule %s has no hits", c.name)
		}
		if !strings.Contains(string(b), fmt.Sprintf(`"name":"no-%s","action":"block","hits":0`, c.name)) {
			t.Errorf("rule no-%s has hits", c.name)
		}
	}
	h.rulesInFailover(t)
	h.reloadKeepsConnections(t)
}

// rulesInFailover takes DSL away: bonded connections begin on LTE, as do those that want the primary, for which it stands in; those that may not have
// LTE are given up.
func (h Home) rulesInFailover(t *testing.T) {
	t.Helper()
	first := func(want string) {
		t.Helper()
		if err := world.WaitFor(want+" is first", 30*time.Second, func() bool {
			s, err := h.Router.Status()
			return err == nil && slices.ContainsFunc(s.Links, func(l struct{ Name, State, Why string }) bool { return l.Name == want && l.State == "first" })
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Lines[0].Cut(); err != nil {
		t.Fatal(err)
	}
	first("lte")
	var all sync.WaitGroup
	for _, family := range []string{"4", "6"} {
		for port, rule := range map[int]string{9001: "src-primary", 9002: "src-bond", 9003: "src-no-lte"} {
			all.Go(func() {
				talk, err := h.Dial(Server(family, port), 0)
				if rule == "src-no-lte" {
					if !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("%s IPv%s without DSL: %v, want it reset", rule, family, err)
					}
					return
				}
				if err != nil {
					t.Errorf("%s IPv%s without DSL: %v", rule, family, err)
					return
				}
				defer talk.Close()
				if f, err := h.FlowOf(talk); err != nil || f == nil || f.Rule != rule || f.Link != "lte" {
					t.Errorf("%s IPv%s without DSL: %+v, %v; want it by LTE", rule, family, f, err)
				}
			})
		}
	}
	all.Wait()
	if err := h.Lines[0].Restore(); err != nil {
		t.Fatal(err)
	}
	first("dsl")
}

// way is where a connection is expected to go.
type way struct {
	rule                   string
	native, refused, mptcp bool
}

// bonded tries until try has seen MPTCP, up to five times as long as a kernel has no token for a connection: all namespaces share one table
// of them.
func (h Home) bonded(try func() bool) bool {
	const tokenless = "MP.MPFallbackTokenInit"
	for range 5 {
		before := h.Tally()
		if try() {
			return true
		}
		now := h.Tally().Since(before)
		if now["router"][tokenless]+now["concentrator"][tokenless] == 0 {
			break
		}
	}
	return false
}

func (h Home) expectWay(t *testing.T, what, to string, want way) {
	t.Helper()
	if !h.bonded(func() bool { return h.wentWay(t, what, to, want) }) {
		t.Errorf("%s: plain TCP, want MPTCP", what)
	}
}

// wentWay reports whatever is wrong but one thing, that a connection has lost MPTCP: then it returns false.
func (h Home) wentWay(t *testing.T, what, to string, want way) bool {
	t.Helper()
	talk, err := h.Dial(to, dscpOfTest)
	if want.refused {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want it refused", what, err)
		}
		return true
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return true
	}
	defer talk.Close()
	flow, err := h.FlowOf(talk)
	switch {
	case err != nil:
		t.Errorf("%s: %v", what, err)
	case (flow == nil) != want.native:
		t.Errorf("%s: flow %+v, the server sees %s", what, flow, talk.Peer)
	case flow != nil && (flow.Rule != want.rule || flow.MPTCP && !want.mptcp || flow.Link != "dsl"):
		t.Errorf("%s: %+v, want %+v", what, *flow, want)
	}
	return flow == nil || flow.MPTCP == want.mptcp
}

// reloadKeepsConnections changes all rules while connections of each kind live: they go on as they began, and the next
// ones obey the new rules. A configuration that is not good changes nothing.
func (h Home) reloadKeepsConnections(t *testing.T) {
	t.Helper()
	var talks []*Talk
	for _, port := range []int{9010, 9011, 9012} { // dst-bypass, dst-primary, dst-bond
		talk, err := h.Dial(Server("4", port), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer talk.Close()
		talks = append(talks, talk)
	}
	rule := "[[rule]]\nname = \"dst-bond\"\ndst_port = [\"9000-9999\"]\naction = %q\n"
	if err := h.Router.Reload(h.TOML() + fmt.Sprintf(rule, "block")); err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		c, err := h.Dial(Server("4", 9012), 0)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	if err := world.WaitFor("the new rule", 15*time.Second, refused); err != nil {
		t.Fatal(err)
	}
	before := strings.Count(h.Router.Log(), "not good")
	if err := h.Router.Reload(h.TOML() + fmt.Sprintf(rule, "fly")); err != nil {
		t.Fatal(err)
	}
	if err := world.WaitFor("the refusal of a bad configuration", 15*time.Second, func() bool { return strings.Count(h.Router.Log(), "not good") > before }); err != nil {
		t.Error(err)
	}
	if !refused() {
		t.Error("a bad configuration changed the rules")
	}
	for i, talk := range talks {
		if err := talk.Echo(10_000); err != nil {
			t.Errorf("connection %d after the reload: %v", i, err)
		}
	}
}
