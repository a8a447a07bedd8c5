// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	weakLimit   = 2                // timeouts, resets and nonsense in a row that put an upstream out
	deniedLimit = 8                // Errors 32 in a row after which it is asked: a LAN host may ask for what is forbidden
	probeLeast  = time.Second      // the first probe of one that is out, doubling
	probeMost   = 30 * time.Second // up to this
	refusedRest = time.Minute      // after Error 32 and the like
	versionRest = 10 * time.Minute // after Error 0 without a version of ours
	synLimit    = 2                // connections in a row whose SYN data was refused or cost the bonding
	certainFor  = 20 * time.Millisecond
)

// upstream is a configured Upstream with what was learnt of it, which outlives a change of preferences.
type upstream struct {
	Upstream
	*learnt
}

// learnt is what was learnt of an upstream.
type learnt struct {
	relay    *Relay
	sessions atomic.Int64
	failures atomic.Int64
	refusals atomic.Int64 // Errors 32 though a cookie is configured
	made     time.Time
	heard    atomic.Int64 // age of the last sign of life, or of the last question
	served   atomic.Int64 // age of the last connection that it took, or told the server's answer to

	usual atomic.Int64 // ns that an answer takes

	warm pool

	mu         sync.Mutex
	suspected  bool          // is being asked
	question   chan struct{} // closed when the answer is known, for connections that wait for it; nil: none shall
	out        bool
	since      time.Time
	until      time.Time // the next probe
	backoff    time.Duration
	reason     string
	ended      bool // another program answers there by now, or none
	weak       int  // failures in a row that prove nothing alone
	denials    int  // Errors 32 in a row
	cookie     []byte
	noExtended bool // Error 33: does not know the option of Extended Connect
	syn        map[string]*synVerdict
	rests      map[netip.AddrPort]*resting // addresses that failed
	shuns      map[string]time.Time        // links by name, until when
	hopes      map[*context.CancelFunc]struct{}
}

// keep gives an upstream what is known of the same one of the old settings, or makes a new one.
func (s *settings) keep(u Upstream, r *Relay) *upstream {
	if s != nil {
		for _, o := range s.upstreams {
			if o.same(&u) {
				return &upstream{u, o.learnt}
			}
		}
	}
	n := &upstream{u, &learnt{relay: r, made: time.Now(), since: time.Now(), syn: map[string]*synVerdict{}}}
	if u.Cookie != "" {
		n.cookie = []byte(u.Cookie)
	}
	n.heardNow()
	return n
}

// same tells whether two are one but for preferences. Addresses may come in another order, as resolvers shuffle the targets of SRV records.
func (u *Upstream) same(o *Upstream) bool {
	return o.Name == u.Name && o.Protocol == u.Protocol && o.User == u.User && o.Password == u.Password && o.Cookie == u.Cookie &&
		len(o.Addrs) == len(u.Addrs) && !slices.ContainsFunc(o.Addrs, func(a netip.AddrPort) bool { return !slices.Contains(u.Addrs, a) })
}

// anyUpstream tells whether one is not out.
func (r *Relay) anyUpstream() bool {
	return slices.ContainsFunc(r.settings.Load().upstreams, func(u *upstream) bool { return u.up() })
}

func (u *upstream) up() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.out
}

// order lists the upstreams that are not out as one connection shall try them: by priority, among equals by weighted
// lot.
func (s *settings) order() []*upstream {
	if len(s.upstreams) == 1 {
		if s.upstreams[0].up() {
			return s.upstreams
		}
		return nil
	}
	type lot struct {
		u *upstream
		v float64
	}
	var lots []lot
	for _, u := range s.upstreams {
		if u.up() {
			// The least of exponentials wins by weight. (rand.ExpFloat64 would bring 3 kB of tables.)
			lots = append(lots, lot{u, -math.Log(1-rand.Float64()) / float64(u.Weight)})
		}
	}
	sort.Slice(lots, func(i, j int) bool {
		return cmp.Or(cmp.Compare(lots[i].u.Priority, lots[j].u.Priority), cmp.Compare(lots[i].v, lots[j].v)) < 0
	})
	us := make([]*upstream, len(lots))
	for i := range lots {
		us[i] = lots[i].u
	}
	return us
}

// good tells that the upstream answered as it should.
func (u *upstream) good() {
	u.heardNow()
	u.mu.Lock()
	u.weak, u.denials = 0, 0
	back := u.out
	if back {
		u.out, u.since, u.reason, u.until, u.backoff = false, time.Now(), "", time.Time{}, 0
	}
	u.mu.Unlock()
	if back {
		u.relay.log.Info("relay: upstream is back", "upstream", u.Name)
		u.relay.changed()
	}
}

// bad tells of a failure that proves nothing before there are weakLimit in a row.
func (u *upstream) bad(err error) {
	u.failures.Add(1)
	u.mu.Lock()
	u.weak++
	enough := u.weak >= weakLimit
	u.mu.Unlock()
	if enough {
		u.rest(0, err)
	}
}

// denied tells of an Error 32. After deniedLimit in a row the upstream is asked whom it denies.
func (u *upstream) denied(err error) {
	u.failures.Add(1)
	u.mu.Lock()
	u.denials++
	enough := u.denials >= deniedLimit
	if enough {
		u.denials = 0
	}
	u.mu.Unlock()
	if enough {
		go u.relay.askWhom(u, err)
	}
}

// rest takes the upstream out because of err. It is probed after wait; 0: after a second, then ever more seldom.
func (u *upstream) rest(wait time.Duration, err error) {
	now, reason := time.Now(), err.Error()
	u.mu.Lock()
	news := !u.out
	clear(u.rests) // all are asked from now on
	if news {
		u.out, u.since, u.backoff, u.ended = true, now, probeLeast, ended(err)
	}
	u.reason = reason
	if next := now.Add(max(wait, u.backoff)); news || wait > 0 && next.After(u.until) {
		u.until = next
	}
	u.mu.Unlock()
	if !news {
		return
	}
	u.mu.Lock()
	for give := range u.hopes {
		(*give)()
	}
	u.mu.Unlock()
	u.warm.drain()
	u.relay.log.Warn("relay: upstream is out", "upstream", u.Name, "reason", reason, "wait", wait)
	u.relay.changed()
	u.relay.askSoon()
	for _, o := range u.relay.settings.Load().upstreams { // can they take over?
		if o.learnt != u.learnt && !o.heardSince(now.Add(-time.Second)) {
			go u.relay.suspect(o)
		}
	}
}

// ended tells whether an error proves that the program that served before is no more.
func ended(err error) bool {
	var none *nonsense
	return errors.Is(err, unix.ECONNREFUSED) || errors.As(err, &none)
}

// hope is how long what was said to an upstream that is out may still be answered.
func (u *upstream) hope() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return hopeEnded
	}
	return cmp.Or(u.relay.hope, hopeSilent)
}

// enlist gives a context that ends when the upstream goes out, or is out already, for one that waits for its answer. leave is to be called.
func (u *upstream) enlist() (ctx context.Context, leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hopes == nil {
		u.hopes = make(map[*context.CancelFunc]struct{})
	}
	u.hopes[&cancel] = struct{}{}
	if u.out {
		cancel()
	}
	return ctx, func() {
		u.mu.Lock()
		delete(u.hopes, &cancel)
		u.mu.Unlock()
		cancel()
	}
}

// askSoon has probeUntil look at what is due.
func (r *Relay) askSoon() {
	select {
	case r.probe <- struct{}{}:
	default:
	}
}

// theCookie gives the cookie to send, nil without.
func (u *upstream) theCookie() []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cookie
}

func (u *upstream) setCookie(c []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cookie = c
}

// forget drops a cookie that the converter gave and now refuses: its clock was set, or the cookie has grown old. It asks for another then. A
// configured one stays, and so does one that was given meanwhile. It tells whether one was refused that may be asked for anew.
func (u *upstream) forget(refused []byte) bool {
	if len(refused) == 0 || u.Cookie != "" {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if bytes.Equal(u.cookie, refused) {
		u.cookie = nil
	}
	return true
}

func (u *upstream) extended() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.noExtended
}

func (u *upstream) noOptions() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.noExtended = true
}

// Upstreams tells the health of each upstream in the order of the configuration.
func (r *Relay) Upstreams() []UpstreamStatus {
	s := r.settings.Load()
	list := make([]UpstreamStatus, 0, len(s.upstreams))
	now := time.Now()
	for _, u := range s.upstreams {
		list = append(list, u.status(now))
	}
	return list
}

func (u *upstream) status(now time.Time) UpstreamStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := UpstreamStatus{Name: u.Name, Protocol: u.Protocol, Addrs: append([]netip.AddrPort(nil), u.Addrs...), Up: !u.out,
		Since: u.since, Reason: u.reason, Until: u.until, Cookie: u.cookie != nil,
		Sessions: u.sessions.Load(), Failures: u.failures.Load()}
	for link, v := range u.syn {
		if v.accepted+v.failed == 0 {
			continue // there never was such data
		}
		st.SYNData = append(st.SYNData, SYNData{Link: link, Allowed: v.bad < synLimit || !now.Before(v.until),
			Until: v.until, Accepted: v.accepted, Failed: v.failed})
	}
	sort.Slice(st.SYNData, func(i, j int) bool { return st.SYNData[i].Link < st.SYNData[j].Link })
	return st
}
