// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
)

// cause is why a link is in its state: the kind of sentence. The sentence itself is made when state or cause changes and then kept,
// so that it tells the figures that decided.
type cause uint8

const (
	causeNone cause = iota
	// Why a link does not carry though it might be wanted.
	causeRole      // role off
	causeUnusable  // no carrier, address or route
	causeDead      // a blackhole
	causeMode      // the mode does not use it
	causeQuota     // the month's volume is used up
	causeSoft      // ... nearly
	causeDaily     // the day's volume is used up
	causeHours     // outside the hours of use
	causeSuspended // guard, round-trip time or loss
	causeHeld      // has only just returned
	// Why a link carries.
	causeFirst
	causePrimary
	causeBond
	causeFastest
	causeTakeover
	causeFullDown
	causeFullUp
	causeFullBoth
	// Why a link rests.
	causeReady
	causeDrain
	causeRest
	causeLittle // it would add next to nothing
	// How an overflow was left.
	causeFits
	causeTrial
)

// tell writes the conclusions into the memory, puts what changed into words, and makes the plan.
func (s *step) tell() Plan {
	p := Plan{First: s.first, Links: make([]LinkPlan, s.n)}
	news := !s.mem.begun || s.first != s.mem.first
	for i := range s.n {
		l := &s.mem.links[i]
		detail := ""
		switch s.cause[i] {
		case causeUnusable, causeDead:
			detail = s.in[i].reason
		case causeTakeover:
			detail = s.hurdles(i)
		}
		if s.state[i] != l.state || s.cause[i] != l.cause || detail != l.detail {
			from := l.state
			l.why = s.why(i, from)
			l.cause, l.detail = s.cause[i], detail
			news = true
			if from != s.state[i] {
				l.state, l.at = s.state[i], s.now
				p.Changed = append(p.Changed, Transition{At: s.now, Link: s.cfg.Links[i].Name, From: from, To: l.state, Why: l.why})
			} else if l.at.IsZero() {
				l.at = s.now
			}
		}
		l.lead = s.primary[i]
		p.Links[i] = s.linkPlan(i)
		p.OverflowDown = p.OverflowDown || l.over[down]
		p.OverflowUp = p.OverflowUp || l.over[up]
		p.Persist = p.Persist || l.persist(&s.cfg.Links[i].Quota, s.clock)
	}
	p.Overflow = p.OverflowDown || p.OverflowUp
	s.mem.first = s.first
	if news {
		s.mem.why = s.whole()
	}
	p.Why = s.mem.why
	return p
}

// linkPlan is what the plan says of link i.
func (s *step) linkPlan(i int) LinkPlan {
	l := &s.mem.links[i]
	lp := LinkPlan{
		Role: l.state, Why: l.why, Since: l.at,
		Available: s.rank[i] < demoted || s.primary[i],
		Held:      s.rank[i]-held >= 0 && s.rank[i]-held < demoted,
		Draining:  l.state == Standby && l.cause != causeReady,
		Resting:   s.resting(i) || s.mem.yield.on && s.primary[i],
		Primary:   s.primary[i],
		Down:      s.primary[i] || l.over[down],
		Up:        s.primary[i] || l.over[up],
		Metered:   s.cfg.Links[i].Metered,
	}
	if s.mem.yield.on && s.primary[i] {
		lp.Why += "; it rests while others carry so much more that it would hold them up"
	}
	if l.state >= Active && s.primary[i] && !lp.Resting {
		lp.Weight = s.cfg.Links[i].Weight
	}
	return lp
}

// why is the sentence on link i, which comes from another state.
func (s *step) why(i int, from State) string {
	name, l, in := s.cfg.Links[i].Name, &s.mem.links[i], &s.in[i]
	switch s.cause[i] {
	case causeRole:
		if l.overridden {
			return name + " is off: its role was set to off"
		}
		return name + " is off: its role is off"
	case causeUnusable:
		return name + " is not usable: " + or(in.reason, "it is down")
	case causeDead:
		return name + " is dead: " + or(in.reason, "data is out and nothing comes back")
	case causeMode:
		return name + " is not used: the mode is primary-only"
	case causeQuota, causeSoft, causeDaily, causeHours:
		return s.whyLimit(i)
	case causeSuspended:
		return l.suspension.why
	case causeHeld:
		return name + " is back and must stay up for " + seconds(s.wait(i)) + s.lately(i)
	case causeFirst:
		return name + " is first: it is the " + s.role[i].String() + " link and works"
	case causePrimary:
		return name + " carries along: it is a " + s.role[i].String() + " link beside " + s.cfg.Links[s.first].Name
	case causeBond:
		return name + " carries: the mode bond uses all links at once"
	case causeFastest:
		return s.whyFastest(i)
	case causeTakeover:
		return name + " takes over: " + s.lacking(i)
	case causeFullDown, causeFullUp, causeFullBoth:
		return s.whyFull(i)
	case causeReady:
		return name + " stands by: " + s.room()
	case causeDrain:
		return s.whyDrain(i)
	case causeRest:
		return name + " is not needed: " + s.room()
	case causeLittle:
		return s.whyLittle(i)
	}
	return name + ": " + from.String()
}

// whole is the sentence on everything: what is unusual, else what is usual.
func (s *step) whole() string {
	if s.first < 0 {
		parts := make([]string, 0, s.n)
		for i := range s.n {
			parts = append(parts, s.mem.links[i].why)
		}
		return "no link carries, connections are kept until one returns: " + some(parts)
	}
	for i := s.n - 1; i >= 0; i-- {
		if l := &s.mem.links[i]; l.state == Active && l.cause >= causeFullDown && l.cause <= causeFullBoth {
			return l.why
		}
	}
	why := s.mem.links[s.first].why
	for i := range s.n {
		l := &s.mem.links[i]
		unusual := l.cause == causeDrain || l.cause >= causeUnusable && l.cause <= causeHeld && l.cause != causeMode
		if unusual && s.cause[s.first] != causeTakeover {
			return why + "; " + l.why
		}
	}
	return why
}

// lacking lists the links that would carry in place of link i, with what holds each back.
func (s *step) lacking(i int) string {
	var parts []string
	for j := range s.n {
		if j == i || !s.betterByRole(j, i) {
			continue
		}
		parts = append(parts, s.hurdleText(j))
	}
	if len(parts) == 0 {
		return "it is the best link that works"
	}
	return some(parts)
}

// hurdles is what lacking depends on but for its figures: when it changes, the sentence is out of date.
func (s *step) hurdles(i int) string {
	var b [MaxLinks]byte
	n := 0
	for j := range s.n {
		if j != i && s.betterByRole(j, i) {
			b[n] = byte(s.hurdle[j])
			n++
		}
	}
	return string(b[:n])
}

// hurdleText says in a clause what holds link j back.
func (s *step) hurdleText(j int) string {
	c := s.hurdle[j]
	switch {
	case c == causeNone:
		return s.cfg.Links[j].Name + " comes after it"
	case c == causeSuspended:
		return s.mem.links[j].suspension.why
	case c == causeHeld:
		return s.cfg.Links[j].Name + " is back but not yet trusted"
	}
	held := s.cause[j]
	s.cause[j] = c
	text := s.why(j, Off)
	s.cause[j] = held
	return text
}

// whyFull is the sentence of an overflow: which links before link i are full, by which figures, for how long.
func (s *step) whyFull(i int) string {
	name := s.cfg.Links[i].Name
	var parts []string
	var names []string
	forText := ""
	for d := range s.mem.dirs {
		dm := &s.mem.dirs[d]
		if !s.mem.links[i].over[d] {
			continue
		}
		var carried, capacity float64
		known := true
		names = names[:0]
		for j := range s.n {
			if !s.primary[j] && (j >= i || !s.mem.links[j].over[d]) {
				continue
			}
			names = append(names, s.cfg.Links[j].Name)
			carried += s.in[j].rate[d]
			capacity += s.in[j].cap[d]
			known = known && s.in[j].cap[d] > 0
		}
		if !known {
			capacity = 0
		}
		if dm.enteredAt == s.clock && dm.fullFor == 0 {
			return s.leaders() + " carries again but " + name + " carries " + rate(s.in[i].rate[d]) + " " + direction(d) +
				", too much for " + rate(capacity) + ", so " + name + " takes the overflow"
		}
		text := rateOf(carried, capacity) + " " + direction(d)
		if dm.byQueue && len(names) == s.leaderCount() {
			text = "a queue stands at " + text + s.inflation()
		}
		parts = append(parts, text)
		if dm.enteredAt == s.clock {
			forText = " for " + seconds(dm.fullFor)
		}
	}
	are := " is full: "
	if len(names) > 1 {
		are = " are full: "
	}
	return list(names) + are + strings.Join(parts, " and ") + forText + ", so " + name + " takes the overflow"
}

// inflation tells the round-trip time of the first link against its rest, where known.
func (s *step) inflation() string {
	in := &s.in[s.first]
	if in.rtt == 0 || in.minRTT == 0 {
		return ""
	}
	return " (" + millis(in.rtt) + " round trip, " + millis(in.minRTT) + " at rest)"
}

// whyDrain is the sentence of a link that is not needed any more.
func (s *step) whyDrain(i int) string {
	name := s.cfg.Links[i].Name
	for d := range s.mem.dirs {
		dm := &s.mem.dirs[d]
		if !dm.left || dm.leftAt != s.clock {
			continue
		}
		rest := s.leaders()
		for j := range s.n {
			if s.mem.links[j].over[d] {
				rest += " and " + s.cfg.Links[j].Name
			}
		}
		figures := rateOf(dm.bonded, dm.fit) + " " + direction(d) + " for " + seconds(dm.lowFor)
		if dm.leftBy == causeTrial {
			return rest + " may do without: " + figures + ", so " + name + " empties, on trial"
		}
		return "everything fits into " + rest + " again: " + figures + ", so " + name + " empties"
	}
	return s.leaders() + " carries again, so " + name + " empties"
}

// whyLittle is the sentence of an overflow link that is not worth its use.
func (s *step) whyLittle(i int) string {
	var parts []string
	for d, not := range s.notWorth(i) {
		if not {
			parts = append(parts, rate(s.in[i].cap[d])+" to "+rate(s.leadersCan(d))+" "+direction(d))
		}
	}
	return s.cfg.Links[i].Name + " is no help to " + s.leaders() + ": it would add " + list(parts) + ", and hold up the rest"
}

// whyFastest is the sentence of smallest-delay.
func (s *step) whyFastest(i int) string {
	if s.in[i].rtt == 0 {
		return s.cfg.Links[i].Name + " carries: no round-trip time is known yet"
	}
	return s.cfg.Links[i].Name + " carries: it answers fastest, in " + millis(s.in[i].rtt)
}

// lately tells the falls that made a wait longer.
func (s *step) lately(i int) string {
	if s.penalty(i) <= 1 {
		return ""
	}
	return ", for it fell repeatedly of late"
}

// room says how much the primaries carry of what they can.
func (s *step) room() string {
	carry := " carries "
	if s.leaderCount() > 1 {
		carry = " carry "
	}
	return s.leaders() + carry + rateOf(s.leadersCarry(down), s.leadersCan(down)) + " down and " + rateOf(s.leadersCarry(up), s.leadersCan(up)) + " up"
}

// leaders names the links that serve as primaries.
func (s *step) leaders() string {
	var names []string
	for i := range s.n {
		if s.primary[i] {
			names = append(names, s.cfg.Links[i].Name)
		}
	}
	return list(names)
}

// leaderCount counts the links that serve as primaries.
func (s *step) leaderCount() (n int) {
	for i := range s.n {
		if s.primary[i] {
			n++
		}
	}
	return n
}
