// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// household is DSL 20/5 and LTE 40/20 Mbit/s, both working and quiet.
func household() (Config, Observation) {
	c := Config{Links: []LinkConfig{{Name: "dsl", DownBit: 20e6, UpBit: 5e6}, {Name: "lte", Role: RoleOverflow, Metered: true, DownBit: 40e6, UpBit: 20e6}}}
	return c, Observation{Now: start, Links: []LinkObs{{Usable: true}, {Usable: true}}}
}

// pass runs a constant world for a while, in steps of 50 ms, and returns the last plan.
func pass(m *Machine, o *Observation, d time.Duration) (p Plan) {
	for end := o.Now.Add(d); o.Now.Before(end); {
		o.Now = o.Now.Add(50 * time.Millisecond)
		p = m.Step(*o)
	}
	return p
}

func TestAllowed(t *testing.T) {
	c, o := household()
	m := New(c)
	check := func(when string, p Plan, want map[Class][]int) {
		t.Helper()
		for class, links := range want {
			if got := p.Allowed(class); !slices.Equal(got, links) {
				t.Errorf("%s: class %d may use %v, want %v", when, class, got, links)
			}
		}
	}
	check("calm", pass(m, &o, time.Second), map[Class][]int{
		Interactive: {0}, Bulk: {0}, Pinned: {0}, Bonded: {0, 1}, Unmetered: {0},
	})
	o.Links[0].DownRate = 20e6
	check("full", pass(m, &o, time.Second), map[Class][]int{
		Interactive: {0}, Bulk: {0, 1}, Pinned: {0}, Bonded: {0, 1}, Unmetered: {0},
	})
	o.Links[0].Usable = false
	check("dsl down", m.Step(o), map[Class][]int{
		Interactive: {1}, Bulk: {1}, Pinned: {1}, Bonded: {1}, Unmetered: nil,
	})
	o.Links[1].Usable = false
	check("both down", m.Step(o), map[Class][]int{Interactive: nil, Bulk: nil, Bonded: nil})
}

// TestWeights: the plan has the configured weights of links on which connections may begin, and of no others.
func TestWeights(t *testing.T) {
	c := Config{Mode: ModeBond, Links: []LinkConfig{{Name: "a", Weight: 3}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1}, {Name: "d", Role: RoleBackup, Weight: 1}}}
	p := New(c).Step(Observation{Now: start, Links: []LinkObs{{Usable: true}, {Usable: true}, {}, {Usable: true}}})
	for i, want := range []float64{3, 1, 0, 0} {
		if got := p.Links[i].Weight; got != want {
			t.Errorf("%s has the weight %v, want %v", c.Links[i].Name, got, want)
		}
	}
}

func TestSet(t *testing.T) {
	c, o := household()
	m := New(c)
	m.Step(o)
	if err := m.Set("dsl", RoleOff); err != nil {
		t.Fatal(err)
	}
	if p := m.Step(o); p.First != 1 || p.Why != "lte takes over: dsl is off: its role was set to off" {
		t.Errorf("dsl set to off: first %d, %q", p.First, p.Why)
	}
	if r, set := m.Role(0); r != RoleOff || !set {
		t.Errorf("role of dsl: %v %v", r, set)
	}
	if err := m.Clear("dsl"); err != nil {
		t.Fatal(err)
	}
	if p := m.Step(o); p.First != 0 || p.Links[1].Role != Standby || !p.Links[1].Draining {
		t.Errorf("dsl given back: %+v", p)
	}
	if err := m.Set("sat", RoleOff); err == nil || !strings.Contains(err.Error(), "dsl and lte") {
		t.Errorf("an unknown link: %v", err)
	}
}

func TestReconfigureKeepsTheLinks(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].DownRate = 20e6
	if p := pass(m, &o, 2*time.Second); !p.OverflowDown {
		t.Fatalf("no overflow: %+v", p)
	}
	c.Links = []LinkConfig{{Name: "sat", Role: RoleBackup}, c.Links[1], c.Links[0]}
	m.Reconfigure(c)
	o.Links = []LinkObs{{Usable: true}, o.Links[1], o.Links[0]}
	p := m.Step(o)
	if p.First != 2 || p.Links[1].Role != Active || p.Links[0].Role != Off {
		t.Errorf("%+v", p)
	}
	if len(p.Changed) != 0 {
		t.Errorf("a reload changed %v", p.Changed)
	}
}

func TestReconfigureChangesTheMode(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].DownRate = 20e6
	pass(m, &o, 2*time.Second)
	c.Mode = ModeBackup
	m.Reconfigure(c)
	if p := m.Step(o); p.Overflow || p.Links[1].Role != Standby {
		t.Errorf("%+v", p)
	}
	c.Mode = ModeBond
	m.Reconfigure(c)
	if p := m.Step(o); p.Overflow || p.Links[1].Role != Active {
		t.Errorf("%+v", p)
	}
}

// TestUploadApart: what is full from the home says nothing about the way to it.
func TestUploadApart(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].UpRate, o.Links[0].UpQueue = 4.2e6, true
	p := pass(m, &o, 3*time.Second)
	if !p.OverflowUp || p.OverflowDown || p.Links[1].Down || !p.Links[1].Up {
		t.Errorf("%+v", p)
	}
	if want := "dsl is full: a queue stands at 4.2 of 5.0 Mbit/s up for 2.0 s, so lte takes the overflow"; p.Why != want {
		t.Errorf("%q, want %q", p.Why, want)
	}
	o.Links[0].UpRate = 3.9e6 // 78 % and a queue: somebody else's
	m = New(c)
	if p := pass(m, &o, time.Minute); p.Overflow {
		t.Errorf("%s", p.Why)
	}
}

// TestFailoverInOneStep: in every mode that has another link, in the very step that sees the failure.
func TestFailoverInOneStep(t *testing.T) {
	for _, mode := range []Mode{ModeOverflow, ModeBackup, ModeBond, ModeSmallestDelay} {
		for _, dead := range []bool{false, true} {
			c, o := household()
			c.Mode = mode
			m := New(c)
			pass(m, &o, time.Second)
			o.Links[0].Usable, o.Links[0].Dead, o.Links[0].Reason = dead, dead, "no sync"
			p := m.Step(o)
			if p.First != 1 || p.Links[0].Role != Off || !strings.Contains(p.Links[0].Why, "no sync") {
				t.Errorf("%v, dead %v: %+v", mode, dead, p)
			}
		}
	}
}

// TestFullPrimaryIsNotLossy: what a full line drops is no fault of the line.
func TestFullPrimaryIsNotLossy(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].Loss = 0.4
	o.Links[0].UpRate = 0.9 * c.Links[0].UpBit
	if p := pass(m, &o, 20*time.Second); p.First != 0 {
		t.Errorf("a full dsl is left for its losses: %s", p.Links[0].Why)
	}
}

// TestLossyPrimary: a primary that loses too much is left while another link works, and tried again.
func TestLossyPrimary(t *testing.T) {
	c, o := household()
	m := New(c)
	o.Links[0].Loss = 0.4
	if p := pass(m, &o, time.Minute); p.First != 0 {
		t.Error("loss without traffic counts")
	}
	o.Links[0].UpRate = 50e3
	p := pass(m, &o, 6*time.Second)
	if p.First != 1 || p.Links[0].Why != "dsl loses 40 % of its packets: only when nothing else works, for 30 s" {
		t.Errorf("first %d, %q", p.First, p.Links[0].Why)
	}
	o.Links[1].Usable = false
	if p := m.Step(o); p.First != 0 {
		t.Error("a lossy link is better than none")
	}
	o.Links[1].Usable, o.Links[0].Loss = true, 0
	if p := pass(m, &o, time.Minute); p.First != 0 {
		t.Errorf("dsl is well again and first is %d", p.First)
	}
}

func TestValidate(t *testing.T) {
	good, _ := household()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		spoil      func(*Config)
	}{
		{"no link", "no link", func(c *Config) { c.Links = nil }},
		{"name twice", `link "dsl": the name is used twice`, func(c *Config) { c.Links[1].Name = "dsl" }},
		{"hysteresis", "overflow_leave 0.95", func(c *Config) { c.OverflowLeave = 0.95 }},
		{"share", "overflow_enter 1.5", func(c *Config) { c.OverflowEnter = 1.5 }},
		{"span", "hold_up -1s", func(c *Config) { c.HoldUp = -time.Second }},
		{"billing day", `link "lte": billing_day 32`, func(c *Config) { c.Links[1].Quota.BillingDay = 32 }},
		{"soft", "quota_soft 2: above quota 1", func(c *Config) { c.Links[1].Quota = Quota{Limit: 1, Soft: 2} }},
		{"no primary", "mode primary-only", func(c *Config) { c.Mode = ModePrimaryOnly; c.Links[0].Role = RoleBackup }},
		{"too many", "17 links", func(c *Config) { c.Links = make([]LinkConfig, 17) }},
	}
	for _, tt := range tests {
		c, _ := household()
		tt.spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		New(c).Step(Observation{}) // must not panic, whatever was ignored
	}
}

func TestNames(t *testing.T) {
	for _, n := range modeNames {
		if m, err := ParseMode(n); err != nil || m.String() != n {
			t.Errorf("mode %s: %v %v", n, m, err)
		}
	}
	for _, n := range roleNames {
		if r, err := ParseRole(n); err != nil || r.String() != n {
			t.Errorf("role %s: %v %v", n, r, err)
		}
	}
	if _, err := ParseMode("x"); err == nil {
		t.Error("mode x")
	}
	if _, err := ParseRole("x"); err == nil {
		t.Error("role x")
	}
}

// TestALinkThatIsAddedIsOffSinceThen, not since the year 1.
func TestALinkThatIsAddedIsOffSinceThen(t *testing.T) {
	c, o := household()
	m := New(Config{Links: c.Links[:1]})
	m.Step(Observation{Now: o.Now, Links: o.Links[:1]})
	m.Reconfigure(c)
	o.Now = o.Now.Add(time.Second)
	o.Links[1].Usable = false
	if p := m.Step(o); !p.Links[1].Since.Equal(o.Now) {
		t.Errorf("since %v", p.Links[1].Since)
	}
}

// TestALinkByWhichNoConcentratorIsReached is one that does not work, as long as another does: connections would start there, and stay.
func TestALinkByWhichNoConcentratorIsReached(t *testing.T) {
	c, o := household()
	c.Links[1].Quota.Limit = 100e6
	m := New(c)
	pass(m, &o, 10*time.Second)
	o.Links[0].Astray = "it has no way out by IPv4"
	p := m.Step(o)
	if why := "lte takes over: dsl is not usable: it has no way out by IPv4"; p.First != 1 || p.Why != why || p.Links[0].Role != Off || p.Links[0].Available {
		t.Errorf("first %d, %q, dsl %+v", p.First, p.Why, p.Links[0])
	}
	for what, l := range map[string]LinkObs{
		"lte dead": {Usable: true, Dead: true}, "lte down": {}, "lte used up": {Usable: true, UsedBytes: 100e6},
	} {
		alone, o := *m, o
		o.Links = []LinkObs{o.Links[0], l}
		o.Now = o.Now.Add(time.Second)
		alone.Step(o)
		o.Now = o.Now.Add(time.Second)
		if p := alone.Step(o); p.First != 0 {
			t.Errorf("%s: first %d, %q", what, p.First, p.Why)
		}
	}
	o.Links[0].Astray = ""
	if p := pass(m, &o, 5*time.Second); p.First != 1 {
		t.Errorf("back for 5 s: first %d, %q", p.First, p.Why)
	}
	if p := pass(m, &o, 6*time.Second); p.First != 0 {
		t.Errorf("back for 11 s: first %d, %q", p.First, p.Why)
	}
}

// TestReconfigureMovesTheLinkOnTrial: in mode bond it is remembered by its place which link is left for a while to see whether that helps.
func TestReconfigureMovesTheLinkOnTrial(t *testing.T) {
	dsl, lte := LinkConfig{Name: "dsl"}, LinkConfig{Name: "lte", Role: RoleOverflow}
	for _, c := range []struct {
		links []LinkConfig
		worst int
		tried bool
	}{
		{[]LinkConfig{dsl, lte}, 1, true}, {[]LinkConfig{lte, dsl}, 0, true}, {[]LinkConfig{dsl}, 0, false},
	} {
		m := New(Config{Mode: ModeBond, Links: []LinkConfig{dsl, lte}})
		m.mem.dirs[up].worst, m.mem.dirs[up].tried = 1, true
		m.Reconfigure(Config{Mode: ModeBond, Links: c.links})
		if dm := &m.mem.dirs[up]; dm.worst != c.worst || dm.tried != c.tried {
			t.Errorf("%d links: link %d on trial %v, want %d, %v", len(c.links), dm.worst, dm.tried, c.worst, c.tried)
		}
	}
}
