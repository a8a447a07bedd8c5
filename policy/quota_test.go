// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand"
	"strings"
	"testing"
	"time"
)

func date(y int, m time.Month, d, h int) time.Time { return time.Date(y, m, d, h, 0, 0, 0, time.UTC) }

func TestBillingMonth(t *testing.T) {
	tests := []struct {
		name       string
		now        time.Time
		day        int
		start, end time.Time
	}{
		{"first", date(2026, 3, 10, 12), 1, date(2026, 3, 1, 0), date(2026, 4, 1, 0)},
		{"before the day", date(2026, 3, 10, 12), 15, date(2026, 2, 15, 0), date(2026, 3, 15, 0)},
		{"on the day", date(2026, 3, 15, 0), 15, date(2026, 3, 15, 0), date(2026, 4, 15, 0)},
		{"31 in february", date(2026, 2, 28, 1), 31, date(2026, 2, 28, 0), date(2026, 3, 31, 0)},
		{"31 before the end of february", date(2026, 2, 27, 23), 31, date(2026, 1, 31, 0), date(2026, 2, 28, 0)},
		{"29 in a leap year", date(2028, 2, 29, 5), 29, date(2028, 2, 29, 0), date(2028, 3, 29, 0)},
		{"30 in april", date(2026, 4, 30, 5), 31, date(2026, 4, 30, 0), date(2026, 5, 31, 0)},
		{"over new year", date(2027, 1, 3, 0), 20, date(2026, 12, 20, 0), date(2027, 1, 20, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := periodStart(tt.now, tt.day)
			if !s.Equal(tt.start) {
				t.Errorf("start %v, want %v", s, tt.start)
			}
			if e := periodEnd(s, tt.day); !e.Equal(tt.end) {
				t.Errorf("end %v, want %v", e, tt.end)
			}
		})
	}
}

func TestWindows(t *testing.T) {
	night := Window{From: 22 * 60, To: 6 * 60}
	weekend := Window{Days: 1<<time.Saturday | 1<<time.Sunday, From: 0, To: 1440}
	fridayNight := Window{Days: 1 << time.Friday, From: 22 * 60, To: 6 * 60}
	tests := []struct {
		name string
		w    []Window
		at   time.Time // 10 March 2026 is a Tuesday
		open bool
	}{
		{"none", nil, date(2026, 3, 10, 12), true},
		{"night at noon", []Window{night}, date(2026, 3, 10, 12), false},
		{"night at 23", []Window{night}, date(2026, 3, 10, 23), true},
		{"night at 5", []Window{night}, date(2026, 3, 10, 5), true},
		{"night at 6", []Window{night}, date(2026, 3, 10, 6), false},
		{"weekend on tuesday", []Window{weekend}, date(2026, 3, 10, 12), false},
		{"weekend on sunday", []Window{weekend, night}, date(2026, 3, 15, 12), true},
		{"friday night, saturday morning", []Window{fridayNight}, date(2026, 3, 14, 5), true},
		{"friday night, friday morning", []Window{fridayNight}, date(2026, 3, 13, 5), false},
	}
	for _, tt := range tests {
		q := Quota{Windows: tt.w}
		if got := q.open(tt.at); got != tt.open {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.open)
		}
	}
}

// metered is a machine whose only working link has a quota.
func metered(q Quota) *Machine {
	return New(Config{Links: []LinkConfig{{Name: "dsl"}, {Name: "lte", Role: RoleOverflow, Quota: q}}})
}

// TestMonthWithPowerCuts uses LTE for all it may for three months while the power fails every few hours and the daemon restarts now
// and then. The true volume of a month never exceeds the limit by more than what is used between two writes, and not much is lost.
func TestMonthWithPowerCuts(t *testing.T) {
	const tick, rate = time.Minute, 400e3 / 8 * 60 // octets per tick at 400 kbit/s: the quota lasts 12 days
	limit := uint64(50e9)
	q := Quota{Limit: limit, BillingDay: 31}
	each := New(Config{Links: []LinkConfig{{Name: "x", Quota: q}}}).cfg.Links[0].Quota.PersistEach
	seeds := 2
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		r := rand.New(rand.NewSource(int64(seed)))
		m := metered(q)
		var file []Usage
		var counter, epoch uint64 = 0, 1
		wall := date(2026, 1, 31, 0)
		used, cuts, writes, months := uint64(0), 0, 0, 0
		period := periodStart(wall, 31)
		for wall.Before(date(2026, 4, 30, 0)) {
			if p := periodStart(wall, 31); !p.Equal(period) {
				if used > limit+each {
					t.Errorf("seed %d: %d octets in the month of %v, limit %d", seed, used, period, limit)
				}
				if least := limit - uint64(cuts+1)*each; used < least {
					t.Errorf("seed %d: only %d octets in the month of %v with %d power cuts, want %d", seed, used, period, cuts, least)
				}
				if writes > 2000 {
					t.Errorf("seed %d: %d writes in a month", seed, writes)
				}
				period, used, cuts, writes = p, 0, 0, 0
				months++
			}
			p := m.Step(Observation{Now: wall, Links: []LinkObs{{}, {Usable: true, UsedBytes: counter, UsedEpoch: epoch}}})
			if p.Persist {
				file = m.Usage(false)
				m.Persisted()
				writes++
			}
			if p.First == 1 {
				counter += rate
				used += rate
			}
			wall = wall.Add(tick)
			switch r.Intn(400) {
			case 0: // the power fails: the counter of the device is lost with the daemon's memory
				m = metered(q)
				m.Restore(file)
				counter, epoch = 0, epoch+1
				cuts++
			case 1: // only the daemon restarts
				m = metered(q)
				m.Restore(file)
			}
		}
		if months != 2 {
			t.Fatalf("%d months", months)
		}
	}
}

// carry makes a machine see LTE carry so much at an instant.
func carry(m *Machine, wall time.Time, counter uint64) Plan {
	return m.Step(Observation{Now: wall, Wall: wall, Links: []LinkObs{{}, {Usable: true, UsedBytes: counter, UsedEpoch: 7}}})
}

func TestClockSetBackAndForth(t *testing.T) {
	q := Quota{Limit: 100e6, BillingDay: 1}
	t.Run("not set at boot", func(t *testing.T) {
		m := metered(q)
		carry(m, date(1970, 1, 1, 0), 0)
		carry(m, date(1970, 1, 1, 1), 60e6)
		carry(m, date(2026, 3, 10, 0), 70e6)
		if st, _ := m.Quota(1, date(2026, 3, 10, 0)); st.Used != 70e6 || !st.Period.Equal(date(2026, 3, 1, 0)) {
			t.Errorf("%+v", st)
		}
	})
	t.Run("an old date at boot", func(t *testing.T) {
		m := metered(q)
		m.Restore([]Usage{{Link: "lte", Period: date(2026, 3, 1, 0), Bytes: 60e6, Last: date(2026, 2, 1, 0), LastBytes: 50e6, Epoch: 7, Clean: true}})
		if p := carry(m, date(2026, 2, 11, 0), 0); p.First != -1 {
			t.Errorf("back in a month of which half is used, with more than half used after: first %d", p.First)
		}
		if p := carry(m, date(2026, 3, 10, 0), 0); p.First != 1 {
			t.Errorf("the clock is right again: first %d", p.First)
		}
		if st, _ := m.Quota(1, date(2026, 3, 10, 0)); st.Used != 60e6 {
			t.Errorf("used %d", st.Used)
		}
	})
	t.Run("an old date in the first month", func(t *testing.T) {
		m := metered(q)
		m.Restore([]Usage{{Link: "lte", Period: date(2026, 3, 1, 0), Bytes: 60e6, Epoch: 7, Clean: true}})
		carry(m, date(2026, 2, 11, 0), 0)
		carry(m, date(2026, 3, 10, 0), 10e6)
		if st, _ := m.Quota(1, date(2026, 3, 10, 0)); st.Used != 70e6 {
			t.Errorf("used %d", st.Used)
		}
	})
	t.Run("forth and back", func(t *testing.T) {
		m := metered(q)
		carry(m, date(2026, 3, 10, 0), 0)
		carry(m, date(2026, 3, 10, 1), 80e6)
		carry(m, date(2038, 3, 10, 1), 85e6)
		if p := carry(m, date(2026, 3, 10, 2), 101e6); p.First != -1 {
			t.Errorf("101 of 100 MB used and first is %d", p.First)
		}
		if p := carry(m, date(2026, 4, 1, 2), 101e6); p.First != 1 {
			t.Errorf("a new month and first is %d: %s", p.First, p.Why)
		}
	})
	t.Run("another time zone", func(t *testing.T) {
		m := metered(q)
		carry(m, date(2026, 3, 10, 0), 0)
		carry(m, date(2026, 3, 10, 1), 80e6)
		carry(m, date(2026, 3, 10, 1).In(time.FixedZone("", -8*3600)), 80e6)
		if st, _ := m.Quota(1, date(2026, 3, 10, 1)); st.Used != 80e6 {
			t.Errorf("used %d", st.Used)
		}
	})
}

// clocked is LTE alone on a machine whose time of day may be set. It begins with what an earlier process has counted.
type clocked struct {
	*Machine
	now     time.Time // never set
	counter uint64
}

func clockedSince(q Quota, before ...Usage) *clocked {
	c := &clocked{Machine: metered(q), now: date(2000, 1, 1, 0)}
	c.Restore(before)
	return c
}

// at has LTE carry so much while time passes, after which the clock shows wall.
func (c *clocked) at(wall time.Time, passed time.Duration, octets uint64) (month, day uint64, usable bool) {
	c.now, c.counter = c.now.Add(passed), c.counter+octets
	p := c.Step(Observation{Now: c.now, Wall: wall, Links: []LinkObs{{}, {Usable: true, UsedBytes: c.counter, UsedEpoch: 7}}})
	st, _ := c.Quota(1, wall)
	return st.Used, st.Today, p.First == 1
}

// TestASetClockFreesNothing: whatever the clock shows meanwhile, when it is right again all counts that counted before.
func TestASetClockFreesNothing(t *testing.T) {
	const mb = 1e6
	right := date(2026, 4, 20, 12)
	q := Quota{Limit: 100 * mb, Daily: 80 * mb, BillingDay: 1}
	for name, tt := range map[string]struct {
		before Usage // as the file has it
		shown  []time.Time
	}{
		"a day back":             {Usage{}, []time.Time{date(2026, 4, 19, 12)}},
		"nine days back":         {Usage{}, []time.Time{date(2026, 4, 11, 12)}},
		"a month back":           {Usage{}, []time.Time{date(2026, 3, 20, 12)}},
		"back in steps":          {Usage{}, []time.Time{date(2026, 3, 20, 12), date(2026, 2, 20, 12)}},
		"forth in steps":         {Usage{}, []time.Time{date(2026, 2, 20, 12), date(2026, 3, 20, 12)}},
		"not set":                {Usage{}, []time.Time{date(1970, 1, 1, 0)}},
		"back, and nearly right": {Usage{}, []time.Time{date(2026, 2, 28, 12), date(2026, 4, 19, 12)}},
		"after months without use, back into them": {Usage{Last: date(2026, 1, 1, 0), LastBytes: 10 * mb},
			[]time.Time{date(2026, 2, 11, 12)}},
		"after months without use, through them": {Usage{Last: date(2026, 1, 1, 0), LastBytes: 10 * mb},
			[]time.Time{date(2026, 2, 11, 12), date(2026, 3, 11, 12)}},
	} {
		tt.before.Link, tt.before.Period, tt.before.Day, tt.before.Epoch, tt.before.Clean = "lte", date(2026, 4, 1, 0), date(2026, 4, 20, 0), 7, true
		tt.before.Bytes, tt.before.DayBytes = 90*mb, 70*mb
		for _, boots := range []bool{false, true} {
			c := clockedSince(q, tt.before)
			if !boots {
				c.at(right, 0, 0)
			}
			for _, wall := range tt.shown {
				c.at(wall, 2*time.Second, 0)
				if month, _, _ := c.at(wall.Add(time.Minute), time.Minute, mb); month < 90*mb {
					t.Errorf("%s (boots %v): %d MB count while the clock shows %v", name, boots, month/mb, wall)
				}
			}
			month, day, usable := c.at(right.Add(time.Hour), 2*time.Second, mb)
			if want := uint64(91+len(tt.shown)) * mb; month != want || day < 70*mb || !usable {
				t.Errorf("%s (boots %v): %d of %d MB count in the month when the clock is right again, %d of 70 in the day, usable %v", name, boots, month/mb, want/uint64(mb), day/mb, usable)
			}
			if _, day, _ := c.at(date(2026, 4, 21, 0), 11*time.Hour, 0); day != 0 {
				t.Errorf("%s (boots %v): %d MB count on the next day", name, boots, day/mb)
			}
			if month, _, _ := c.at(date(2026, 5, 1, 0), 10*24*time.Hour, 0); month != 0 {
				t.Errorf("%s (boots %v): %d MB count in the next month", name, boots, month/mb)
			}
		}
	}
}

// TestAClockThatWasAhead: what was used before counts when it is right again; and the next month and day begin for all that.
func TestAClockThatWasAhead(t *testing.T) {
	const mb = 1e6
	for name, shown := range map[string][]time.Time{
		"by a day":           {date(2026, 3, 11, 12)},
		"by years":           {date(2038, 1, 19, 3)},
		"by a month":         {date(2026, 4, 10, 12)},
		"by months in steps": {date(2026, 4, 10, 12), date(2026, 5, 10, 12)},
	} {
		c := clockedSince(Quota{Limit: 100 * mb, Daily: 99 * mb, BillingDay: 1})
		c.at(date(2026, 2, 20, 12), 0, 0)
		c.at(date(2026, 2, 20, 13), time.Hour, 99*mb)
		c.at(date(2026, 3, 10, 12), 18*24*time.Hour-time.Hour, 0)
		c.at(date(2026, 3, 10, 13), time.Hour, 95*mb)
		for _, wall := range shown {
			c.at(wall, 2*time.Second, mb)
		}
		if month, day, usable := c.at(date(2026, 3, 10, 14), time.Hour, mb); month < 96*mb || month >= 100*mb || !usable || len(shown) == 1 && day < 96*mb {
			t.Errorf("%s: %d MB count when the clock is right again, %d in the day, want 95 and what came since; usable %v", name, month/mb, day/mb, usable)
		}
		if _, _, usable := c.at(date(2026, 3, 10, 15), time.Hour, 5*mb); usable {
			t.Errorf("%s: usable with all of the quota used", name)
		}
		month, day, usable := c.at(date(2026, 5, 12, 15), 63*24*time.Hour, 0)
		if month > 10*mb || day != 0 || !usable {
			t.Errorf("%s: %d MB count two months later, %d in the day, usable %v", name, month/mb, day/mb, usable)
		}
	}
}

// TestAClockThatIsAheadAtEachBoot, until somebody tells it the time, must not add up the months for ever.
func TestAClockThatIsAheadAtEachBoot(t *testing.T) {
	q := Quota{Limit: 100e6, BillingDay: 1}
	var file []Usage
	for month := time.January; month <= time.December; month++ {
		c := clockedSince(q, file...)
		boot := date(2026, month, 10, 0)
		c.at(boot.AddDate(0, 1, 0), 0, 0)
		used, _, usable := c.at(boot.Add(time.Minute), 2*time.Second, 30e6)
		if !usable || used > 90e6 {
			t.Fatalf("%v: %d MB count, usable %v, of 30 a month", month, used/1e6, usable)
		}
		c.at(boot.AddDate(0, 1, -5), boot.AddDate(0, 1, -5).Sub(boot)-time.Minute, 0)
		file = c.Usage(true)
	}
}

// TestAnotherBillingDay: nobody knows how much of the month was used since that day, so that all of it counts on until the next one.
func TestAnotherBillingDay(t *testing.T) {
	for _, to := range []int{1, 10, 15, 20, 25, 31} {
		m := metered(Quota{Limit: 100e6, BillingDay: 1})
		m.Restore([]Usage{{Link: "lte", Period: date(2026, 3, 1, 0), Bytes: 70e6, Last: date(2026, 2, 1, 0), LastBytes: 99e6, Epoch: 7, Clean: true}})
		carry(m, date(2026, 3, 20, 0), 0)
		m.Reconfigure(Config{Links: []LinkConfig{{Name: "dsl"}, {Name: "lte", Role: RoleOverflow, Quota: Quota{Limit: 100e6, BillingDay: to}}}})
		now := date(2026, 3, 20, 1)
		carry(m, now, 5e6)
		if st, _ := m.Quota(1, now); st.Used != 75e6 || !near(st.Period, periodStart(now, to)) {
			t.Errorf("from 1 to %d: %d used since %v, want 75 MB", to, st.Used, st.Period)
		}
		end := periodEnd(periodStart(now, to), to)
		carry(m, end.Add(-time.Hour), 6e6)
		if st, _ := m.Quota(1, end); st.Used != 76e6 {
			t.Errorf("from 1 to %d: %d used before the month ends", to, st.Used)
		}
		carry(m, end, 6e6)
		if st, _ := m.Quota(1, end); st.Used != 0 {
			t.Errorf("from 1 to %d: %d used when the next month begins", to, st.Used)
		}
	}
	m := metered(Quota{Limit: 100e6, BillingDay: 15}) // changed while no daemon ran, for longer than the month
	m.Restore([]Usage{{Link: "lte", Period: date(2026, 3, 1, 0), Bytes: 70e6, Epoch: 7, Clean: true}})
	carry(m, date(2026, 4, 20, 0), 0)
	if st, _ := m.Quota(1, date(2026, 4, 20, 0)); st.Used != 0 {
		t.Errorf("%d used in a month that is over", st.Used)
	}
}

func TestLimits(t *testing.T) {
	q := Quota{Limit: 100e6, Soft: 80e6, Daily: 50e6, BillingDay: 1}
	m := metered(q)
	both := func(wall time.Time, counter uint64) Plan {
		return m.Step(Observation{Now: wall, Links: []LinkObs{{Usable: true, DownCap: 1e6, DownRate: 1e6}, {Usable: true, UsedBytes: counter, UsedEpoch: 7}}})
	}
	steps := []struct {
		at      time.Time
		counter uint64
		role    State
		why     string
	}{
		{date(2026, 3, 10, 0), 0, Active, "dsl is full: 1.0 of 1.0 Mbit/s down for 1.0 s, so lte takes the overflow"},
		{date(2026, 3, 10, 1), 40e6, Active, "dsl is full: 1.0 of 1.0 Mbit/s down"},
		{date(2026, 3, 10, 2), 50e6, Standby, "lte has used up its day: 50.0 of 50.0 MB"},
		{date(2026, 3, 10, 3), 50e6, Off, "lte has used up its day"},
		{date(2026, 3, 11, 0), 50e6, Active, "dsl is full"},
		{date(2026, 3, 11, 1), 85e6, Standby, "lte has used 85.0 of 100.0 MB, above the soft limit of 80.0 MB: only when nothing else works until 1 Apr"},
		{date(2026, 3, 11, 2), 101e6, Off, "lte has used up its quota: 101.0 of 100.0 MB, off until 1 Apr"},
		{date(2026, 4, 1, 0), 101e6, Active, "dsl is full"},
	}
	for _, s := range steps {
		both(s.at.Add(-time.Second), s.counter)
		p := both(s.at, s.counter)
		if l := p.Links[1]; s.role != Standby && l.Role != s.role || !strings.HasPrefix(l.Why, s.why) {
			t.Errorf("%v: %v (%s), want %v (%s)", s.at, l.Role, l.Why, s.role, s.why)
		}
	}
}

func TestForecast(t *testing.T) {
	from, to := date(2026, 3, 1, 0), date(2026, 3, 31, 0)
	if got := forecast(10e9, from, to, date(2026, 3, 11, 0)); got != 30e9 {
		t.Errorf("a third of the month: %d", got)
	}
	if got := forecast(1e9, from, to, date(2026, 3, 1, 1)); got != 30e9 {
		t.Errorf("the first hour counts as a day: %d", got)
	}
	if got := forecast(1e9, from, to, date(2026, 5, 1, 1)); got != 1e9 {
		t.Errorf("after the end: %d", got)
	}
}

// TestCountersOfLinksThatAreAway: a link without its device since the start, or not configured for a while, is no link that has used nothing.
func TestCountersOfLinksThatAreAway(t *testing.T) {
	q := Quota{Limit: 100e6, BillingDay: 1}
	dsl := LinkConfig{Name: "dsl", Role: RolePrimary, Quota: q}
	lte := LinkConfig{Name: "lte", Role: RoleOverflow, Quota: q}
	now := date(2026, 3, 10, 0)
	before := []Usage{
		{Link: "dsl", Period: date(2026, 3, 1, 0), Bytes: 10e6, Epoch: 7, Clean: true},
		{Link: "lte", Period: date(2026, 3, 1, 0), Bytes: 60e6, Counter: 60e6, Epoch: 7, Clean: true},
	}
	kept := func(m *Machine, when string) {
		t.Helper()
		for _, u := range m.Usage(false) {
			if u.Link == "lte" {
				if u.Bytes != 60e6 || !u.Clean {
					t.Errorf("%s: %+v", when, u)
				}
				return
			}
		}
		t.Errorf("%s: not among %+v", when, m.Usage(false))
	}
	away := []LinkObs{{Usable: true, UsedEpoch: 7}, {}}

	m := New(Config{Links: []LinkConfig{dsl, lte}})
	m.Restore(before)
	m.Step(Observation{Now: now, Links: away})
	kept(m, "no device")
	m.Reconfigure(Config{Links: []LinkConfig{dsl}})
	m.Step(Observation{Now: now.Add(time.Second), Links: away[:1]})
	kept(m, "not configured after a reload")

	m = New(Config{Links: []LinkConfig{dsl}})
	m.Restore(before)
	m.Step(Observation{Now: now, Links: away[:1]})
	kept(m, "not configured since the start")
	m.Reconfigure(Config{Links: []LinkConfig{dsl, lte}})
	m.Step(Observation{Now: now.Add(time.Second), Links: []LinkObs{away[0], {Usable: true, UsedBytes: 65e6, UsedEpoch: 7}}})
	if st, _ := m.Quota(1, now); st.Used != 65e6 {
		t.Errorf("configured again: %d used, want what it had and has carried since", st.Used)
	}
	if us := m.Usage(false); len(us) != 2 {
		t.Errorf("counters %+v", us)
	}
}

// TestAnotherDeviceByConfiguration has carried before, but not by this link; one that is made anew has carried by it alone.
func TestAnotherDeviceByConfiguration(t *testing.T) {
	m := metered(Quota{Limit: 1e12, BillingDay: 1})
	now := date(2026, 3, 10, 0)
	step := func(counter, epoch uint64) {
		now = now.Add(time.Second)
		m.Step(Observation{Now: now, Links: []LinkObs{{}, {Usable: true, UsedBytes: counter, UsedEpoch: epoch}}})
	}
	step(5e6, 1)
	step(7e6, 1)
	step(1e6, 3) // made anew
	c := m.cfg
	c.Links = append([]LinkConfig{}, c.Links...)
	c.Links[1].Line = "eth2"
	m.Reconfigure(c)
	step(300e9, 5)
	step(300e9+4e6, 5)
	if st, _ := m.Quota(1, now); st.Used != 7e6 {
		t.Errorf("%d used, want 2 MB, 1 MB and 4 MB", st.Used)
	}
}

// TestAnotherDeviceByItself: an interface may move to a device that has carried before, but not for this link, and back; a modem that is plugged in
// again has carried for it alone.
func TestAnotherDeviceByItself(t *testing.T) {
	m := metered(Quota{Limit: 1e12, BillingDay: 1})
	now := date(2026, 3, 10, 0)
	for i, x := range []struct{ counter, epoch, before, want uint64 }{
		{5e9, 1, 0, 0},
		{7e9, 1, 0, 2e9},
		{300e9 + 1e9, 3, 300e9, 3e9},
		{300e9 + 2e9, 3, 300e9, 4e9},
		{7e9 + 1e9, 1, 7e9 + 1e9, 4e9},
		{7e9 + 2e9, 1, 7e9 + 1e9, 5e9},
		{1e9, 5, 0, 6e9},
		{2e9, 5, 0, 7e9},
	} {
		now = now.Add(time.Second)
		m.Step(Observation{Now: now, Links: []LinkObs{{}, {Usable: true, UsedBytes: x.counter, UsedEpoch: x.epoch, UsedBefore: x.before}}})
		if st, _ := m.Quota(1, now); st.Used != x.want {
			t.Errorf("reading %d: %.1f GB used, want %.1f", i, float64(st.Used)/1e9, float64(x.want)/1e9)
		}
	}
}

// TestCountersOf32Bits: some drivers count so on 32-bit routers. The sum of both directions falls each time that one wraps.
func TestCountersOf32Bits(t *testing.T) {
	m := metered(Quota{Limit: 1e12, BillingDay: 1})
	now := date(2026, 3, 10, 0)
	var rx, tx uint64
	for range 2000 {
		rx, tx, now = rx+50e6, tx+5e6, now.Add(5*time.Second)
		m.Step(Observation{Now: now, Links: []LinkObs{{}, {Usable: true, UsedBytes: uint64(uint32(rx)) + uint64(uint32(tx)), UsedEpoch: 1}}})
	}
	want := rx + tx - 55e6 // what was there at the start is nobody's
	if st, _ := m.Quota(1, now); st.Used != want {
		t.Errorf("%.1f GB charged, want %.1f", float64(st.Used)/1e9, float64(want)/1e9)
	}
}

// TestAQuotaThatIsTakenAwayAndGivenBack: what passed without one, for months maybe, is not of this month.
func TestAQuotaThatIsTakenAwayAndGivenBack(t *testing.T) {
	with, without := Config{}, Config{}
	with.Links = []LinkConfig{{Name: "dsl"}, {Name: "lte", Role: RoleOverflow, Quota: Quota{Limit: 100e6, BillingDay: 15}}}
	without.Links = []LinkConfig{{Name: "dsl"}, {Name: "lte", Role: RoleOverflow}}
	m := New(with)
	carry(m, date(2026, 1, 10, 0), 0)
	carry(m, date(2026, 1, 10, 1), 40e6)
	m.Reconfigure(without)
	carry(m, date(2026, 1, 10, 2), 50e6)
	m.Reconfigure(with)
	carry(m, date(2026, 1, 10, 3), 60e6)
	if st, _ := m.Quota(1, date(2026, 1, 10, 3)); st.Used != 60e6 {
		t.Errorf("given back within the month: %d used", st.Used)
	}
	m.Reconfigure(without)
	for d := range 120 {
		carry(m, date(2026, 1, 11+d, 0), 60e6+uint64(d)*100e6)
	}
	m.Reconfigure(with)
	p := carry(m, date(2026, 6, 1, 0), 60e6+119*100e6+5e6)
	if st, _ := m.Quota(1, date(2026, 6, 1, 0)); st.Used != 5e6 || p.First != 1 {
		t.Errorf("given back months later: %d used, first %d", st.Used, p.First)
	}
}

// TestHoursAloneAreNoQuota: flash is written for volume that is limited, and nobody is told of a quota of nothing.
func TestHoursAloneAreNoQuota(t *testing.T) {
	day := Window{From: 7 * 60, To: 23 * 60}
	for _, tt := range []struct {
		q      Quota
		quota  bool
		writes int // of 5 GB
	}{
		{Quota{Windows: []Window{day}}, false, 0},
		{Quota{Windows: []Window{day}, Daily: 50e9}, true, 40},
		{Quota{Limit: 50e9, Daily: 6e9}, true, 40},
	} {
		m, writes := metered(tt.q), 0
		now := date(2026, 3, 10, 8)
		for i := range 5000 {
			now = now.Add(time.Second)
			if carry(m, now, uint64(i)*1e6).Persist {
				m.Persisted()
				writes++
			}
		}
		if _, ok := m.Quota(1, now); ok != tt.quota || writes < tt.writes || writes > tt.writes+2 {
			t.Errorf("%+v: a quota %v, %d writes, want %v, %d", tt.q, ok, writes, tt.quota, tt.writes)
		}
		full := []LinkObs{{Usable: true, DownCap: 1e6, DownRate: 1e6}, {Usable: true, UsedBytes: 5e9, UsedEpoch: 7}}
		m.Step(Observation{Now: date(2026, 3, 10, 22), Links: full})
		m.Step(Observation{Now: date(2026, 3, 10, 23).Add(-time.Second), Links: full})
		p := m.Step(Observation{Now: date(2026, 3, 10, 23), Links: full})
		if closed := strings.Contains(p.Links[1].Why, "outside its hours"); closed != (len(tt.q.Windows) > 0) {
			t.Errorf("%+v: at 23:00: %s", tt.q, p.Links[1].Why)
		}
	}
}
