// SPDX-License-Identifier: Apache-2.0

package linkmon

import "time"

// meter is what the monitor remembers of one link between readings.
type meter struct {
	name     string
	index    int
	newest   int    // the newest device of all while the link had one
	before   uint64 // octets of the device that are not the link's
	down, up Rate
	damp     Damp
}

// meter turns the counters that links carry into their rates.
func (l *loop) meter(now time.Time, links []Link) {
	l.meters = follow(l.meters, links)
	for i := range links {
		k, m := &links[i], &l.meters[i]
		if k.Index != m.index { // another device has other counters
			if m.before = 0; k.Index <= m.newest {
				m.before = k.RxBytes + k.TxBytes // it was there, and not the link's
			}
			m.index = k.Index
			m.down.Restart()
			m.up.Restart()
		}
		if k.Index > 0 {
			m.newest = l.newest
		}
		k.Before = m.before
		m.down.Add(now, k.RxBytes)
		m.up.Add(now, k.TxBytes)
		k.DownRate, k.DownPeak, k.UpRate, k.UpPeak = m.down.Bit, m.down.Peak, m.up.Bit, m.up.Peak
	}
}

// follow orders the meters as the links are; a link that is new begins with a new one.
func follow(old []meter, links []Link) []meter {
	same := len(old) == len(links)
	for i := 0; same && i < len(links); i++ {
		same = old[i].name == links[i].Name
	}
	if same {
		return old
	}
	all := make([]meter, len(links))
	for i, k := range links {
		all[i].name = k.Name
		for _, m := range old {
			if m.name == k.Name {
				all[i] = m
			}
		}
	}
	return all
}

// cadence chooses how often to read counters: often once a link carries a fifth of what it can, for then it may be
// full in a moment; rarely when nothing but a whisper flows, for each reading wakes the processor.
func cadence(cfg []LinkConfig, links []Link) time.Duration {
	d := tickIdle
	for i, k := range links {
		if i >= len(cfg) {
			break
		}
		d = min(d, pace(k.DownRate, cfg[i].DownBit), pace(k.UpRate, cfg[i].UpBit))
	}
	return d
}

// pace is the cadence that one direction asks for. Where the capacity is not configured, 5 Mbit/s is supposed: a slow
// line, so that it is read too often rather than too rarely.
func pace(rate, capacity float64) time.Duration {
	if capacity <= 0 {
		capacity = 5e6
	}
	switch {
	case rate >= 0.2*capacity:
		return tickBusy
	case rate >= 0.01*capacity:
		return tickSome
	default:
		return tickIdle
	}
}
