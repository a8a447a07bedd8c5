// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/policy"
)

// outage is a time in which no link carried anything, and the while after it. Connections live through one on the subflow that they had, and
// its TCP doubles the distance of its repetitions, or has taken the outage for a round trip: what was under way from the concentrator waited for as
// long again, up to 10 s after a cut of both links for 3 s. Our kernel does not know that something is missing, and nothing that it could say
// would have the other one repeat it sooner, but one more subflow does: MPTCP repeats there what a subflow has lost several times
// (net/mptcp/sched.c, mptcp_subflow_get_retrans), if need be by a silent one. So each link that has returned beside the first gets one for
// a while; where it had one, that is made anew, as a join that was to begin while the link was away is not tried again.
type outage struct {
	carried bool      // some link did
	since   time.Time // zero: some link carries
	until   time.Time // the while after it
	renew   []bool    // by link: the endpoint is to be removed first
	begun   bool      // the while has just begun
}

const (
	outageLeast = 500 * time.Millisecond // what is shorter costs two repetitions
	relightFor  = 10 * time.Second       // links return one after the other
	renewMost   = time.Second            // for a removal, which waits while a connection has no other subflow
)

// over tells whether an outage ends now. first is the link in use, -1: none; mute: nobody answers by any, which is the same to connections.
func (o *outage) over(now time.Time, first int, mute bool) bool {
	o.begun = false
	if first < 0 || mute {
		if o.carried && o.since.IsZero() {
			o.since = now
		}
		return false
	}
	if !o.since.IsZero() && now.Sub(o.since) >= outageLeast {
		o.until, o.begun = now.Add(relightFor), true
	}
	o.carried, o.since = true, time.Time{}
	return o.begun
}

// step changes views where links that have returned shall have a silent subflow, after over.
func (o *outage) step(now time.Time, first int, views []pathView, states []pathState) {
	if !o.since.IsZero() || !now.Before(o.until) {
		return
	}
	if o.begun {
		o.renew = make([]bool, len(views))
		for i := range views {
			o.renew[i] = i != first && !views[i].dead
		}
	}
	begin := o.until.Add(-relightFor)
	for i := range views {
		v := &views[i]
		if i >= len(o.renew) || i == first {
			continue
		}
		o.renew[i] = o.renew[i] && states[i].want != endpointNone && now.Sub(begin) < renewMost
		switch {
		case o.renew[i]:
			v.plan = policy.Off
		case v.plan == policy.Off && !v.dead && v.spare:
			v.plan = policy.Standby
		}
	}
}
