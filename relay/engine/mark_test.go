// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"
	"time"
)

// feed plays a source of rate octets a second for a time against a gauge and gives the number of wake-ups.
// segment is what arrives at once.
func feed(g *gauge, now *int64, rate, segment int, d time.Duration) (wakes int) {
	gap := int64(segment) * int64(time.Second) / int64(rate)
	waiting := 0
	for end := *now + int64(d); *now < end; {
		*now += gap
		waiting += segment
		switch {
		case !g.bulk:
			wakes++
			g.read(*now, waiting)
			waiting = 0
		case waiting >= int(g.mark) || *now >= g.due:
			wakes++
			g.look(*now, waiting, waiting < int(g.mark))
			waiting = 0
		}
	}
	return wakes
}

func TestBulkWakesSeldom(t *testing.T) {
	for _, mbit := range []int{5, 20, 80, 300} {
		var g gauge
		now := int64(time.Hour)
		rate := mbit * 125_000
		wakes := feed(&g, &now, rate, 1448, 10*time.Second)
		segments := 10 * rate / 1448
		if !g.bulk || wakes*4 > segments {
			t.Errorf("%d Mbit/s: %d wake-ups for %d segments, bulk %v", mbit, wakes, segments, g.bulk)
		}
	}
}

// What goes up several lines must not come in bursts that stand as a queue on the first of them.
func TestBriskLooksEachTick(t *testing.T) {
	for mbit, bulk := range map[int]bool{2: false, 5: false, 10: true, 80: true} {
		g := gauge{brisk: true}
		now := int64(time.Hour)
		rate := mbit * 125_000
		wakes := feed(&g, &now, rate, 1448, 5*time.Second)
		if g.bulk != bulk || bulk && (wakes < 900 || g.period != 1) {
			t.Errorf("%d Mbit/s: bulk %v, %d wake-ups in 5 s, %+v", mbit, g.bulk, wakes, g)
		}
	}
}

func TestMarkFollowsTheRate(t *testing.T) {
	for mbit, want := range map[int]int32{2: leastMark, 4: 32 << 10, 40: mostMark, 400: mostMark} {
		var g gauge
		now := int64(time.Hour)
		feed(&g, &now, mbit*125_000, 1448, 2*time.Second)
		if g.mark != want || g.due%(int64(g.period)*tick) != 0 {
			t.Errorf("%d Mbit/s: mark %d, want %d; %+v", mbit, g.mark, want, g)
		}
		feed(&g, &now, 250_000, 1448, 2*time.Second)
		if !g.bulk || g.mark > 32<<10 {
			t.Errorf("slow again after %d Mbit/s: %+v", mbit, g)
		}
	}
}

func TestSmallExchangesStayAttentive(t *testing.T) {
	var g gauge
	now := int64(time.Hour)
	for range 10_000 { // an answer of 200 octets each 25 ms
		now += int64(25 * time.Millisecond)
		if g.read(now, 200) {
			t.Fatal("became bulk")
		}
	}
	if feed(&g, &now, 50_000, 1448, 20*time.Second); g.bulk { // 0.4 Mbit/s: nothing to gain
		t.Fatal("a slow flow became bulk")
	}
}

func TestSilenceEndsBulk(t *testing.T) {
	var g gauge
	now := int64(time.Hour)
	feed(&g, &now, 10_000_000, 1448, time.Second)
	if !g.bulk {
		t.Fatal("not bulk")
	}
	began := now
	for g.bulk {
		now = max(now, g.due)
		g.look(now, 0, true)
	}
	if d := now - began; d > silence+2*maxPeriod*tick {
		t.Fatalf("took %v", time.Duration(d))
	}
}

func TestTurnsMakePromotionHarder(t *testing.T) {
	var g gauge
	now := int64(time.Hour)
	chunk := func() (promoted bool) { // 100 KiB, then a turn
		for range 70 {
			now += int64(100 * time.Microsecond)
			if g.bulk {
				g.look(now, 1448, false)
			} else {
				promoted = g.read(now, 1448) || promoted
			}
		}
		if g.bulk {
			g.turned()
		}
		now += int64(30 * time.Millisecond)
		return promoted
	}
	first := chunk()
	again := 0
	for range 20 {
		if chunk() {
			again++
		}
	}
	if !first || again > 1 {
		t.Fatalf("promoted at first %v, then %d of 20 times", first, again)
	}
	feed(&g, &now, 10_000_000, 1448, time.Second)
	if !g.bulk || g.need != firstNeed {
		t.Fatalf("a long run did not restore trust: %+v", g)
	}
}

func FuzzGauge(f *testing.F) {
	f.Add([]byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, script []byte) {
		var g gauge
		now := int64(1)
		for _, b := range script {
			now += int64(b>>4) * int64(time.Millisecond) / 4
			n := int(b&15) * 9000
			switch {
			case !g.bulk:
				g.read(now, n)
			case b&15 == 15:
				g.turned()
			default:
				g.look(now, n, b&16 != 0)
			}
			if g.bulk && (g.period < 1 || g.period > maxPeriod || g.due > now+(maxPeriod+1)*tick || g.mark < leastMark || g.mark > mostMark) {
				t.Fatalf("looks too late: %+v at %d", g, now)
			}
			if g.need > mostNeed {
				t.Fatalf("%+v", g)
			}
		}
	})
}
