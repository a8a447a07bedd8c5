// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Usage is the counter of one link's quota: all that must survive a restart. Its fields are stable.
type Usage struct {
	Link      string    `json:"link"`
	Period    time.Time `json:"period"`          // first instant of the billing month; zero: the clock was never set
	Bytes     uint64    `json:"bytes"`           // used in it
	Day       time.Time `json:"day"`             // first instant of the day
	DayBytes  uint64    `json:"day_bytes"`       // used on it
	LastDay   uint64    `json:"last_day_bytes"`  // used on the day before, should the clock be set back
	Last      time.Time `json:"last"`            // the billing month before, should the clock be set back into it
	LastBytes uint64    `json:"last_bytes"`      // used in it
	Set       bool      `json:"set,omitempty"`   // Period was begun by a clock that was set, or while no daemon ran
	Counter   uint64    `json:"counter"`         // LinkObs.UsedBytes at that time
	Epoch     uint64    `json:"epoch"`           // LinkObs.UsedEpoch at that time
	Clean     bool      `json:"clean,omitempty"` // an orderly stop: nothing was used since
}

// QuotaStatus is a quota as people want to see it.
type QuotaStatus struct {
	Usage
	Used               uint64 // octets that count now: Bytes, and LastBytes while the clock is back in the month before
	Today              uint64 // the same of the day
	Limit, Soft, Daily uint64
	End                time.Time // the next billing day
	Forecast           uint64    // octets used at End if it goes on like this
}

// persistAtLeast writes what little was used, so that it is not open for ever.
const persistAtLeast = time.Hour

// count charges to link i what passed since the last observation, turns the months and days over, and finds the limit that is reached.
func (s *step) count(i int) {
	l, q, in := &s.mem.links[i], &s.cfg.Links[i].Quota, &s.in[i]
	if !q.limited() {
		// What once had a quota may have one again, and must not be charged then with all that it has carried since.
		if l.limit = causeNone; (l.counted || l.restored) && (in.usable || in.bytes > 0) {
			l.charge(in, q, s.clock)
		}
		return
	}
	l.usage.Link = s.cfg.Links[i].Name
	if passed := s.wall.Sub(l.turnedAt); passed < 0 || passed >= time.Second || l.turnedAt.IsZero() {
		s.turn(i) // the calendar costs more than all the rest of a step
		l.turnedAt, l.turnedClock = s.wall, s.clock
		l.early, l.dayEarly = l.usage.early(s.wall, q.BillingDay), l.usage.dayEarly(s.wall)
		l.closed = s.wall.Year() >= clockSet && !q.open(s.wall)
	}
	if in.usable || in.bytes > 0 {
		l.charge(in, q, s.clock)
	}
	if limit := s.limit(i); limit != l.limit {
		l.limit, l.dirty = limit, l.counted
	}
}

// charge takes a reading of the link's counter.
func (l *linkMemory) charge(in *sense, q *Quota, clock time.Duration) {
	u := &l.usage
	used, same := grown(u.Counter, in.bytes)
	same = same && in.epoch == u.Epoch
	switch {
	case l.foreign || !l.counted && !l.restored:
		used = 0
	case !same:
		used = in.bytes - min(in.before, in.bytes) // the counter is another, or began anew
	}
	if !l.counted && l.restored && !l.foreign && !u.Clean && !(same && in.epoch != 0) {
		// The router stopped without a word. What was used after the last write is not known: assume the worst, which is what
		// may be used between two writes.
		used += q.PersistEach
	}
	if !l.counted {
		l.writtenAt = clock
	}
	l.counted, l.foreign = true, false
	if in.epoch != u.Epoch || u.Clean {
		l.dirty = true // the file must not promise a clean stop while the link is used
	}
	u.Counter, u.Epoch, u.Clean = in.bytes, in.epoch, false
	u.Bytes += used
	u.DayBytes += used
	l.unwritten += used
}

// grown is how far a sum of two counters has moved; false: they began anew. Each may have 32 bits (drivers on 32-bit routers) and wrap, which takes
// 2^32 from the sum, so that it is right modulo that. Between two readings a line carries much less.
func grown(before, now uint64) (uint64, bool) {
	const wrap, most = 1 << 32, 1 << 28
	if n := (now - before) % wrap; now < before && before < 2*wrap && n < most {
		return n, true
	}
	return now - before, now >= before
}

// used is what counts against the month's limits: both months while the clock is back in the one before.
func (l *linkMemory) used() uint64 {
	if l.early {
		return l.usage.Bytes + l.usage.LastBytes
	}
	return l.usage.Bytes
}

// today is what counts against the day's limit: both days while the clock is back in one before.
func (l *linkMemory) today() uint64 {
	if l.dayEarly {
		return l.usage.DayBytes + l.usage.LastDay
	}
	return l.usage.DayBytes
}

// limit returns the hardest limit that link i has reached.
func (s *step) limit(i int) cause {
	q, l := &s.cfg.Links[i].Quota, &s.mem.links[i]
	used := l.used()
	switch {
	case q.Limit > 0 && used >= q.Limit:
		return causeQuota
	case q.Soft > 0 && used >= q.Soft:
		return causeSoft
	case q.Daily > 0 && l.today() >= q.Daily:
		return causeDaily
	case l.closed:
		return causeHours
	}
	return causeNone
}

// open reports whether an instant lies in one of the windows.
func (q *Quota) open(wall time.Time) bool {
	if len(q.Windows) == 0 {
		return true
	}
	minute := wall.Hour()*60 + wall.Minute()
	today := wall.Weekday()
	yesterday := (today + 6) % 7
	for _, w := range q.Windows {
		on := func(d time.Weekday) bool { return w.Days == 0 || w.Days&(1<<d) != 0 }
		if w.To > w.From {
			if on(today) && minute >= w.From && minute < w.To {
				return true
			}
		} else if on(today) && minute >= w.From || on(yesterday) && minute < w.To {
			return true
		}
	}
	return false
}

// persist reports whether the counter wants to be written: half of what a power cut may cost is open, or it is time.
func (l *linkMemory) persist(q *Quota, clock time.Duration) bool {
	if !q.counts() || !l.counted {
		return false
	}
	return l.dirty || l.unwritten >= q.PersistEach/2 || l.unwritten > 0 && clock-l.writtenAt >= persistAtLeast
}

// whyLimit is the sentence of a limit that link i has reached.
func (s *step) whyLimit(i int) string {
	c, q, u := &s.cfg.Links[i], &s.cfg.Links[i].Quota, &s.mem.links[i].usage
	until := ""
	if !u.Period.IsZero() {
		until = " until " + periodEnd(u.Period, q.BillingDay).Format("2 Jan")
	}
	switch s.cause[i] {
	case causeQuota:
		return c.Name + " has used up its quota: " + volumeOf(s.mem.links[i].used(), q.Limit) + ", off" + until
	case causeSoft:
		return c.Name + " has used " + volumeOf(s.mem.links[i].used(), max(q.Limit, q.Soft)) + ", above the soft limit of " + volume(q.Soft) +
			": only when nothing else works" + until
	case causeDaily:
		return c.Name + " has used up its day: " + volumeOf(s.mem.links[i].today(), q.Daily) + ": only when nothing else works, until midnight"
	}
	return c.Name + " is outside its hours at " + s.wall.Format("Mon 15:04") + ": only when nothing else works"
}

// Usage returns the counters to be persisted, one per link that has or had a quota, in the order of the configuration, and then those of links that
// are not configured now. end is set at an orderly stop.
func (m *Machine) Usage(end bool) []Usage {
	var us []Usage
	for i := range m.cfg.Links {
		if l := &m.mem.links[i]; l.counted || l.restored {
			u := l.usage
			u.Clean = u.Clean || end && l.counted
			us = append(us, u)
		}
	}
	return append(us, m.mem.others...)
}

// Persisted tells the machine that the counters that Usage returned after the last Step were written.
func (m *Machine) Persisted() {
	for i := range m.cfg.Links {
		l := &m.mem.links[i]
		l.unwritten, l.writtenAt, l.dirty = 0, m.mem.clock, false
	}
}

// Restore puts persisted counters back before the first Step. Those of links that are not configured are kept for when they are.
func (m *Machine) Restore(usages []Usage) {
	m.mem.others = nil
	for _, u := range usages {
		if i, ok := m.index(u.Link); ok {
			m.mem.links[i].usage, m.mem.links[i].restored = u, true
		} else {
			m.mem.keep(u)
		}
	}
}

// keep keeps the counters of a link that is not configured, and forgets the oldest when there are too many.
func (mem *Memory) keep(u Usage) {
	others := append([]Usage{}, mem.others...) // of which there may be copies
	mem.others = append(others[max(0, len(others)+1-MaxLinks):], u)
}

// take takes the counters of a link that is configured again.
func (mem *Memory) take(link string) (Usage, bool) {
	for i, u := range mem.others {
		if u.Link == link {
			mem.others = append(append([]Usage{}, mem.others[:i]...), mem.others[i+1:]...)
			return u, true
		}
	}
	return Usage{}, false
}

// Quota returns the quota of a link; false: its volume has no limit. Wall as in Observation.
func (m *Machine) Quota(link int, wall time.Time) (QuotaStatus, bool) {
	if link < 0 || link >= len(m.cfg.Links) || !m.cfg.Links[link].Quota.counts() {
		return QuotaStatus{}, false
	}
	q, l := &m.cfg.Links[link].Quota, &m.mem.links[link]
	st := QuotaStatus{Usage: l.usage, Limit: q.Limit, Soft: q.Soft, Daily: q.Daily}
	st.Link = m.cfg.Links[link].Name
	st.Used, st.Today = st.Bytes, st.DayBytes
	if st.early(wall, q.BillingDay) {
		st.Used += st.LastBytes
	}
	if st.dayEarly(wall) {
		st.Today += st.LastDay
	}
	st.Forecast = st.Used
	if !st.Period.IsZero() {
		st.End = periodEnd(st.Period, q.BillingDay)
		st.Forecast = forecast(st.Used, st.Period, st.End, wall)
	}
	return st, true
}

// forecast continues what was used since start until end. The first day is too short to judge by: it counts as whole.
func forecast(used uint64, start, end, now time.Time) uint64 {
	past := max(now.Sub(start), 24*time.Hour)
	left := end.Sub(start) - past
	if left <= 0 {
		return used
	}
	return used + uint64(float64(used)*float64(left)/float64(past))
}
