// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"maps"
	"time"
)

// PathSample is what the kernel knows of one established subflow (struct tcp_info of sock_diag), as main hands it over.
type PathSample struct {
	Key uint64 // identity of the subflow (socket cookie, or a hash of its addresses); never 0, unique within a Step

	Unacked, NotSent uint32        // segments sent and not acknowledged; octets waiting to be sent
	LastAck          time.Duration // age of the last segment with an acknowledgement from the peer (tcpi_last_ack_recv)
	RTT, MinRTT, RTO time.Duration // smoothed, least of the last minutes, and present retransmission timeout; 0: unknown
	RcvRTT           time.Duration // round trip as the receiver sees it (tcpi_rcv_rtt); 0: unknown. Tells the queue of a download
	Timeouts         uint8         // of the retransmission timer since the last progress, whether it doubled or not
	Lost             uint32        // segments thought lost now

	BytesAcked, BytesReceived, BytesSent, BytesRetrans uint64
	DataSegs                                           uint32 // packets with data received, repeated ones too
	OutOfOrder                                         uint32 // of these, such as came before others that were missing

	AppLimited bool // the last delivery was limited by the application, not by the path
}

// Limits of the judgement.
const (
	silenceLeast = 300 * time.Millisecond // below, a scheduler's or radio's pause is more likely than a death
	stoppedLeast = 200 * time.Millisecond // of a download: to suspect costs a probe and nothing else
	silenceOther = 3 * time.Second        // instead, while plenty of other packets still arrive by the link
	otherPackets = 20                     // a second: more than what ARP, router advertisements and retransmissions of a dead path make
	gapFactor    = 5                      // pauses between acknowledgements, as usual on the link, make a silence
	gapMost      = 400 * time.Millisecond
	deafRepeats  = 3               // packets with nothing new in a row from a peer that seems not to hear us
	downloadMin  = 16 << 10        // octets of late: less is not a download whose end is suspect
	progressOld  = 2 * time.Second // Step was not called for so long: what it saw before says nothing about now

	queueLeast  = 20 * time.Millisecond // a queue of less is none
	queueShare  = 0.5                   // of the least round trip, for long paths
	fewSegments = 3 * 1500.0            // octets that may leave together without being a queue
	fewMost     = 250 * time.Millisecond
	queueSettle = 200 * time.Millisecond
	queueGone   = 500 * time.Millisecond
	lossHalf    = 5 * time.Second
	rateHalf    = 250 * time.Millisecond
	minRTTHalf  = 10 * time.Minute
)

// Health judges one link by the TCP figures of its live subflows. The zero value is ready. It has no clock and is not safe for concurrent use.
// Call Step every 50 ms while data is out, less often else.
type Health struct {
	paths map[uint64]*path
	steps uint32
	sum   summary // of the step that was begun
	using Link    // the link, in that step

	origin   time.Time // of the clock of paths
	last     time.Time // of Step
	progress time.Time // when the peer was last heard by any subflow
	spoke    time.Time // the same, but no gap between two steps begins it anew
	met      time.Time // when it last had something of us, or had something new to say
	gap      time.Duration

	inBytes   float64 // received lately, halved each 250 ms
	outBytes  float64 // sent lately, the same
	inPeak    float64
	inAt      time.Time // when octets were last received
	rx        uint64    // link's packet counter at progress
	rxKnown   bool
	sent, bad float64 // octets sent and sent again, halved each lossHalf
	least     time.Duration
	leastRcv  time.Duration
	leastAt   time.Time
	up, down  queue
	gaps      gaps
	delay     time.Duration // round trip with queues, as last seen; 0: unknown

	out     bool // data was out at the last step
	gone    bool // the link was not usable at the last step
	late    bool // this step came so late that its silence proves nothing
	suspect bool
	dead    bool
	since   time.Time
	reason  string
	grave   Link // the link as it was when it died
	probe   probe
	damp    Damp
}

// path is what a step remembers of one subflow. There is one for each subflow of an idle connection: 48 octets, and no pointers.
type path struct {
	acked, received, sent uint64
	out                   time.Duration // since when data is out without progress, on the clock of age; 0: none is out
	retrans               uint32        // the low half of BytesRetrans
	segs                  uint32        // DataSegs
	step                  uint32
	repeat                uint8 // of segs since anything new came, deafRepeats at most
	stale                 bool  // of before the link was gone: its timer may fire late, or never. Until it moves it tells nothing
}

// age is a moment on the clock of paths, never 0.
func (h *Health) age(t time.Time) time.Duration { return max(1, t.Sub(h.origin)) }

// Step takes the figures of all established subflows that use the link, now, and gives the verdict.
func (h *Health) Step(now time.Time, samples []PathSample, link Link) Verdict {
	h.Begin(now, link)
	for i := range samples {
		h.Add(&samples[i])
	}
	return h.End()
}

// Begin begins a Step whose samples come one by one: Add each, then End gives the verdict. So nobody has to keep the figures of
// thousands of subflows at once.
func (h *Health) Begin(now time.Time, link Link) {
	if h.paths == nil {
		h.paths, h.origin = map[uint64]*path{}, now
	}
	if h.last.IsZero() || now.Sub(h.last) > progressOld || now.Before(h.last) {
		h.resume(now)
	}
	if link.Usable && h.gone {
		h.revive(now)
	}
	h.gone = !link.Usable
	h.steps++
	dt := now.Sub(h.last)
	h.last, h.using, h.sum = now, link, summary{dt: dt}
	h.sent *= halved(dt, lossHalf)
	h.bad *= halved(dt, lossHalf)
	h.gaps.begin(dt)
	h.inBytes *= halved(dt, rateHalf)
	h.outBytes *= halved(dt, rateHalf)
	h.inPeak = max(h.inBytes, h.inPeak*halved(dt, 500*time.Millisecond))
}

// Add takes the figures of one subflow, and keeps nothing of x.
func (h *Health) Add(x *PathSample) {
	p := h.one(x)
	h.silence(x, p)
	h.sum.delays(x)
	h.gaps.segs += x.DataSegs
	h.gaps.apart += x.OutOfOrder
}

// End gives the verdict of the Step that Begin began.
func (h *Health) End() Verdict {
	now, sum := h.last, h.sum
	if sum.moved { // somebody on the link was heard, so that nobody's silence counts
		sum.silent = 0
	}
	h.inPeak = max(h.inPeak, h.inBytes)
	if len(h.paths) > sum.n {
		maps.DeleteFunc(h.paths, func(_ uint64, p *path) bool { return p.step != h.steps })
	}
	if sum.moved {
		h.heard(now, sum.heardAt, h.using)
	}
	if sum.met {
		h.met = later(h.met, sum.heardAt)
		h.probe.moot = 0
	}
	h.queues(now, &sum)
	h.gaps.end(now, h.least)
	h.suspect = h.stopped(now, sum, sum.n) || sum.deaf && now.Sub(h.progress) >= max(silenceLeast, 3*sum.rttLeast(h.least))
	h.late = sum.dt > silenceLeast && !h.late // we ourselves were held up: the kernel may be as well, wait for a second look
	h.judge(now, sum, h.using)
	h.out = sum.out > 0
	return h.verdict(now, sum, sum.n)
}

// resume forgets what is too old to compare with: counters stay, ages begin anew.
func (h *Health) resume(now time.Time) {
	for _, p := range h.paths {
		if p.out != 0 {
			p.out = h.age(now)
		}
	}
	h.last, h.progress, h.gap, h.inBytes, h.outBytes, h.inPeak = now, now, 0, 0, 0, 0
	h.rxKnown = false
	if h.spoke.IsZero() {
		h.spoke = now
	}
}

// summary is one Step's view over all subflows.
type summary struct {
	n        int
	dt       time.Duration // since the last step
	deaf     bool          // the peer repeats itself on some subflow
	moved    bool          // the peer was heard
	met      bool          // and has had something of us, or had something new to say
	heardAt  time.Time     // when, at the latest
	out      int           // subflows with data out
	silent   int           // of these, the ones silent for longer than they may be
	longest  time.Duration
	allowed  time.Duration // of the one with the longest silence
	timeouts uint8
	rtt      time.Duration

	least, up, rcv time.Duration // the least round trips: of all, of what is busy upwards, and as receivers see them; 0: unknown
}

// one compares a subflow with what it was one step ago.
func (h *Health) one(x *PathSample) *path {
	s, now, dt := &h.sum, h.last, h.sum.dt
	s.n++
	p, known := h.paths[x.Key]
	if !known {
		p = &path{}
		h.paths[x.Key] = p
	}
	moved, at := false, now.Add(-x.LastAck)
	if known && x.BytesAcked >= p.acked && x.BytesReceived >= p.received && x.BytesSent >= p.sent {
		// A peer that repeats what it has sent hears nothing of us: the way there is cut, and its repetitions are no sign of life.
		again := x.DataSegs - p.segs
		switch {
		case x.BytesReceived > p.received:
			p.repeat = 0
		case again < 1<<31:
			p.repeat += uint8(min(again, deafRepeats-uint32(p.repeat)))
		}
		deaf := again > 0 && x.BytesReceived == p.received && x.BytesAcked == p.acked
		s.deaf = s.deaf || p.repeat >= deafRepeats
		met := x.BytesAcked > p.acked || x.BytesReceived > p.received
		s.met = s.met || met
		moved = met || x.LastAck < dt && !deaf
		at = now.Add(-min(x.LastAck, dt)) // data without an acknowledgement came since the last step
		h.sent += float64(x.BytesSent - p.sent)
		h.outBytes += float64(x.BytesSent - p.sent)
		h.bad += float64(uint32(x.BytesRetrans) - p.retrans)
		if x.BytesReceived > p.received {
			h.inBytes += float64(x.BytesReceived - p.received)
			h.inAt = now
		}
	} else {
		moved = x.LastAck < progressOld // a newcomer has been answered, else it were not established
		*p = path{}
	}
	p.segs = x.DataSegs
	p.acked, p.received, p.sent, p.retrans, p.step = x.BytesAcked, x.BytesReceived, x.BytesSent, uint32(x.BytesRetrans), h.steps
	switch {
	case x.Unacked == 0:
		p.out = 0
	case moved || p.out == 0:
		p.out = h.age(now)
	}
	if moved {
		p.stale = false
		if !s.moved || at.After(s.heardAt) {
			s.heardAt = at
		}
		s.moved = true
	}
	if x.RTT > 0 && (s.rtt == 0 || x.RTT < s.rtt) {
		s.rtt = x.RTT
	}
	return p
}

// silence judges one subflow with data out. Whether others of the link were heard is known at the End.
func (h *Health) silence(x *PathSample, p *path) {
	if p.out == 0 || p.stale {
		return
	}
	s := &h.sum
	s.out++
	quiet := min(h.age(h.last)-p.out, h.last.Sub(h.progress))
	allowed := h.allowed(x)
	if quiet < allowed {
		return
	}
	s.silent++
	if quiet >= s.longest {
		s.longest, s.allowed, s.timeouts = quiet, allowed, x.Timeouts
	}
}

// allowed is how long a subflow with data out may be silent. Three round trips, and while acknowledgements came
// in a steady stream (a deep queue inflates the round trip, but not the pause between two of them) some pauses. One
// whose application sends little has no stream to miss: its own retransmission timer has to have fired as well.
func (h *Health) allowed(x *PathSample) time.Duration {
	d := 3 * x.RTT
	if h.gap > 0 && !x.AppLimited {
		least := max(h.least, x.MinRTT)
		d = min(d, max(3*least, silenceLeast+(x.RTT-least)/4))
	}
	d = max(d, silenceLeast, gapFactor*h.gap)
	if x.AppLimited && x.Timeouts == 0 {
		d = max(d, 2*x.RTO, 2*silenceLeast)
	}
	return d
}

// heard notes progress and learns the usual pause between two.
func (h *Health) heard(now, at time.Time, link Link) {
	if pause := at.Sub(h.progress); pause > 0 && h.out { // a pause without data out is no pause but rest
		pause = min(pause, gapMost)
		if h.gap == 0 || pause > h.gap {
			h.gap = pause // slow to trust, quick to doubt: a long pause counts at once and is forgotten slowly
		} else {
			h.gap += (pause - h.gap) / 8
		}
	}
	h.progress, h.spoke = later(h.progress, at), later(h.spoke, at)
	h.rx, h.rxKnown = link.RxPackets, true
}

// rttLeast is the link's least round trip, or the present one where none is known.
func (s summary) rttLeast(least time.Duration) time.Duration {
	if least > 0 {
		return least
	}
	return s.rtt
}

func (h *Health) loss() float64 {
	if h.sent < 1500 { // less than a segment says nothing
		return 0
	}
	return min(1, h.bad/h.sent)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
