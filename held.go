// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"spillway/kernel"
	"spillway/nfqueue"
	"spillway/relay"
)

// With relay.faithful the firewall holds a LAN host's SYN until the relay knows what the server says. The table has the rule for that
// only while somebody reads the queue.

const (
	heldMost  = 384 // packets in the queue: the relay's own limit, and some that wait to be looked at
	heldFirst = time.Second
	heldRetry = 5 * time.Minute // each asks nft
)

// holdSYNs reads the queue of held SYNs while the configuration asks for it. What goes wrong is logged once, and tried again.
func (h *house) holdSYNs(ctx context.Context) error {
	said, wait := "", heldFirst
	for ctx.Err() == nil {
		var again <-chan time.Time // never, when it is not asked for
		if h.currentConfig().Relay.Faithful {
			round, end := context.WithCancel(ctx)
			go func() {
				select {
				case <-h.rehold:
					end()
				case <-round.Done():
				}
			}()
			err := h.readHeld(ctx, round)
			changed := round.Err() != nil
			end()
			if changed { // the configuration, or the end
				said, wait = "", heldFirst
				continue
			}
			if err == nil {
				err = errNotRead
			}
			if err.Error() != said {
				said = err.Error()
				h.log.Warn("SYNs are not held until the server answers (relay.faithful); trying again", "error", err)
			}
			again, wait = time.After(wait), min(2*wait, heldRetry) // a predecessor may be the reader still
		}
		select {
		case <-ctx.Done():
		case <-h.rehold:
		case <-again:
		}
	}
	return nil
}

// readHeld reads until the round ends, or ctx, which is the daemon's, or something fails.
func (h *house) readHeld(ctx, round context.Context) error {
	err := h.kernel.CanQueue(round)
	if err != nil {
		h.holding(ctx, err)
		return err
	}
	q, err := nfqueue.Open(kernel.QueueNumber, heldMost)
	if err != nil {
		h.holding(ctx, err)
		return err
	}
	defer q.Close()
	h.holding(ctx, nil)
	h.log.Info("SYNs are held until the server answers (relay.faithful)")
	err = q.Run(round, func(p nfqueue.Packet) { h.knock(q, p) })
	h.holding(ctx, errNotRead) // the rule goes before the reader, though a SYN that finds none would pass
	return err
}

var errNotRead = errors.New("nobody reads the queue")

// holding tells the loop whether SYNs are held; why not, if they are not.
func (h *house) holding(ctx context.Context, why error) {
	h.call(ctx, func() {
		h.notHeld = why
		h.render()
	})
}

// knock asks the relay about a held SYN.
func (h *house) knock(q *nfqueue.Queue, p nfqueue.Packet) {
	n := kernelNumbers(h.shared.Load())
	if !p.Src.IsValid() {
		q.Accept(p.ID, n.Let(p.Mark))
		return
	}
	h.relay.Knock(relay.Knock{Src: p.Src, Dst: p.Dst, Mark: p.Mark, DSCP: p.DSCP}, func(what relay.Reply) {
		switch what {
		case relay.Forget:
			q.Drop(p.ID)
		case relay.Refuse:
			q.Accept(p.ID, n.Refuse(p.Mark))
		case relay.Unreachable:
			q.Accept(p.ID, n.Unreachable(p.Mark))
		default:
			q.Accept(p.ID, n.Let(p.Mark))
		}
	})
}
