// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	suspicion      = 1500 * time.Millisecond // least time for an answer to a question, of an upstream that keeps a connection waiting
	suspicionFirst = 1800 * time.Millisecond // when nobody knows how long an answer takes
	idleProbe      = time.Minute             // without a sign of life, an upstream is asked on links that cost nothing

	impatienceLeast = 400 * time.Millisecond // for an answer, when the handshake shows that the link works
)

// heardNow notes a sign of life.
func (u *upstream) heardNow() { u.heard.Store(u.age(time.Now())) }

func (u *upstream) heardSince(t time.Time) bool { return u.heard.Load() >= u.age(t) }

// servedSince tells whether it has taken a connection since t, or told what its server says.
func (u *upstream) servedSince(t time.Time) bool { return u.served.Load() > u.age(t) }

// age is an instant as ns after made. Both have monotonic readings, so that nothing is heard in the future when somebody sets the clock back.
func (u *upstream) age(t time.Time) int64 { return int64(t.Sub(u.made)) }

// answered notes how long an answer took. Part of it may have been the server's, so that more than two seconds are not
// believed.
func (u *upstream) answered(took time.Duration) {
	u.served.Store(u.age(time.Now()))
	took = min(took, 2*time.Second)
	old := time.Duration(u.usual.Load())
	if old == 0 {
		old = took
	}
	u.usual.Store(int64(old + (took-old)/4))
}

// late tells whether what was to be awaited for so long was looked at much later: then the machine had no time for us, and the
// silence may be our own. A thousand connections at once do that to a slow router.
func late(took, patience time.Duration) bool { return took > patience+patience/4 }

// patience is how long a question may take: a multiple of the usual, since a full line delays it and may lose a packet of it.
func (u *upstream) patience() time.Duration {
	usual := time.Duration(u.usual.Load())
	if usual == 0 {
		return suspicionFirst
	}
	return min(max(suspicion, 4*usual), 3*probeTimeout)
}

// impatience is how long an answer may take before the upstream is examined, on a connection whose handshake is complete.
func (u *upstream) impatience() time.Duration {
	usual := time.Duration(u.usual.Load())
	if usual == 0 {
		return silence
	}
	return min(max(impatienceLeast, 4*usual), silence)
}

// doubt begins an examination, unless one is under way. With hold, connections that come meanwhile wait for its end.
func (u *upstream) doubt(hold bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if hold && u.question == nil && !u.out {
		u.question = make(chan struct{})
	}
	if u.suspected {
		return false
	}
	u.suspected = true
	return true
}

// release lets those go on who wait for the end of an examination.
func (u *upstream) release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.letGo()
}

// letGo is release with mu held.
func (u *upstream) letGo() {
	if u.question != nil {
		close(u.question)
		u.question = nil
	}
}

// endDoubt ends an examination, at once with the waits for it: nobody would end one that begins in between.
func (u *upstream) endDoubt() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.letGo()
	u.suspected = false
}

// inQuestion tells whether certain would wait.
func (u *upstream) inQuestion() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.question != nil
}

// certain waits while the upstream is being examined, and tells whether it is in: what is said to one that accepts and does not
// answer can be said to no other any more.
func (u *upstream) certain(most time.Duration) bool {
	u.mu.Lock()
	question := u.question
	u.mu.Unlock()
	if question == nil {
		return true
	}
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-question:
	case <-t.C:
	}
	return u.up()
}

// suspect finds out whether an upstream that keeps a connection waiting is dead.
func (r *Relay) suspect(u *upstream) { r.examine(u, false) }

// examine finds out whether an upstream is dead, or merely the server is slow: it is asked over all links, those that cost money a
// little later. One whose connections still move octets is not dead, however long its answer takes. With hold, new
// connections wait until it is known.
func (r *Relay) examine(u *upstream, hold bool) {
	if u.Protocol == Transparent || !u.up() || !u.doubt(hold) {
		return
	}
	defer u.endDoubt()
	if !r.question(u, false) {
		r.question(u, true)
	}
}

// askWhom finds out whether an upstream denies us all, or what LAN hosts ask for. No examination is needed meanwhile.
func (r *Relay) askWhom(u *upstream, err error) {
	if !u.up() || !u.doubt(false) {
		return
	}
	defer u.endDoubt()
	for _, link := range r.plan.Load().links(Bond) {
		if r.greet(context.Background(), u, link, probeTimeout) == nil {
			u.heardNow()
			return
		}
	}
	u.rest(0, err)
}

// question asks once. It has no verdict when nobody looked for the answers in time, unless it is to be the last.
func (r *Relay) question(u *upstream, last bool) (verdict bool) {
	began, moved := time.Now(), r.flows.moved(u.Name)
	type answer struct {
		from netip.AddrPort
		link *PlanLink
		err  error
	}
	answers, asked, patience := make(chan answer), 0, u.patience()
	ctx, enough := context.WithCancel(context.Background())
	defer enough()
	for _, link := range r.plan.Load().links(Bond) {
		for _, a := range u.Addrs {
			asked++
			go func() {
				if link.Metered && !passes(ctx, patience/3) { // only when the others are silent
					answers <- answer{a, link, errFamily}
					return
				}
				answers <- answer{a, link, r.greetAddress(context.Background(), u, link, a, time.Until(began.Add(patience)))}
			}()
		}
	}
	alive, silent := map[netip.AddrPort]bool{}, map[netip.AddrPort]answer{}
	for range asked {
		if a := <-answers; a.err == nil {
			alive[a.from] = true
			enough()
			u.release()
		} else if !errors.Is(a.err, errFamily) {
			silent[a.from] = a
		}
	}
	if len(alive) > 0 {
		u.heardNow()
	}
	for from, a := range silent {
		switch {
		case alive[from]:
		case len(alive) > 0: // this address is dead, the upstream is not
			u.restAddress(from, 0, a.link)
		case u.heardSince(began), r.flows.moved(u.Name) != moved:
		case !last && late(time.Since(began), patience):
			return false
		default:
			u.failures.Add(1)
			u.rest(0, fmt.Errorf("no answer on any link: %w", a.err))
			return true
		}
	}
	return true
}

// passes waits, and tells whether it was for the whole time.
func passes(ctx context.Context, d time.Duration) bool { return !within(ctx.Done(), d) }

// askIdle asks an upstream that nothing was heard of for a while, so that it is known to be dead before somebody needs
// it, and tells when that is due next. Links that cost money stay silent.
func (r *Relay) askIdle(ctx context.Context, u *upstream, now time.Time) time.Duration {
	if u.Protocol == Transparent || u.Protocol == SOCKS4a {
		return time.Hour
	}
	if left := u.made.Add(time.Duration(u.heard.Load()) + idleProbe).Sub(now); left > 0 {
		return left
	}
	links := r.plan.Load().links(NoLTE)
	for _, link := range links {
		if r.greet(ctx, u, link, probeTimeout) == nil {
			u.heardNow()
			return idleProbe
		}
	}
	if len(links) > 0 && ctx.Err() == nil {
		r.suspect(u)
	}
	u.heardNow() // not heard, but asked
	return idleProbe
}

// moved sums up what an upstream's living connections have carried, both ways.
func (fs *flows) moved(upstream string) (octets uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.list {
		if f.flow == nil || f.up == nil || f.up.Name != upstream {
			continue
		}
		if c := f.conn.Load(); c != nil {
			up, down := c.Moved()
			octets += up + down
		}
	}
	return octets
}
