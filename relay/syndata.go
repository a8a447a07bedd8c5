// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"time"
)

// synVerdict is what data in the SYN, and MPTCP, came to between one link and this upstream.
type synVerdict struct {
	bad              int // in a row
	fell             int // connections in a row that lost MPTCP, with or without such data; see stripped
	again            time.Time
	until            time.Time
	accepted, failed int64
	fine             time.Time // when it was last seen to go well
}

// fastOpen decides whether data may go in the SYN.
func (u *upstream) fastOpen(link string, now time.Time) bool {
	switch u.FastOpen {
	case "always":
		return true
	case "never":
		return false
	}
	if u.Protocol != Convert {
		return false // SOCKS servers do not take data in the SYN, as a rule, and refusing it costs the bonding
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.syn[link]
	return v == nil || v.bad < synLimit || !now.Before(v.until)
}

// trusts tells that data in the SYN came out well without a look, which costs two system calls: it was seen to a moment ago. It is counted as
// accepted then. After a failure each connection is looked at, so that synLimit of them and certainFor is what a verdict takes.
func (u *upstream) trusts(link string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.syn[link]
	if v == nil || v.bad > 0 || now.Sub(v.fine) >= certainFor {
		return false
	}
	v.accepted++
	return true
}

// judge remembers how data in the SYN came out. After synLimit failures in a row it rests; then one connection tries
// again and its result decides.
func (u *upstream) judge(link string, fine bool, retry time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.verdict(link)
	if fine {
		v.accepted++
		v.bad, v.until, v.fine = 0, time.Time{}, time.Now()
		return
	}
	v.failed++
	if v.bad++; v.bad >= synLimit {
		v.bad, v.until = synLimit, time.Now().Add(retry)
	}
}

// verdict finds a link's, or makes one. mu is held.
func (u *upstream) verdict(link string) *synVerdict {
	v := u.syn[link]
	if v == nil {
		v = &synVerdict{}
		u.syn[link] = v
	}
	return v
}
