// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"spillway/testbed/world"
)

// Broken counts connections of a demand that failed or had a wrong octet.
func Broken(demand string) func(*Run) float64 {
	return func(r *Run) float64 {
		d, ok := r.Results[demand]
		if !ok {
			return math.Inf(1)
		}
		return float64(d.Failed + d.Bad)
	}
}

// Complaints tells of each demand what its connections failed with, and which wrong octets came: the first few.
func (r *Run) Complaints() (lines []string) {
	for _, d := range r.Demands {
		result := r.Results[d.Name]
		for _, e := range slices.Concat(result.Wrong, result.Errors) {
			lines = append(lines, d.Name+": "+e)
		}
	}
	return lines
}

// Laggards tells of each demand that many connections have how its slowest went.
func (r *Run) Laggards() (lines []string) {
	for _, d := range r.Demands {
		if d.Connections < 2 {
			continue
		}
		for _, course := range r.Results[d.Name].Slowest {
			lines = append(lines, d.Name+": "+course)
		}
	}
	return lines
}

// Refused counts connections of a demand that failed.
func Refused(demand string) func(*Run) float64 {
	return func(r *Run) float64 { return float64(r.Results[demand].Failed) }
}

// WithError counts connections of a demand that failed with certain words, among the first few.
func WithError(demand, words string) func(*Run) float64 {
	return func(r *Run) float64 {
		n := 0
		for _, e := range r.Results[demand].Errors {
			if strings.Contains(e, words) {
				n++
			}
		}
		return float64(n)
	}
}

// FailedShare is the part of a demand's connections that failed, in percent.
func FailedShare(demand string) func(*Run) float64 {
	return func(r *Run) float64 {
		d := r.Results[demand]
		return 100 * float64(d.Failed) / float64(max(1, d.Connections))
	}
}

// Wrong counts connections of demands that received a wrong octet.
func Wrong(demands ...string) func(*Run) float64 {
	return func(r *Run) float64 {
		n := 0
		for _, d := range demands {
			n += r.Results[d].Bad
		}
		return float64(n)
	}
}

// Slowest is the longest time that a request of a demand took, ms.
func Slowest(demand string) func(*Run) float64 {
	return func(r *Run) float64 { return r.Results[demand].Done.Max }
}

// Mbit is a demand's rate from its start to its end.
func Mbit(demand string) func(*Run) float64 {
	return func(r *Run) float64 { return r.Results[demand].Mbit }
}

// Share is a demand's rate relative to the sum of the links' rates.
func Share(demand string, up bool) func(*Run) float64 {
	return func(r *Run) float64 { return 100 * r.Results[demand].Mbit * 1e6 / r.sum(up) }
}

// sum is what the links carry together, bit/s.
func (r *Run) sum(up bool) (sum float64) {
	for _, l := range r.Links {
		if up {
			sum += l.Up.Rate
		} else {
			sum += l.Down.Rate
		}
	}
	return sum
}

// Stall is the longest silence of any connection of a demand, ms.
func Stall(demand string) func(*Run) float64 {
	return func(r *Run) float64 { return r.Results[demand].Stall }
}

// First is the slowest connection's time to its first octet, ms.
func First(demand string) func(*Run) float64 {
	return func(r *Run) float64 { return r.Results[demand].First.Max }
}

// Median is the median time until a request was done, ms.
func Median(demand string) func(*Run) float64 {
	return func(r *Run) float64 { return r.Results[demand].Done.Median }
}

// Received is a demand's own rate at the receiver between two offsets, Mbit/s.
func Received(demand string, from, to time.Duration) func(*Run) float64 {
	return func(r *Run) float64 { return r.Results[demand].Series.Mbit(r.Start.Add(from), r.Start.Add(to)) }
}

// Octets is what a link carried both ways between two offsets; to 0: until the end.
func Octets(link string, from, to time.Duration) func(*Run) float64 {
	return func(r *Run) float64 {
		a, b := r.counters(link, from), r.counters(link, to)
		return float64(b.RxOctets - a.RxOctets + b.TxOctets - a.TxOctets)
	}
}

// Payload is the octets of TCP payload that a link carried both ways between two offsets; to 0: until the end.
func Payload(link string, from, to time.Duration) func(*Run) float64 {
	return func(r *Run) float64 {
		return float64(r.counters(link, to).Payload - r.counters(link, from).Payload)
	}
}

// Segments is the TCP segments that a link carried both ways.
func Segments(link string, from, to time.Duration) func(*Run) float64 {
	return func(r *Run) float64 {
		return float64(r.counters(link, to).Segments - r.counters(link, from).Segments)
	}
}

// PayloadShare is the part of all links' TCP payload that one carried, in percent.
func PayloadShare(link string) func(*Run) float64 {
	return func(r *Run) float64 {
		sum := 0.0
		for _, l := range r.Links {
			sum += Payload(l.Name, time.Nanosecond, 0)(r)
		}
		return 100 * Payload(link, time.Nanosecond, 0)(r) / sum
	}
}

// LinkMbit is a link's rate in its busier direction between two offsets.
func LinkMbit(link string, from, to time.Duration) func(*Run) float64 {
	return func(r *Run) float64 {
		a, b := r.counters(link, from), r.counters(link, to)
		const ethernet = 14 // octets of header, which the line does not count
		rx := b.RxOctets - a.RxOctets - ethernet*(b.RxPackets-a.RxPackets)
		tx := b.TxOctets - a.TxOctets - ethernet*(b.TxPackets-a.TxPackets)
		return float64(max(rx, tx)) * 8 / (to - from).Seconds() / 1e6
	}
}

// Processor is the daemon's share of one core between two offsets, in percent.
func Processor(from, to time.Duration) func(*Run) float64 {
	return func(r *Run) float64 {
		var first, last world.Sample
		for _, s := range r.Samples {
			if at := s.At.Sub(r.Start); at >= from && at <= to {
				if first.At.IsZero() {
					first = s
				}
				last = s
			}
		}
		return 100 * (last.CPU - first.CPU).Seconds() / last.At.Sub(first.At).Seconds()
	}
}

// Promotions counts how often a link came into use after an offset.
func Promotions(link string, after time.Duration) func(*Run) float64 {
	return func(r *Run) float64 {
		n := 0
		for _, c := range r.Changes {
			if c.Link == link && (c.To == "first" || c.To == "active") && c.From == "off" && c.At.After(r.Start.Add(after)) {
				n++
			}
		}
		return float64(n)
	}
}

// Since is how long after an offset a link first carried so many Mbit/s over 100 ms, ms; infinite: never.
func Since(link string, after time.Duration, mbit float64) func(*Run) float64 {
	return func(r *Run) float64 {
		return r.when(link, after, func(rate float64) bool { return rate >= mbit })
	}
}

// Until is how long after an offset a link last carried so many Mbit/s over 100 ms, ms.
func Until(link string, after time.Duration, mbit float64) func(*Run) float64 {
	return func(r *Run) float64 {
		last := 0.0
		r.rates(link, after, func(at time.Duration, rate float64) bool {
			if rate >= mbit {
				last = float64(at.Milliseconds())
			}
			return true
		})
		return last
	}
}

// when is the first instant after an offset at which a condition on the rate over 100 ms holds.
func (r *Run) when(link string, after time.Duration, cond func(mbit float64) bool) float64 {
	found := math.Inf(1)
	r.rates(link, after, func(at time.Duration, rate float64) bool {
		if cond(rate) {
			found = float64(at.Milliseconds())
		}
		return math.IsInf(found, 1)
	})
	return found
}

// rates calls fn with the rate over 100 ms windows that begin after an offset, until fn says false.
func (r *Run) rates(link string, after time.Duration, fn func(end time.Duration, mbit float64) bool) {
	i := r.index(link)
	begin := r.Start.Add(after)
	for j, k := 0, 0; k < len(r.Samples); k++ {
		for r.Samples[k].At.Sub(r.Samples[j].At) > 100*time.Millisecond && j < k {
			j++
		}
		a, b := r.Samples[j], r.Samples[k]
		if a.At.Before(begin) || b.At.Sub(a.At) < 70*time.Millisecond {
			continue
		}
		octets := max(b.Links[i].RxOctets-a.Links[i].RxOctets, b.Links[i].TxOctets-a.Links[i].TxOctets)
		if !fn(b.At.Sub(begin), float64(octets)*8/b.At.Sub(a.At).Seconds()/1e6) {
			return
		}
	}
}

// counters is a link's counters at an offset: of the last sample not after it.
func (r *Run) counters(link string, at time.Duration) world.Counter {
	i := r.index(link)
	if i < 0 || len(r.Samples) == 0 {
		return world.Counter{}
	}
	if at == 0 {
		return r.Samples[len(r.Samples)-1].Links[i]
	}
	n, _ := slices.BinarySearchFunc(r.Samples, r.Start.Add(at), func(s world.Sample, t time.Time) int { return s.At.Compare(t) })
	return r.Samples[max(0, n-1)].Links[i]
}

func (r *Run) index(link string) int {
	return slices.IndexFunc(r.Links, func(l world.Link) bool { return l.Name == link })
}

// Print writes findings as a table.
func Print(w io.Writer, s Scenario, findings []Finding) {
	fmt.Fprintf(w, "%s: %s\n", s.Name, s.About)
	for _, f := range findings {
		verdict := "met"
		switch {
		case !f.Within:
			verdict = "FAILED"
		case !f.Met:
			verdict = "short of it"
		}
		fmt.Fprintf(w, "  %-58s %10s %-7s aim %s %-8s %s\n", f.What, figure(f.Figure), f.Unit, f.Is, figure(f.Aim), verdict)
	}
}

// Timeline writes the rates of all links in Mbit/s, down/up, a line for each step.
func (r *Run) Timeline(w io.Writer, step time.Duration) {
	if len(r.Samples) == 0 {
		return
	}
	end := r.Samples[len(r.Samples)-1].At.Sub(r.Start)
	for at := step; at <= end; at += step {
		fmt.Fprintf(w, "  %5.2f s ", at.Seconds())
		for _, l := range r.Links {
			a, b := r.counters(l.Name, at-step+1), r.counters(l.Name, at)
			mbit := func(octets uint64) float64 { return float64(octets) * 8 / step.Seconds() / 1e6 }
			fmt.Fprintf(w, "  %s %5.1f /%5.1f", l.Name, mbit(b.RxOctets-a.RxOctets), mbit(b.TxOctets-a.TxOctets))
		}
		if whole, ok := r.Results[""]; ok {
			fmt.Fprintf(w, "  received %5.1f", whole.Series.Mbit(r.Start.Add(at-step), r.Start.Add(at)))
		}
		fmt.Fprintln(w)
	}
}

func figure(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "never"
	case f == math.Trunc(f) || math.Abs(f) >= 1000:
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.1f", f)
}
