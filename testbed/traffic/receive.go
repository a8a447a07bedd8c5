// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// receive reads a stream to its end and fills the report. begin is when the connection was begun; a deadline that
// passes is the end of a demand by time, not an error, if until is set.
func receive(r io.Reader, seed uint64, begin time.Time, rep *Report, until bool) {
	rep.Bad = -1
	buf := make([]byte, 64<<10)
	var last time.Time
	for {
		n, err := r.Read(buf)
		now := time.Now()
		if n > 0 {
			rep.saw(now, begin, &last)
			if bad := Check(buf[:n], seed, rep.Octets); bad >= 0 && rep.Bad < 0 {
				rep.Bad = rep.Octets + int64(bad)
				rep.Wrong = misplaced(buf[bad:n], seed, rep.Bad)
			}
			rep.Series.Add(now, int64(n))
			rep.Octets += int64(n)
		}
		if err != nil {
			rep.Done = milliseconds(now.Sub(begin))
			ended := errors.Is(err, io.EOF) || until && errors.Is(err, os.ErrDeadlineExceeded)
			if !ended {
				rep.Error = err.Error()
			}
			if !errors.Is(err, io.EOF) && !last.IsZero() {
				rep.saw(now, begin, &last) // it was still waiting
			}
			return
		}
	}
}

// misplaced tells where in the stream octets belong that came at the wrong place, in words.
func misplaced(got []byte, seed uint64, at int64) string {
	const most = 16 << 20
	whole := make([]byte, min(at+1<<20, most))
	Fill(whole, seed, 0)
	if len(got) < 8 {
		return fmt.Sprintf("octet %d is wrong, and the %d that came there are too few to tell whose they are: %x", at, len(got), got)
	}
	if i := bytes.Index(whole, got[:8]); i >= 0 {
		return fmt.Sprintf("at octet %d came what belongs at %d", at, i)
	}
	return fmt.Sprintf("octet %d is wrong, and what came is nowhere in the stream: %q", at, got[:min(len(got), 48)])
}

// saw notes that octets came.
func (rep *Report) saw(now, begin time.Time, last *time.Time) {
	if last.IsZero() {
		rep.First = milliseconds(now.Sub(begin))
	} else if gap := milliseconds(now.Sub(*last)); gap > rep.Stall {
		rep.Stall, rep.StallAt = gap, last.UnixMilli()
	}
	*last = now
}

// send writes a stream: so many octets, or without end for -1, at a rate in bit/s (0: none). It stops at an error, or at until if that is set.
func send(w io.Writer, seed uint64, octets int64, rate float64, until time.Time) error {
	const (
		tick = 5 * time.Millisecond
		// lagMost bounds what a sender that was held up makes good: a rate is what it never exceeds for long, as a live stream's.
		lagMost = 20 * time.Millisecond
		// pieceLeast fills a packet: a rate is one of payload, and small packets would make a line carry twice as much.
		pieceLeast = 1400
	)
	chunk := 64 << 10
	if rate > 0 {
		chunk = min(chunk, max(pieceLeast, int(rate/8*tick.Seconds())))
	}
	buf := make([]byte, chunk)
	start := time.Now()
	for sent := int64(0); octets < 0 || sent < octets; {
		if rate > 0 {
			due := start.Add(time.Duration(float64(sent) * 8 / rate * float64(time.Second)))
			if late := time.Since(due); late > lagMost {
				start = start.Add(late - lagMost)
			}
			time.Sleep(time.Until(due))
		}
		if !until.IsZero() && !time.Now().Before(until) {
			return nil
		}
		b := buf
		if octets >= 0 {
			b = b[:min(int64(len(b)), octets-sent)]
		}
		Fill(b, seed, sent)
		n, err := w.Write(b)
		sent += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}
