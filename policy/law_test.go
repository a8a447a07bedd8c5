// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand"
	"reflect"
	"testing"
	"time"
)

// start is when the tests begin.
var start = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// dice turns bytes into choices; when they run out every choice is 0.
type dice struct{ b []byte }

func (d *dice) next(n int) int {
	if len(d.b) == 0 {
		return 0
	}
	v := int(d.b[0])
	d.b = d.b[1:]
	return v % n
}

// config is some configuration of 1 to 8 links.
func (d *dice) config() Config {
	c := Config{Mode: Mode(d.next(5)), Standby: StandbyMode(d.next(3)), NoGuard: d.next(4) == 0}
	for i := range 1 + d.next(8) {
		c.Links = append(c.Links, LinkConfig{
			Name: string(rune('a' + i)), Role: Role(d.next(3)), Weight: float64(d.next(3)), DownBit: float64(d.next(3)) * 10e6,
			Quota: Quota{Soft: uint64(d.next(2)) * 200e6, Daily: uint64(d.next(2)) * 50e6},
		})
	}
	return c
}

// observe changes one link of the world, or only lets time pass, and may set a role.
func (d *dice) observe(o *Observation, m *Machine) {
	steps := []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second, 20 * time.Second, 0, -time.Hour}
	o.Now = o.Now.Add(steps[d.next(len(steps))])
	l := &o.Links[d.next(len(o.Links))]
	rate := float64(d.next(26)) * 1e6
	l.UsedBytes += uint64(rate)
	switch d.next(14) {
	case 0:
		l.Usable = !l.Usable
	case 1:
		l.Dead = !l.Dead
	case 2, 3:
		l.DownRate = rate
	case 4, 5:
		l.UpRate = rate
	case 6:
		l.DownQueue = !l.DownQueue
	case 7:
		l.UpQueue = !l.UpQueue
	case 8:
		l.DownCap, l.UpCap = rate, rate/4
	case 9:
		l.RTT, l.MinRTT = time.Duration(rate/2e4)*time.Millisecond, time.Duration(d.next(200))*time.Millisecond
	case 10:
		l.Loss = float64(d.next(100)) / 100
	case 11:
		name := string(rune('a' + d.next(len(o.Links))))
		if d.next(2) == 0 {
			_ = m.Set(name, Role(d.next(4)))
		} else {
			_ = m.Clear(name)
		}
	case 12:
		cfg := m.cfg
		cfg.Links = append([]LinkConfig(nil), cfg.Links...)
		cfg.Mode = Mode(d.next(5))
		cfg.Links[d.next(len(cfg.Links))].Role = Role(d.next(3))
		m.Reconfigure(cfg)
	case 13:
		l.Astray = []string{"no concentrator there", ""}[d.next(2)]
	}
}

// checkLaws holds one plan against what is observed.
func checkLaws(t *testing.T, m *Machine, o Observation, before, p Plan) {
	t.Helper()
	firsts, canCarry := 0, false
	for i, l := range p.Links {
		obs := o.Links[i]
		role, _ := m.Role(i)
		works := obs.Usable && !obs.Dead && role != RoleOff && (m.cfg.Mode != ModePrimaryOnly || role == RolePrimary)
		canCarry = canCarry || works
		if !works && (l.Role != Off || l.Down || l.Up || l.Available || l.Weight != 0) {
			t.Fatalf("link %d can't carry and is %+v", i, l)
		}
		if l.Why == "" {
			t.Fatalf("link %d: no reason for %v", i, l.Role)
		}
		if (l.Role >= Active) != (l.Down || l.Up) {
			t.Fatalf("link %d is %v and carries down %v up %v", i, l.Role, l.Down, l.Up)
		}
		if l.Role == First {
			firsts++
			if p.First != i {
				t.Fatalf("first is %d, and link %d is %v", p.First, i, l.Role)
			}
		}
	}
	if canCarry != (p.First >= 0) || canCarry != (firsts == 1) {
		t.Fatalf("links can carry: %v; first %d, %d links are first", canCarry, p.First, firsts)
	}
	if p.Why == "" {
		t.Fatal("the plan has no reason")
	}
	if before.Links != nil {
		checkEntry(t, m, o, before, p)
	}
	for _, c := range []Class{Interactive, Bulk, Pinned, Bonded, Unmetered} {
		for n, i := range p.Allowed(c) {
			if !o.Links[i].Usable || o.Links[i].Dead {
				t.Fatalf("class %d may use link %d, which does not work", c, i)
			}
			if n > 0 && i == p.First {
				t.Fatalf("class %d does not begin on the first link", c)
			}
		}
	}
	for i := range p.Links {
		if l := &p.Links[i]; l.Weight > 0 && (l.Role < Active || !l.Primary || l.Resting) {
			t.Fatalf("link %d is %v and has the weight %v", i, l.Role, l.Weight)
		}
	}
}

// checkEntry: overflow never begins while all primaries have known capacities and carry less than queueShare of them.
func checkEntry(t *testing.T, m *Machine, o Observation, before, p Plan) {
	t.Helper()
	if p.OverflowDown == before.OverflowDown || !p.OverflowDown {
		return
	}
	rate, capacity, known := 0.0, 0.0, true
	for i, l := range p.Links {
		c := o.Links[i].DownCap
		if m.cfg.Links[i].DownBit > 0 {
			c = m.cfg.Links[i].DownBit
		}
		if l.Primary {
			rate += o.Links[i].DownRate
			capacity += c
			known = known && c > 0
		} else if l.Down && before.Links[i].Primary {
			return // it stood in for the primaries and carries on
		}
	}
	if known && rate < queueShare*capacity {
		t.Fatalf("overflow at %.1f of %.1f Mbit/s: %s", rate/1e6, capacity/1e6, p.Why)
	}
}

// play runs a sequence of observations against the laws.
func play(t *testing.T, data []byte) {
	d := &dice{data}
	cfg := d.config()
	m, twin := New(cfg), New(cfg)
	o := Observation{Now: start, Links: make([]LinkObs, len(cfg.Links))}
	for i := range o.Links {
		o.Links[i] = LinkObs{Usable: d.next(4) > 0, DownCap: float64(d.next(3)) * 10e6, RTT: 20 * time.Millisecond, MinRTT: 20 * time.Millisecond}
	}
	var p Plan
	for len(d.b) > 0 {
		d.observe(&o, m)
		before := p
		twin.cfg = m.cfg
		twin.SetMemory(m.Memory())
		p = m.Step(o)
		checkLaws(t, m, o, before, p)
		if q := twin.Step(o); !reflect.DeepEqual(p, q) {
			t.Fatalf("the same memory and observation gave\n%+v\nand\n%+v", p, q)
		}
	}
	cfg = m.cfg
	checkForgets(t, m, cfg, o)
}

// checkForgets: when all is well for long enough, what was does not matter any more.
func checkForgets(t *testing.T, m *Machine, cfg Config, o Observation) {
	t.Helper()
	for i := range o.Links {
		o.Links[i] = LinkObs{Usable: true, DownRate: 1e5, UpRate: 1e5, DownCap: 10e6, UpCap: 10e6, RTT: 20 * time.Millisecond, MinRTT: 20 * time.Millisecond}
		_ = m.Clear(cfg.Links[i].Name)
		cfg.Links[i].Quota = Quota{} // a quota may well remember
	}
	m.Reconfigure(cfg)
	fresh := New(cfg)
	var p, q Plan
	for range 300 {
		o.Now = o.Now.Add(5 * time.Second)
		p, q = m.Step(o), fresh.Step(o)
	}
	if cfg.Mode == ModeSmallestDelay {
		return // the first of equally fast links stays first
	}
	for i := range p.Links {
		if p.Links[i].Role != q.Links[i].Role {
			t.Fatalf("after 25 calm minutes link %d is %v (%s), and %v (%s) without a past", i, p.Links[i].Role, p.Links[i].Why, q.Links[i].Role, q.Links[i].Why)
		}
	}
}

// FuzzLaws turns bytes into worlds.
func FuzzLaws(f *testing.F) {
	r := rand.New(rand.NewSource(1))
	for n := range 24 {
		b := make([]byte, 100*(n+1))
		r.Read(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			t.Skip()
		}
		play(t, data)
	})
}

// TestLaws plays random worlds; the fuzzer goes on where it ends.
func TestLaws(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 25
	}
	for seed := range n {
		r := rand.New(rand.NewSource(int64(seed)))
		b := make([]byte, 200+r.Intn(4000))
		r.Read(b)
		play(t, b)
	}
}

// TestCalm: however the load jumps, no link changes more often than once a second on average, as long as no link fails.
func TestCalm(t *testing.T) {
	for seed := range 8 {
		r := rand.New(rand.NewSource(int64(seed)))
		m := New(Config{Links: []LinkConfig{{Name: "dsl", DownBit: 20e6, UpBit: 5e6}, {Name: "lte", Role: RoleOverflow}}})
		o := Observation{Now: start, Links: []LinkObs{{Usable: true}, {Usable: true}}}
		changes, hold := 0, 1+r.Intn(100)
		for n := range 20 * 60 * 10 { // ten minutes in steps of 50 ms
			o.Now = o.Now.Add(50 * time.Millisecond)
			if n%hold == 0 {
				hold = 1 + r.Intn(200)
				o.Links[0].DownRate, o.Links[0].UpRate = r.Float64()*20e6, r.Float64()*5e6
				o.Links[0].DownQueue, o.Links[0].UpQueue = r.Intn(2) == 0, r.Intn(2) == 0
				o.Links[1].DownRate = r.Float64() * 20e6
			}
			changes += len(m.Step(o).Changed)
		}
		if changes > 10*60 {
			t.Errorf("seed %d: %d changes in ten minutes", seed, changes)
		}
	}
}

// TestTimeStandsStill: without passing time nothing returns and nothing overflows, while failures act.
func TestTimeStandsStill(t *testing.T) {
	m := New(Config{Links: []LinkConfig{{Name: "dsl", DownBit: 20e6}, {Name: "lte", Role: RoleOverflow}}})
	o := Observation{Now: start, Links: []LinkObs{{Usable: true, DownRate: 20e6, DownQueue: true}, {Usable: true}}}
	for n := range 1000 {
		o.Now = o.Now.Add(-time.Duration(n%2) * time.Hour)
		if p := m.Step(o); p.First != 0 || p.Overflow {
			t.Fatalf("step %d: %+v", n, p)
		}
	}
	o.Links[0].Usable = false
	if p := m.Step(o); p.First != 1 {
		t.Fatalf("dsl failed and first is %d", p.First)
	}
	o.Links[0].Usable = true
	for range 1000 {
		if p := m.Step(o); p.First != 1 {
			t.Fatal("dsl is first again in no time")
		}
	}
}

// TestStepIsCheap counts allocations: the plan's list of links, and nothing else while nothing changes. Of many steps the quickest tells what one
// takes, whatever else the machine does.
func TestStepIsCheap(t *testing.T) {
	m, o := eight()
	m.Step(o)
	if n := testing.AllocsPerRun(100, func() { o.Now = o.Now.Add(50 * time.Millisecond); m.Step(o) }); n > 1 {
		t.Errorf("a step allocates %v times", n)
	}
	if testing.Short() {
		return // perhaps with the race detector, or on a machine that is emulated
	}
	quickest := time.Hour
	for range 1000 {
		o.Now = o.Now.Add(50 * time.Millisecond)
		begin := time.Now()
		m.Step(o)
		quickest = min(quickest, time.Since(begin))
	}
	if quickest >= 100*time.Microsecond {
		t.Errorf("a step with eight links takes %v, want less than 100 us", quickest)
	}
}

// eight is a machine with eight busy links.
func eight() (*Machine, Observation) {
	var c Config
	o := Observation{Now: start}
	for i := range 8 {
		role := RolePrimary
		if i >= 3 {
			role = RoleOverflow
		}
		c.Links = append(c.Links, LinkConfig{Name: string(rune('a' + i)), Role: role, Quota: Quota{Limit: 1 << 40}})
		o.Links = append(o.Links, LinkObs{
			Usable: true, DownRate: 15e6, UpRate: 1e6, DownCap: 20e6, UpCap: 5e6, RTT: 30 * time.Millisecond, MinRTT: 20 * time.Millisecond,
		})
	}
	return New(c), o
}

// BenchmarkStep is one step with eight busy links while nothing changes.
func BenchmarkStep(b *testing.B) {
	m, o := eight()
	b.ReportAllocs()
	for b.Loop() {
		o.Now = o.Now.Add(50 * time.Millisecond)
		m.Step(o)
	}
}

// BenchmarkStepChanging is one step with eight links of which one fails or returns each time: the sentences are written anew.
func BenchmarkStepChanging(b *testing.B) {
	m, o := eight()
	b.ReportAllocs()
	for b.Loop() {
		o.Now = o.Now.Add(50 * time.Millisecond)
		o.Links[0].Usable = !o.Links[0].Usable
		m.Step(o)
	}
}
