// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Billing months and days, by a clock that may be wrong.

const (
	// clockSet is the year from which a clock is believed; routers without a battery wake up in 1970.
	clockSet = 2020
	// periodSlack and daySlack absorb a changed time zone: the same midnight at another instant is no new month, no new day.
	periodSlack = 36 * time.Hour
	daySlack    = 12 * time.Hour
	// clockStep is by how much the time of day may move otherwise than the monotonic clock between two looks without having been set.
	clockStep = time.Minute
)

// turn begins a new month or day when the clock says so: one that is later than the one that is counted; or one that is earlier, as a clock that was
// ahead must not stop the calendar, if the clock has run into it. A clock that is set back, and right again, frees nothing.
func (s *step) turn(i int) {
	if s.wall.Year() < clockSet {
		return
	}
	l := &s.mem.links[i]
	u, runs := &l.usage, l.runs(s.wall, s.clock)
	l.turnMonth(s.wall, s.cfg.Links[i].Quota.BillingDay, runs)
	day := dayStart(s.wall)
	if u.Day.IsZero() {
		u.Day = day
	}
	switch ahead := day.Sub(u.Day); {
	case ahead > daySlack:
		u.Day, u.DayBytes, u.LastDay = day, 0, u.DayBytes
	case ahead < -daySlack && runs && day.Sub(dayStart(l.turnedAt)) > daySlack:
		u.Day, u.DayBytes = day, 0
	}
}

// turnMonth is turn's share of the month. runs: the clock was not set since the last look.
func (l *linkMemory) turnMonth(wall time.Time, billingDay int, runs bool) {
	u, period := &l.usage, periodStart(wall, billingDay)
	if u.Period.IsZero() {
		u.Period = period
	}
	if moved := !near(u.Period, periodStart(u.Period, billingDay)); moved && !wall.Before(u.Period) && wall.Before(u.Period.AddDate(0, 1, 0)) {
		u.Period, l.dirty = period, true // another billing day: how much was used since is not known, so that all of the month counts on
	}
	came := runs && period.Sub(periodStart(l.turnedAt, billingDay)) > periodSlack
	switch {
	case near(period, u.Period):
		u.Set = u.Set && !came
		return
	case period.Before(u.Period) && !(came && period.Sub(u.Last) > periodSlack):
		return
	case period.After(u.Period) && u.Set && !came:
		u.LastBytes += u.Bytes // the clock may come back from both
	case period.After(u.Period):
		u.Last, u.LastBytes = u.Period, u.Bytes
	}
	u.Period, u.Bytes, u.Set, l.dirty = period, 0, !came, true
}

// runs reports whether the time of day has moved as the machine's own since the calendar was looked at: it was not set.
func (l *linkMemory) runs(wall time.Time, clock time.Duration) bool {
	passed := wall.Round(0).Sub(l.turnedAt.Round(0))
	return !l.turnedAt.IsZero() && (passed-(clock-l.turnedClock)).Abs() < clockStep
}

// near reports whether two instants begin the same billing month.
func near(a, b time.Time) bool { return a.Sub(b).Abs() <= periodSlack }

// early reports whether an instant lies before the billing month that is counted: the clock is back in the one before.
func (u *Usage) early(wall time.Time, billingDay int) bool {
	return wall.Year() >= clockSet && u.Period.Sub(periodStart(wall, billingDay)) > periodSlack
}

// dayEarly is the same of the day.
func (u *Usage) dayEarly(wall time.Time) bool {
	return wall.Year() >= clockSet && u.Day.Sub(dayStart(wall)) > daySlack
}

// periodStart is the first instant of the billing month that t lies in. In a month without the billing day it is the last day.
func periodStart(t time.Time, billingDay int) time.Time {
	start := billingDate(t.Year(), t.Month(), billingDay, t.Location())
	if t.Before(start) {
		start = billingDate(t.Year(), t.Month()-1, billingDay, t.Location())
	}
	return start
}

// periodEnd is the first instant of the billing month after the one that begins at start.
func periodEnd(start time.Time, billingDay int) time.Time {
	end := billingDate(start.Year(), start.Month(), billingDay, start.Location())
	if !end.After(start) {
		end = billingDate(start.Year(), start.Month()+1, billingDay, start.Location())
	}
	return end
}

// billingDate is the billing day in a month; month may be 0 (December before) or 13.
func billingDate(year int, month time.Month, day int, loc *time.Location) time.Time {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, loc).Day()
	return time.Date(year, month, min(day, last), 0, 0, 0, 0, loc)
}

// dayStart is the midnight before t.
func dayStart(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}
