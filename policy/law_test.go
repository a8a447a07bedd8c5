// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"math"
	"math/rand"
	"reflect"
	"slices"
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

// world is some first observation of n links.
func (d *dice) world(n int) Observation {
	o := Observation{Now: start, Links: make([]LinkObs, n)}
	for i := range o.Links {
		o.Links[i] = LinkObs{Usable: d.next(4) > 0, DownCap: float64(d.next(3)) * 10e6, RTT: 20 * time.Millisecond, MinRTT: 20 * time.Millisecond}
	}
	return o
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
		c := capacityOf(m, o, i, down)
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
	o := d.world(len(cfg.Links))
	var p Plan
	var law dwell
	for len(d.b) > 0 {
		d.observe(&o, m)
		before := p
		twin.cfg = m.cfg
		twin.SetMemory(m.Memory())
		p = m.Step(o)
		checkLaws(t, m, o, before, p)
		law.check(t, m, o, p)
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

// TestDwell: however the load jumps, no link changes twice within its dwell time.
func TestDwell(t *testing.T) {
	dsl, lte := LinkConfig{Name: "dsl", DownBit: 20e6, UpBit: 5e6}, LinkConfig{Name: "lte", Role: RoleOverflow, DownBit: 40e6, UpBit: 20e6}
	lines := [][]LinkConfig{
		{dsl, {Name: "lte", Role: RoleOverflow}},
		{dsl, lte, {Name: "dsl2", DownBit: 8e6, UpBit: 2e6}, {Name: "lte2", Role: RoleOverflow, DownBit: 10e6, UpBit: 5e6}},
		{{Name: "dsl", DownBit: 1e6, UpBit: 2e5}, lte}, // thin
	}
	seeds := 4
	if testing.Short() {
		seeds = 2
	}
	for mode := range ModePrimaryOnly + 1 {
		for n, links := range lines {
			changes := 0
			for seed := range seeds {
				changes += playLoad(t, rand.New(rand.NewSource(int64(seed))), Config{Mode: mode, Links: links, NoGuard: seed%2 == 0})
			}
			if t.Logf("mode %v, lines %d: %d changes", mode, n, changes); changes < 5*seeds && (mode == ModeOverflow || mode == ModeSmallestDelay) {
				t.Errorf("mode %v, lines %d: only %d changes, so the law says little", mode, n, changes)
			}
		}
	}
}

// playLoad lets the load of links that all work jump for ten minutes, in steps of 50 ms, and counts the changes.
func playLoad(t *testing.T, r *rand.Rand, cfg Config) (changes int) {
	m, law := New(cfg), dwell{}
	o := Observation{Now: start, Links: make([]LinkObs, len(cfg.Links))}
	left := 0
	for range 20 * 60 * 10 {
		if left--; left < 0 {
			left = r.Intn([]int{10, 400}[r.Intn(2)])
			share := []float64{r.Float64(), 1, 0.01}[r.Intn(3)]
			for i := range o.Links {
				c := &cfg.Links[i]
				o.Links[i] = LinkObs{
					Usable: true, DownRate: share * cmp.Or(c.DownBit, 20e6), UpRate: share * cmp.Or(c.UpBit, 5e6), DownQueue: r.Intn(2) == 0, UpQueue: r.Intn(2) == 0,
					RTT: time.Duration(20+r.Intn(200)) * time.Millisecond, MinRTT: 20 * time.Millisecond,
				}
			}
		}
		o.Now = o.Now.Add(50 * time.Millisecond)
		p := m.Step(o)
		law.check(t, m, o, p)
		changes += len(p.Changed)
	}
	return changes
}

// dwell holds plans against the law that load alone changes no link twice within its dwell time, each direction apart. It says nothing of the turns that a
// link takes while it carries (LinkPlan.Resting), nor of what becomes of one that has ceased to: it empties, goes off, and the other direction may want it
// at any time.
type dwell struct {
	mode    Mode
	fates   [MaxLinks]fate
	carries [MaxLinks][2]bool
	changed [MaxLinks][2]time.Duration // when load alone did it last; 0: not since the fates changed
}

// fate is what changes links at once: failure and return, a limit, a role, the guard; in mode bond also that a link is known to add next to nothing.
type fate struct {
	usable, trusted, suspended, little bool
	limit                              cause
	role                               Role
}

func (w *dwell) check(t *testing.T, m *Machine, o Observation, p Plan) {
	t.Helper()
	was, clock := *w, m.mem.clock
	w.mode = m.cfg.Mode
	for i, lp := range p.Links {
		l := &m.mem.links[i]
		role, _ := m.Role(i)
		w.fates[i] = fate{l.usable, l.trusted, l.suspension.until > clock, w.mode == ModeBond && l.cause == causeLittle, l.limit, role}
		w.carries[i] = [2]bool{lp.Down, lp.Up}
	}
	for i := range p.Links {
		for d, carries := range w.carries[i] {
			at := &w.changed[i][d]
			switch {
			case w.fates != was.fates || w.mode != was.mode:
				*at = 0
			case carries == was.carries[i][d]:
			case *at > 0 && clock-*at < dwellTime(m, o, p, i, d, carries):
				t.Fatalf("mode %v: link %d, direction %d: carries %v %v after it changed before, by load alone: %s", w.mode, i, d, carries, clock-*at, p.Links[i].Why)
			default:
				*at = clock
			}
		}
	}
}

// dwellTime is how long link i had to stay as it was in direction d before load alone makes it carry, or cease to; for ever in modes that do not look at the load.
func dwellTime(m *Machine, o Observation, p Plan, i, d int, carries bool) time.Duration {
	switch {
	case m.cfg.Mode == ModeSmallestDelay:
		return swifterFor
	case m.cfg.Mode != ModeOverflow:
		return math.MaxInt64
	case !carries:
		return m.cfg.OverflowLeaveFor
	}
	leaders, known := 0.0, !m.cfg.NoGuard
	for j, l := range p.Links {
		if l.Primary {
			c := capacityOf(m, o, j, d)
			leaders += c
			known = known && c > 0
		}
	}
	if known && leaders < littleShare*capacityOf(m, o, i, d) { // thin
		return m.cfg.OverflowEnterFor / thinSooner
	}
	return m.cfg.OverflowEnterFor
}

// capacityOf is what a link can carry as far as is known.
func capacityOf(m *Machine, o Observation, i, d int) float64 {
	if d == down {
		return cmp.Or(m.cfg.Links[i].DownBit, o.Links[i].DownCap)
	}
	return cmp.Or(m.cfg.Links[i].UpBit, o.Links[i].UpCap)
}

// TestOrderOfLinks: the order of the links is that of preference among links of a role (Config.Links) and says nothing else. So links of unlike roles may
// stand in any order, and so may primaries, whatever they can carry, but for which of them is first. Where one link is taken after the other (overflow,
// backup), or one is chosen (modes bond and smallest-delay, in which overflow links are primaries), the order decides between them, and is kept.
func TestOrderOfLinks(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 25
	}
	for seed := range n {
		r := rand.New(rand.NewSource(int64(seed)))
		b := make([]byte, 200+r.Intn(4000))
		r.Read(b)
		playOrders(t, r, &dice{b})
	}
}

// playOrders runs two machines that differ in the order of the links. One is told another order now and then, which must not disturb it.
func playOrders(t *testing.T, r *rand.Rand, d *dice) {
	cfg := d.config()
	order := shuffled(r, cfg)
	m, other, idle := New(cfg), New(inOrder(cfg, order)), New(cfg)
	o := d.world(len(cfg.Links))
	for len(d.b) > 0 {
		d.observe(&o, idle) // its roles would move links from one kind to another
		switch name := cfg.Links[r.Intn(len(cfg.Links))].Name; r.Intn(100) {
		case 0:
			order = shuffled(r, cfg)
			other.Reconfigure(inOrder(cfg, order))
		case 1, 2:
			_, _ = m.Set(name, RoleOff), other.Set(name, RoleOff)
		case 3, 4, 5:
			_, _ = m.Clear(name), other.Clear(name)
		}
		q := o
		q.Links = make([]LinkObs, len(order))
		for j, i := range order {
			q.Links[j] = o.Links[i]
		}
		checkOrder(t, cfg, order, m.Step(o), other.Step(q))
	}
}

// anyPrimary reports whether a mode lets all primaries carry alike.
func anyPrimary(m Mode) bool { return m != ModeBond && m != ModeSmallestDelay }

// shuffled is another order of the links: the places that they have in cfg. Links of a kind of which the order chooses keep theirs.
func shuffled(r *rand.Rand, cfg Config) []int {
	order := r.Perm(len(cfg.Links))
	s := step{Machine: New(cfg)}
	for tier := range int(RoleOff) {
		var places, links []int
		for j, i := range order {
			if s.tierOf(cfg.Links[i].Role) == tier {
				places, links = append(places, j), append(links, i)
			}
		}
		if tier == int(RolePrimary) && anyPrimary(cfg.Mode) {
			continue
		}
		slices.Sort(links)
		for n, j := range places {
			order[j] = links[n]
		}
	}
	return order
}

// inOrder is cfg with its links in another order.
func inOrder(cfg Config, order []int) Config {
	links := make([]LinkConfig, len(order))
	for j, i := range order {
		links[j] = cfg.Links[i]
	}
	cfg.Links = links
	return cfg
}

// checkOrder compares two plans of one world; q has the links in another order.
func checkOrder(t *testing.T, cfg Config, order []int, p, q Plan) {
	t.Helper()
	alike := func(i int) bool { return anyPrimary(cfg.Mode) && cfg.Links[i].Role == RolePrimary }
	for j, i := range order {
		a, b := p.Links[i], q.Links[j]
		a.Why, b.Why = "", "" // they list links in their order
		if alike(i) {
			a.Role, b.Role = min(a.Role, Active), min(b.Role, Active)
			a.Since, b.Since = time.Time{}, time.Time{}
		}
		if a != b {
			t.Fatalf("mode %v: link %s is\n%+v\nand in the order %v\n%+v", cfg.Mode, cfg.Links[i].Name, p.Links[i], order, q.Links[j])
		}
	}
	first := -1
	if q.First >= 0 {
		first = order[q.First]
	}
	if first != p.First && (first < 0 || p.First < 0 || !alike(first) || !alike(p.First)) {
		t.Fatalf("mode %v: link %d is first, and %d in the order %v", cfg.Mode, p.First, first, order)
	}
	if p.OverflowDown != q.OverflowDown || p.OverflowUp != q.OverflowUp || p.Persist != q.Persist {
		t.Fatalf("mode %v:\n%+v\nand in the order %v\n%+v", cfg.Mode, p, order, q)
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
