// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"strings"
	"testing"
	"time"
)

func TestQueueOfADownloadIsSeen(t *testing.T) {
	b := newBench(t, 2, 30*time.Millisecond)
	b.run(2*time.Second, func(at time.Duration, x *PathSample) {
		b.downloads(60_000)(at, x)
		x.RcvRTT = 32 * time.Millisecond
	})
	if b.verdict.Standing {
		t.Fatalf("a queue without one: %s", b.verdict.Reason)
	}
	b.run(2*time.Second, func(at time.Duration, x *PathSample) {
		b.downloads(60_000)(at, x)
		x.RcvRTT = 130 * time.Millisecond
	})
	if !b.verdict.DownQueue || b.verdict.UpQueue || !strings.Contains(b.verdict.Reason, "a queue stands down") {
		t.Errorf("the queue of the download: %+v", b.verdict)
	}
	b.run(2*time.Second, silence)
	if b.verdict.Standing {
		t.Error("the receiver's old figure keeps a queue alive in which nothing moves")
	}
}

// Two segments that leave a slow line together delay each other, and are no queue; more are.
func TestFewSegmentsAreNoQueue(t *testing.T) {
	for _, c := range []struct {
		octets uint64        // a second
		extra  time.Duration // above the least round trip
		stands bool
	}{
		{100_000, 25 * time.Millisecond, false}, {100_000, 80 * time.Millisecond, true},
		{1_000_000, 15 * time.Millisecond, false}, {1_000_000, 25 * time.Millisecond, true},
		{30_000, 100 * time.Millisecond, false}, {30_000, 200 * time.Millisecond, true},
		{4_000, 200 * time.Millisecond, false}, {4_000, 400 * time.Millisecond, true},
	} {
		b := newBench(t, 1, 30*time.Millisecond)
		b.run(3*time.Second, func(at time.Duration, x *PathSample) {
			b.uploads(c.octets*uint64(b.step)/uint64(time.Second))(at, x)
			x.RTT = 30*time.Millisecond + c.extra
		})
		if b.verdict.UpQueue != c.stands {
			t.Errorf("%d octets/s up, %v above the least round trip: queue %v", c.octets, c.extra, b.verdict.UpQueue)
		}
		b = newBench(t, 1, 30*time.Millisecond)
		b.run(3*time.Second, func(at time.Duration, x *PathSample) {
			b.downloads(c.octets*uint64(b.step)/uint64(time.Second))(at, x)
			x.RTT, x.RcvRTT = 30*time.Millisecond, 30*time.Millisecond+c.extra
		})
		if want := c.stands && c.octets >= 20_000; b.verdict.DownQueue != want {
			t.Errorf("%d octets/s down, %v above the least round trip: queue %v", c.octets, c.extra, b.verdict.DownQueue)
		}
	}
}

func TestQueueNeedsToLast(t *testing.T) {
	b := newBench(t, 1, 30*time.Millisecond)
	flips, was := 0, false
	b.run(time.Minute, func(at time.Duration, x *PathSample) {
		b.uploads(6000)(at, x)
		x.RTT = 30 * time.Millisecond
		if at%(500*time.Millisecond) < 100*time.Millisecond { // bursts of 100 ms
			x.RTT = 100 * time.Millisecond
		}
		if b.verdict.UpQueue != was {
			flips, was = flips+1, b.verdict.UpQueue
		}
	})
	if flips != 0 {
		t.Errorf("the queue's verdict flipped %d times by bursts of 100 ms", flips)
	}
}

func TestLossIsTheShareOfRecentOctets(t *testing.T) {
	b := newBench(t, 2, 30*time.Millisecond)
	b.run(10*time.Second, func(at time.Duration, x *PathSample) {
		b.uploads(10_000)(at, x)
		x.BytesRetrans += 500
	})
	if l := b.verdict.Loss; l < 0.045 || l > 0.055 {
		t.Errorf("loss %.3f, want 0.05", l)
	}
	b.run(time.Minute, b.uploads(10_000))
	if l := b.verdict.Loss; l > 0.001 {
		t.Errorf("loss a minute later %.4f", l)
	}
}
