// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"spillway/config"
	"spillway/journal"
	"spillway/kernel"
)

// Rules may name domains. The daemon resolves plain names itself, again and again, and puts the addresses into the rule's nft
// sets; what is below a "*." only the LAN's resolver gets to know: dnsmasq puts it into the same sets (nftsetLines). The kernel
// forgets addresses by itself, so that a name which moved frees its old ones.
const (
	domainStay  = time.Hour              // of an address after it was last seen: names with many addresses show a few at a time
	domainLeast = time.Minute            // between two rounds
	domainEach  = 300 * time.Millisecond // but no more questions than one name takes in this
	domainAsks  = 8                      // at once
)

// domains keeps the sets of all rules filled.
type domains struct {
	ask lookup
	log *journal.Logger
	add func(ctx context.Context, set string, addrs []netip.Addr, stay time.Duration) error
}

// run asks until ctx ends. It asks nothing when no rule has plain names.
func (d domains) run(ctx context.Context, rules []config.Rule) error {
	names := 0
	for _, r := range rules {
		plain, _ := splitDomains(r.Domain)
		names += len(plain)
	}
	for _, line := range nftsetLines(rules) {
		d.log.Info("domains with * are filled in by the LAN's dnsmasq, by this line of its configuration", "nftset", line)
	}
	if names == 0 {
		return nil
	}
	silent, missing := map[string]bool{}, map[string]bool{}
	wait := resolveFirst
	for {
		stored := true
		for _, r := range rules {
			if plain, _ := splitDomains(r.Domain); len(plain) == 0 {
				continue
			}
			addrs := d.resolve(ctx, r, silent)
			if ctx.Err() != nil {
				return nil
			}
			err := d.add(ctx, domainSet(r.Name), addrs, domainStay)
			if err != nil && !missing[r.Name] {
				d.log.Debug("addresses of a rule's domains; trying again", "rule", r.Name, "error", err)
			}
			missing[r.Name] = err != nil
			stored = stored && err == nil
		}
		pause := max(domainLeast, time.Duration(names)*domainEach)
		if stored {
			wait = resolveFirst
		} else { // the table comes with the first state
			pause, wait = wait, min(2*wait, resolveMost)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// resolve asks for a rule's plain names. silent remembers those without an answer, so that each change is logged once.
func (d domains) resolve(ctx context.Context, r config.Rule, silent map[string]bool) []netip.Addr {
	plain, _ := splitDomains(r.Domain)
	var mu sync.Mutex
	var group sync.WaitGroup
	var out []netip.Addr
	seats := make(chan struct{}, domainAsks)
	for _, name := range plain {
		seats <- struct{}{}
		group.Go(func() {
			defer func() { <-seats }()
			soon, cancel := context.WithTimeout(ctx, resolveWait)
			defer cancel()
			addrs, err := d.ask.ip(soon, name)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, addrs...)
			if (err != nil) != silent[name] && ctx.Err() == nil {
				silent[name] = err != nil
				if err != nil {
					d.log.Warn("a rule's domain is not resolved; trying again", "rule", r.Name, "domain", name, "error", err)
				} else {
					d.log.Info("a rule's domain is resolved again", "rule", r.Name, "domain", name)
				}
			}
		})
	}
	group.Wait()
	return out
}

// splitDomains tells plain names from those that stand for all below them.
func splitDomains(all []string) (plain, below []string) {
	for _, name := range all {
		if suffix, ok := strings.CutPrefix(name, "*."); ok {
			below = append(below, suffix)
		} else {
			plain = append(plain, name)
		}
	}
	return plain, below
}

// nftsetLines are what dnsmasq's option nftset (from 2.87 on) takes to fill the rules' sets. Of the lines that fit a name
// dnsmasq obeys one, that with the longest domain, so each domain stands in one line, with the sets of all rules that it
// is a case of.
func nftsetLines(rules []config.Rule) []string {
	const room = 1000 // octets in a line: dnsmasq reads 1025
	var all []string  // domains, as the rules name them first
	for _, r := range rules {
		_, below := splitDomains(r.Domain)
		for _, domain := range below {
			if !slices.Contains(all, domain) {
				all = append(all, domain)
			}
		}
	}
	var lines, targets []string // a line's domains, and its sets
	for _, domain := range all {
		var sets []string
		for _, r := range rules {
			_, below := splitDomains(r.Domain)
			if slices.ContainsFunc(below, func(b string) bool { return domain == b || strings.HasSuffix(domain, "."+b) }) {
				set := "inet#" + kernel.TableName + "#" + domainSet(r.Name)
				sets = append(sets, "4#"+set+"4,6#"+set+"6")
			}
		}
		to := strings.Join(sets, ",")
		i := len(lines) - 1
		for i >= 0 && (targets[i] != to || len(lines[i])+len(domain)+len(to) > room) {
			i--
		}
		if i < 0 {
			lines, targets, i = append(lines, ""), append(targets, to), len(lines)
		}
		lines[i] += "/" + domain
	}
	for i := range lines {
		lines[i] += "/" + targets[i]
	}
	return lines
}
