// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Report is what one connection's receiver saw. Times are milliseconds.
type Report struct {
	Octets  int64   `json:"octets"`
	Bad     int64   `json:"bad"`             // position of the first wrong octet, -1: none
	Connect float64 `json:"connect_ms"`      // until connect returned
	First   float64 `json:"first_ms"`        // from the start of connect to the first octet
	Done    float64 `json:"done_ms"`         // from the start of connect to the end
	Stall   float64 `json:"stall_ms"`        // the longest silence after the first octet
	StallAt int64   `json:"stall_at"`        // when that silence began, Unix milliseconds
	MPTCP   bool    `json:"mptcp"`           // end to end
	Wrong   string  `json:"wrong,omitempty"` // what came at Bad
	Error   string  `json:"error,omitempty"`
	Course  string  `json:"-"` // when it came how far, in words
	Series  Series  `json:"series"`
}

// tellWhen says how far the connection has come, and adds that to an error. begun is since the demand's start.
func (rep *Report) tellWhen(begun time.Duration) {
	rep.Course = fmt.Sprintf("begun at %.2f s, connected in %.0f ms, first octet after %.0f ms, end after %.0f ms, %d octets",
		begun.Seconds(), rep.Connect, rep.First, rep.Done, rep.Octets)
	if rep.Error != "" {
		rep.Error += " (" + rep.Course + ")"
	}
}

// Result is what a demand came to.
type Result struct {
	Start       int64    `json:"start"` // Unix milliseconds
	Seconds     float64  `json:"seconds"`
	Connections int      `json:"connections"`
	Failed      int      `json:"failed"`
	Errors      []string `json:"errors,omitempty"`  // the first few
	Slowest     []string `json:"slowest,omitempty"` // how those went that took longest, the first few
	Octets      int64    `json:"octets"`
	Bad         int      `json:"bad"`             // connections with a wrong octet
	Wrong       []string `json:"wrong,omitempty"` // what came there, of the first few
	MPTCP       int      `json:"mptcp"`           // connections that speak it end to end
	Mbit        float64  `json:"mbit"`            // Mbit/s of payload over all
	Connect     Spread   `json:"connect_ms"`
	First       Spread   `json:"first_ms"`
	Done        Spread   `json:"done_ms"` // web and ask: the latency of a request
	Stall       float64  `json:"stall_ms"`
	StallAt     int64    `json:"stall_at"`
	Series      Series   `json:"series"`
}

// Spread is a distribution.
type Spread struct {
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// SpreadOf sorts values.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	at := func(q float64) float64 { return values[min(len(values)-1, int(q*float64(len(values))))] }
	return Spread{Median: at(0.5), P90: at(0.9), P99: at(0.99), Max: values[len(values)-1]}
}

// Step is the width of a Series' buckets.
const Step = 50 * time.Millisecond

// Series is octets received per Step. Buckets lie on multiples of Step since 1970, so that series can be added.
type Series struct {
	First  int64   `json:"first"` // number of the first bucket
	Octets []int64 `json:"octets,omitempty"`
}

// Add counts octets at an instant not before the first one.
func (s *Series) Add(at time.Time, octets int64) { s.add(at.UnixNano()/int64(Step), octets) }

func (s *Series) add(bucket, octets int64) {
	if len(s.Octets) == 0 {
		s.First = bucket
	}
	if bucket < s.First {
		s.Octets = append(make([]int64, s.First-bucket), s.Octets...)
		s.First = bucket
	}
	for int64(len(s.Octets)) <= bucket-s.First {
		s.Octets = append(s.Octets, 0)
	}
	s.Octets[bucket-s.First] += octets
}

// Merge adds another series.
func (s *Series) Merge(o Series) {
	for i, n := range o.Octets {
		s.add(o.First+int64(i), n)
	}
}

// Mbit is the mean rate between two instants, Mbit/s.
func (s Series) Mbit(from, to time.Time) float64 {
	a, b := from.UnixNano()/int64(Step), to.UnixNano()/int64(Step)
	var sum int64
	for i := a; i < b; i++ {
		if i >= s.First && i < s.First+int64(len(s.Octets)) {
			sum += s.Octets[i-s.First]
		}
	}
	if b <= a {
		return 0
	}
	return float64(sum) * 8 / (float64(b-a) * Step.Seconds()) / 1e6
}

// summary joins reports.
func summary(start time.Time, reports []Report) Result {
	r := Result{Start: start.UnixMilli(), Seconds: time.Since(start).Seconds(), Connections: len(reports)}
	r.Slowest = slowest(reports)
	var connect, first, done []float64
	for _, c := range reports {
		r.Octets += c.Octets
		if c.Bad >= 0 {
			r.Bad++
			if len(r.Wrong) < 3 {
				r.Wrong = append(r.Wrong, c.Wrong)
			}
		}
		if c.MPTCP {
			r.MPTCP++
		}
		if c.Stall > r.Stall {
			r.Stall, r.StallAt = c.Stall, c.StallAt
		}
		r.Series.Merge(c.Series)
		if c.Error != "" {
			r.Failed++
			r.Errors = append(r.Errors, c.Error)
			continue
		}
		connect, first, done = append(connect, c.Connect), append(first, c.First), append(done, c.Done)
	}
	r.Errors = r.Errors[:min(len(r.Errors), errorsMost)] // the worst kind is first
	r.Connect, r.First, r.Done = SpreadOf(connect), SpreadOf(first), SpreadOf(done)
	r.Mbit = float64(r.Octets) * 8 / r.Seconds / 1e6
	return r
}

// slowest tells the courses of those that took longest and did not fail, the longest first.
func slowest(reports []Report) (courses []string) {
	whole := slices.DeleteFunc(slices.Clone(reports), func(c Report) bool { return c.Error != "" || c.Course == "" })
	slices.SortFunc(whole, func(a, b Report) int { return cmp.Compare(b.Done, a.Done) })
	for _, c := range whole[:min(len(whole), slowestMost)] {
		courses = append(courses, c.Course)
	}
	return courses
}

// slowestMost is how many slow ones a result tells.
const slowestMost = 5

// errorsMost is how many errors a result tells.
const errorsMost = 8

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
