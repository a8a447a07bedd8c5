// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"spillway/convert"
)

// TestConnectionsBeginByWeight: where links have weights connections begin on them in that proportion, and on the first where none has.
func TestConnectionsBeginByWeight(t *testing.T) {
	for _, tt := range []struct {
		name    string
		weights [3]int
		dead    int // index of a link that is not usable; -1: none
		want    [3]int
	}{
		{"none", [3]int{}, -1, [3]int{0, 4000, 0}},
		{"three to one", [3]int{3, 1, 0}, -1, [3]int{3000, 1000, 0}},
		{"the greater is dead", [3]int{3, 1, 0}, 0, [3]int{0, 4000, 0}},
		{"all", [3]int{1, 1, 2}, -1, [3]int{1000, 1000, 2000}},
	} {
		p := Plan{First: 1, Primary: 0, Links: []PlanLink{{Name: "a"}, {Name: "b"}, {Name: "c", Metered: true}}}
		for i := range p.Links {
			p.Links[i].Usable, p.Links[i].Weight = i != tt.dead, tt.weights[i]
		}
		var n [3]int
		for range 4000 {
			list := p.links(Bond)
			for i := range p.Links {
				if list[0] == &p.Links[i] {
					n[i]++
				}
			}
		}
		for i := range n {
			if d := n[i] - tt.want[i]; d < -250 || d > 250 { // eight deviations of the draw
				t.Errorf("%s: of 4000 connections %v begin on the links, want about %v", tt.name, n, tt.want)
			}
		}
		if begins := p.links(Primary); tt.dead != 0 && (len(begins) != 1 || begins[0].Name != "a") {
			t.Errorf("%s: those that stay on the primary link begin elsewhere", tt.name)
		}
	}
}

// TestBegins: where connections begin, and so which links are left to those that are there.
func TestBegins(t *testing.T) {
	for _, tt := range []struct {
		name    string
		first   int
		weights [3]int
		dead    int // index of a link that is not usable; -1: none
		a       Action
		want    string
	}{
		{"on the first", 1, [3]int{}, -1, Bond, "[b]"},
		{"the first is dead", 1, [3]int{}, 1, Bond, "[a]"},
		{"nowhere", -1, [3]int{}, -1, Bond, "[]"},
		{"by weight", 0, [3]int{1, 3, 0}, -1, Bond, "[a b]"},
		{"one that has a weight is dead", 0, [3]int{1, 3, 0}, 1, Bond, "[a]"},
		{"all that have a weight are dead", 0, [3]int{0, 3, 0}, 1, Bond, "[a]"},
		{"one that has a weight is metered", 0, [3]int{0, 3, 1}, -1, NoLTE, "[b a]"},
		{"on the primary link", -1, [3]int{0, 3, 1}, -1, Primary, "[a]"},
	} {
		p := Plan{First: tt.first, Primary: 0, Links: []PlanLink{{Name: "a"}, {Name: "b"}, {Name: "c", Metered: true}}}
		for i := range p.Links {
			p.Links[i].Usable, p.Links[i].Weight = i != tt.dead, tt.weights[i]
		}
		begins := map[string]bool{}
		names := []string{}
		for _, l := range p.begins(tt.a) {
			begins[l.Name] = true
			names = append(names, l.Name)
		}
		if fmt.Sprint(names) != tt.want {
			t.Errorf("%s: on %v, want %s", tt.name, names, tt.want)
		}
		for _, l := range p.Links {
			if p.left(l.Name, tt.a) != (len(begins) > 0 && !begins[l.Name]) {
				t.Errorf("%s: %s is left: %v", tt.name, l.Name, p.left(l.Name, tt.a))
			}
		}
	}
}

// TestWhatTheLaneDrewIsNotTriedAgain: a connection goes from the link that was drawn for it to another one, whatever would be drawn now.
func TestWhatTheLaneDrewIsNotTriedAgain(t *testing.T) {
	greets := say(convert.Message{}, func(c *net.TCPConn) { c.Write([]byte("hello")) })
	f := newFake(t, func(c *net.TCPConn, m *convert.Message) {
		if endpoint(c.RemoteAddr()).Addr().String() == "127.0.0.2" {
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) // something on the way answers for it
			return
		}
		greets(c, m)
	})
	failed := 0
	for range 20 {
		r := newRelay(t, Config{Upstreams: upstreams(f), Block: true})
		r.SetPlan(Plan{Primary: 0, Links: []PlanLink{
			{Name: "dsl", Addr4: netip.MustParseAddr("127.0.0.2"), Usable: true, Weight: 1},
			{Name: "cable", Addr4: netip.MustParseAddr("127.0.0.3"), Usable: true, Weight: 1}}})
		c := lanDial(t, r, server)
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			failed++
		}
		c.Close()
	}
	if failed > 0 {
		t.Errorf("%d of 20 connections were not served, though one of two links works", failed)
	}
}
