// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"spillway/config"
	"spillway/journal"
)

// Names of concentrators are resolved anew this often; while one can't be resolved, with a back-off.
const (
	resolveAgain = 5 * time.Minute
	resolveFirst = time.Second
	resolveMost  = time.Minute
	resolveWait  = 5 * time.Second
	learnAgain   = 10 * time.Second // a file that a DHCP client writes is read anew
)

// lookup is the resolver, as function fields: two questions.
type lookup struct {
	ip  func(ctx context.Context, host string) ([]netip.Addr, error)
	srv func(ctx context.Context, name string) ([]*net.SRV, error)
}

func systemLookup() lookup {
	r := &net.Resolver{PreferGo: true}
	return lookup{
		ip: func(ctx context.Context, host string) ([]netip.Addr, error) { return r.LookupNetIP(ctx, "ip", host) },
		srv: func(ctx context.Context, name string) ([]*net.SRV, error) {
			_, list, err := r.LookupSRV(ctx, "", "", name)
			return list, err
		},
	}
}

// resolve finds a concentrator's addresses: its own, those of its name, those of its SRV record's targets in the record's order
// (RFC 2782), or those that DHCP brought. A transparent concentrator has none.
func resolve(ctx context.Context, c config.Concentrator, ask lookup) ([]netip.AddrPort, error) {
	if c.Protocol == "transparent" {
		return nil, nil
	}
	if c.Learn != "" {
		return learn(c)
	}
	if a, err := netip.ParseAddr(c.Address); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), c.Port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveWait)
	defer cancel()
	if !strings.HasPrefix(c.Address, "_") {
		return resolveHost(ctx, c.Address, c.Port, ask)
	}
	records, err := ask.srv(ctx, c.Address)
	var out []netip.AddrPort
	for _, r := range records {
		addrs, e := resolveHost(ctx, strings.TrimSuffix(r.Target, "."), r.Port, ask)
		if e != nil {
			err = e
		}
		out = append(out, addrs...)
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, err
}

func resolveHost(ctx context.Context, host string, port uint16, ask lookup) ([]netip.AddrPort, error) {
	addrs, err := ask.ip(ctx, host)
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a.Unmap(), port))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Compare(out[j]) < 0 }) // resolvers rotate; the order must not change by itself
	return out, err
}

// resolver keeps the concentrators' addresses up to date, and tells publish when they changed. An answer that fails keeps
// the addresses before it: a name server's rest is no reason to leave a concentrator.
type resolver struct {
	ask     lookup
	log     *journal.Logger
	publish func([][]netip.AddrPort)
}

func (r resolver) run(ctx context.Context, list []config.Concentrator) error {
	addrs := make([][]netip.AddrPort, len(list))
	failing := make([]bool, len(list))
	wait := resolveFirst
	for first := true; ; first = false {
		changed, failed := first, false
		for i, c := range list {
			got, err := resolve(ctx, c, r.ask)
			if ctx.Err() != nil {
				return nil
			}
			failed = failed || err != nil
			if (err != nil) != failing[i] {
				failing[i] = err != nil
				if err != nil {
					r.log.Warn("concentrator's name is not resolved; trying again", "concentrator", c.Name, "error", err)
				} else {
					r.log.Info("concentrator's name is resolved again", "concentrator", c.Name)
				}
			}
			if err == nil && !slices.Equal(got, addrs[i]) {
				addrs[i], changed = got, true
			}
		}
		if changed {
			r.publish(slices.Clone(addrs))
		}
		pause := resolveAgain
		if failed {
			pause, wait = wait, min(2*wait, resolveMost)
		} else {
			wait = resolveFirst
			if !named(list) {
				return nil // nothing that could change
			}
			if slices.ContainsFunc(list, func(c config.Concentrator) bool { return c.Learn != "" }) {
				pause = learnAgain
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func named(list []config.Concentrator) bool {
	return slices.ContainsFunc(list, func(c config.Concentrator) bool {
		_, err := netip.ParseAddr(c.Address)
		return err != nil && c.Protocol != "transparent"
	})
}

// literal resolves what needs no name server; the rest stays empty.
func literal(list []config.Concentrator) [][]netip.AddrPort {
	none := errors.New("not asked here")
	ask := lookup{
		ip:  func(context.Context, string) ([]netip.Addr, error) { return nil, none },
		srv: func(context.Context, string) ([]*net.SRV, error) { return nil, none },
	}
	out := make([][]netip.AddrPort, len(list))
	for i, c := range list {
		out[i], _ = resolve(context.Background(), c, ask)
	}
	return out
}

// resolveNames keeps the addresses of concentrators and of the rules' domains up to date, and begins anew when the
// configuration changed.
func (h *house) resolveNames(ctx context.Context) error {
	for ctx.Err() == nil {
		round, cancel := context.WithCancel(ctx)
		c := h.currentConfig()
		var tasks sync.WaitGroup
		tasks.Go(func() {
			resolver{systemLookup(), h.log, func(a [][]netip.AddrPort) {
				select {
				case h.resolved <- resolved{c, a}:
				case <-round.Done():
				}
			}}.run(round, c.Concentrators)
		})
		tasks.Go(func() { domains{systemLookup(), h.log, h.kernel.AddDomain}.run(round, c.Rules) })
		select {
		case <-ctx.Done():
		case <-h.rename:
		}
		cancel()
		tasks.Wait()
	}
	return nil
}
