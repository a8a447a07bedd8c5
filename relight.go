// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"spillway/linkmon"
	"spillway/policy"
)

// outage is a time in which no link carried anything, and the while after it. Connections live through one on the subflow that they had, and
// its TCP doubles the distance of its repetitions, or has taken the outage for a round trip: what was under way from the concentrator waited for as
// long again, up to 10 s after a cut of both links for 3 s. Our kernel does not know that something is missing, and nothing that it could say
// would have the other one repeat it sooner, but one more subflow does: MPTCP repeats there what a subflow has lost several times
// (net/mptcp/sched.c, mptcp_subflow_get_retrans), if need be by a silent one. So each link that has returned beside the first gets one for
// a while; where it had one, that is made anew, as a join that was to begin while the link was away is not tried again.
//
// An acknowledgement from here would have the far end go on where only acknowledgements were lost. But MPTCP takes it for a sign that the subflow
// lives, and begins anew to count how long that is silent before another repeats for it: what was lost came later (both links cut for 3 s, MP_PRIO sent
// at once: 4.4 s, and 6.5 in two runs of ten, against 4.3). A keep-alive changes nothing (relay.AskAll).
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

// returned lists the devices, by index, of links that have become usable and have a gateway to go by.
func returned(before, now []linkmon.Link) (devices []int) {
	for i := range min(len(before), len(now)) {
		if l := &now[i]; l.Usable && !before[i].Usable && l.Route4 && l.Gateway4.IsValid() {
			devices = append(devices, l.Index)
		}
	}
	return devices
}
