// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"spillway/json"
	"spillway/linkmon"
	"spillway/mptcp"
	"spillway/policy"
	"spillway/relay"
)

// handle answers one method, of the control socket or of ubus.
func (h *house) handle(ctx context.Context, method string, args json.Raw) (result any, err error) {
	switch method {
	case "status":
		hits := h.ruleHits() // may run nft: not in the loop
		if e := h.call(ctx, func() { result = h.status(time.Now(), hits) }); e != nil {
			return nil, e
		}
	case "links":
		if e := h.call(ctx, func() { result = Links{h.links(time.Now())} }); e != nil {
			return nil, e
		}
	case "flows":
		p := page{Limit: 100}
		if err := decode(args, &p); err != nil {
			return nil, err
		}
		return h.flowsAnswer(ctx, p)
	case "why":
		if e := h.call(ctx, func() { result = Why{h.history.all(time.Now())} }); e != nil {
			return nil, e
		}
	case "set":
		var s linkRole
		if err := decode(args, &s); err != nil {
			return nil, err
		}
		result = struct{}{}
		if e := h.call(ctx, func() { err = h.set(s) }); e != nil {
			return nil, e
		}
	case "reload":
		return h.reload(ctx)
	case "doctor":
		return h.doctor(ctx)
	default:
		return nil, fmt.Errorf("%w: %q; `spillway help` lists those that are", errNoMethod, method)
	}
	return result, err
}

func decode(args json.Raw, into any) error {
	if len(args) == 0 {
		return nil
	}
	if err := json.Decode(args, into); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return nil
}

// set overrides a link's role; "" or "configured" ends it.
func (h *house) set(s linkRole) error {
	if s.Role == "" || s.Role == "configured" {
		return h.machine.Clear(s.Link)
	}
	role, err := policy.ParseRole(s.Role)
	if err != nil {
		return err
	}
	return h.machine.Set(s.Link, role)
}

// flowsAnswer is a page of connections, with each one's octets by link.
func (h *house) flowsAnswer(ctx context.Context, p page) (*Flows, error) {
	p.Limit = min(max(p.Limit, 0), 1000)
	p.Offset = max(p.Offset, 0)
	flows := h.relay.Flows(p.Offset, p.Limit)
	answer := &Flows{Total: h.relay.Stats().Established, Offset: p.Offset, Flows: make([]FlowStatus, 0, len(flows))}
	var links []linkmon.Link
	groups := make(map[uint32][]mptcp.Subflow, len(flows))
	if err := h.call(ctx, func() { links = h.snap.Links }); err != nil {
		return nil, err
	}
	for i := range flows {
		groups[flows[i].Token] = nil
	}
	if h.diag != nil {
		err := h.diag.Each(mptcp.Which{}, func(s *mptcp.Subflow) {
			if group, asked := groups[s.Token]; asked {
				groups[s.Token] = append(group, *s)
			}
		})
		if err != nil {
			h.log.Debug("look at the subflows", "error", err)
		}
	}
	for _, f := range flows {
		answer.Flows = append(answer.Flows, flowStatus(f, groups[f.Token], links))
	}
	return answer, nil
}

func flowStatus(f relay.Flow, subflows []mptcp.Subflow, links []linkmon.Link) FlowStatus {
	x := FlowStatus{ID: f.ID, Source: f.Src.String(), Destination: f.Dst.String(), Rule: f.Rule, Class: "interactive", Link: f.Link, Upstream: f.Upstream,
		Age: time.Since(f.Since).Seconds(), Idle: f.Idle.Seconds(), Rx: f.Down, Tx: f.Up, MPTCP: f.MPTCP, Subflows: []SubflowStatus{}}
	if f.Bulk {
		x.Class = "bulk"
	}
	for _, s := range subflows {
		name := s.Local.Addr().String()
		if i := linkOf(s.Local.Addr(), links); i >= 0 {
			name = links[i].Name
		}
		x.Subflows = append(x.Subflows, SubflowStatus{Link: name, Rx: s.TCP.BytesReceived, Tx: s.TCP.BytesAcked, RTTms: ms(s.TCP.RTT), Backup: s.Backup})
	}
	return x
}
