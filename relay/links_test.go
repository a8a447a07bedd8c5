// SPDX-License-Identifier: Apache-2.0

package relay

import "testing"

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
