// SPDX-License-Identifier: Apache-2.0

package kernel

import "time"

// Window is when a rule holds, in local time; the zero value: always. The kernel counts days and hours in UTC and knows
// no summer time, so the windows are judged here and the table changes at their edges.
type Window struct {
	Days     [7]bool       // by time.Weekday, of the window's beginning; none: every day
	From, To time.Duration // since midnight by the clock on the wall; To <= From: until that hour of the next day; both 0: the whole day
}

// Holds tells whether now lies in the window: From included, To excluded.
func (w Window) Holds(now time.Time) bool {
	y, m, d := now.Date()
	for _, day := range []int{d - 1, d} { // a window may have begun yesterday
		from, to := w.edges(y, m, day, now.Location())
		if !w.on(noon(y, m, day, now.Location()).Weekday()) {
			continue
		}
		if !now.Before(from) && now.Before(to) {
			return true
		}
	}
	return false
}

// Next is the first edge of the window after now; the zero time: none.
func (w Window) Next(now time.Time) time.Time {
	if w == (Window{}) {
		return time.Time{}
	}
	y, m, d := now.Date()
	var next time.Time
	for day := d - 1; day <= d+7; day++ {
		from, to := w.edges(y, m, day, now.Location())
		if !w.on(noon(y, m, day, now.Location()).Weekday()) {
			continue
		}
		for _, edge := range []time.Time{from, to} {
			if edge.After(now) && (next.IsZero() || edge.Before(next)) {
				next = edge
			}
		}
	}
	return next
}

func (w Window) on(day time.Weekday) bool { return w.Days == [7]bool{} || w.Days[day] }

// noon is of every day, as midnight is not: in some places summer time begins then.
func noon(y int, m time.Month, d int, loc *time.Location) time.Time {
	return time.Date(y, m, d, 12, 0, 0, 0, loc)
}

// edges are those of the window that begins on this day: wall clock, whatever summer time does in between.
func (w Window) edges(y int, m time.Month, d int, loc *time.Location) (from, to time.Time) {
	at := func(d int, t time.Duration) time.Time {
		if t >= 24*time.Hour {
			d, t = d+1, t-24*time.Hour
		}
		e := time.Date(y, m, d, int(t/time.Hour), int(t/time.Minute)%60, int(t/time.Second)%60, 0, loc)
		if day := noon(y, m, d, loc); e.Day() != day.Day() { // a time that is not, told as one before
			_, before := e.Zone()
			_, after := day.Zone()
			e = e.Add(time.Duration(after-before) * time.Second)
		}
		return e
	}
	end := d
	if w.To <= w.From {
		end++
	}
	return at(d, w.From), at(end, w.To)
}

// At is the table without the rules whose window does not hold at now. Their domain sets stay.
func (t Table) At(now time.Time) Table {
	var rules []TableRule
	for _, r := range t.Rules {
		if r.Window.Holds(now) {
			rules = append(rules, r)
		} else if r.DomainSet != "" {
			t.Sets = append(t.Sets[:len(t.Sets):len(t.Sets)], r.DomainSet)
		}
	}
	t.Rules = rules
	return t
}

// NextChange is when At's answer may change next; the zero time: never.
func (t Table) NextChange(now time.Time) time.Time {
	var next time.Time
	for _, r := range t.Rules {
		if n := r.Window.Next(now); !n.IsZero() && (next.IsZero() || n.Before(next)) {
			next = n
		}
	}
	return next
}
