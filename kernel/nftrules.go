// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// rules is the user's rules: a chain of its own, left by accept (natively), reset, or return (to the relay).
func (w *writer) rules(t Table) error {
	for _, stem := range t.Sets {
		w.domainSets(stem)
	}
	rules := t.Rules
	if len(rules) == 0 {
		return nil
	}
	c := w.chain("rules", "")
	for i, r := range rules {
		if err := r.check(); err != nil {
			return fmt.Errorf("rule %d %q: %w", i+1, r.Name, err)
		}
		id := w.ruleID(i, r.Name)
		verdict := map[Action]string{ActionRelay: "return", ActionBypass: "accept", ActionBlock: reset}[r.Action]
		if r.Number > 0 {
			others, mark := ^t.Numbers.MarkRule(), t.Numbers.RuleMark(r.Number)
			verdict = fmt.Sprintf("meta mark set meta mark & %#x | %#x return", others, mark)
			if t.Conntrack {
				verdict = fmt.Sprintf("ct mark set ct mark & %#x | %#x %s", others, mark, verdict)
			}
		}
		for _, match := range w.matches(id, r) {
			c.add("%scounter name %s %s", match, id, verdict)
		}
		if r.DomainSet != "" {
			w.domainSets(r.DomainSet)
		}
	}
	return nil
}

// domainSets declares the sets of both families: whoever fills them does not know that a rule is for hosts of one.
func (w *writer) domainSets(stem string) {
	w.domainSet(stem, false)
	w.domainSet(stem, true)
}

// matches is one nft condition per family that the rule can match, and per kind of destination.
func (w *writer) matches(id string, r TableRule) []string {
	var common strings.Builder
	if len(r.Interfaces) > 0 {
		fmt.Fprintf(&common, "iifname %s ", quotedSet(r.Interfaces))
	}
	if len(r.MAC) > 0 {
		var macs []string
		for _, m := range r.MAC {
			macs = append(macs, m.String())
		}
		fmt.Fprintf(&common, "ether saddr %s ", set(macs))
	}
	if len(r.DstPorts) > 0 {
		fmt.Fprintf(&common, "tcp dport %s ", ports(r.DstPorts))
	}
	if len(r.Src) == 0 && len(r.Dst) == 0 && r.DomainSet == "" && len(r.DSCP) == 0 {
		return []string{common.String()}
	}
	var all []string
	for _, v6 := range []bool{false, true} {
		head := "meta nfproto " + map[bool]string{false: "ipv4 ", true: "ipv6 "}[v6]
		if src, ok := w.prefixes(id+"_src", r.Src, v6); !ok {
			continue
		} else if src != "" {
			head += ip(v6) + " saddr @" + src + " "
		}
		if len(r.DSCP) > 0 {
			var values []string
			for _, d := range r.DSCP {
				values = append(values, fmt.Sprint(d))
			}
			head += ip(v6) + " dscp " + set(values) + " "
		}
		head += common.String()
		if r.DomainSet != "" {
			all = append(all, head+ip(v6)+" daddr @"+w.domainSet(r.DomainSet, v6)+" ")
			if len(r.Dst) == 0 {
				continue
			}
		}
		if dst, ok := w.prefixes(id+"_dst", r.Dst, v6); !ok {
			continue
		} else if dst != "" {
			all = append(all, head+ip(v6)+" daddr @"+dst+" ")
		} else {
			all = append(all, head)
		}
	}
	return all
}

func (r TableRule) check() error {
	switch r.Name {
	case CounterRelayed, CounterNative, CounterRefused, CounterConcentrator:
		return errors.New("the name is taken by a counter of the table: choose another")
	}
	for _, p := range r.DstPorts {
		if p.First > p.Last || p.First == 0 {
			return fmt.Errorf("port range %d-%d: write the lower first, from 1", p.First, p.Last)
		}
	}
	for _, p := range slices.Concat(r.Src, r.Dst) {
		if !p.IsValid() {
			return fmt.Errorf("prefix %v: write it as 192.0.2.0/24 or 2001:db8::/32", p)
		}
	}
	for _, d := range r.DSCP {
		if d > 63 {
			return fmt.Errorf("dscp %d: 0 to 63", d)
		}
	}
	if r.DomainSet != "" && !isName(r.DomainSet) {
		return fmt.Errorf("domain set %q: a letter, then letters, digits and _, 40 at most, not r_ at the beginning", r.DomainSet)
	}
	if err := checkDevices(r.Interfaces); err != nil {
		return err
	}
	if r.Action > ActionBlock {
		return fmt.Errorf("unknown action %d", r.Action)
	}
	if r.Number < 0 || r.Number > MaxRules || r.Number > 0 && r.Action != ActionRelay {
		return fmt.Errorf("number %d: 0 to %d, and only with a rule for the relay", r.Number, MaxRules)
	}
	return nil
}

func checkDevices(names []string) error {
	for _, name := range names {
		if name == "" || len(name) > 15 || strings.ContainsAny(name, "\"\\ /\n\t*") {
			return fmt.Errorf("interface %q: not a device's name", name)
		}
	}
	return nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 40 && !strings.HasPrefix(s, "r_") // which is how the rules' own sets begin
}

// ruleID is the nft name of the i-th rule's counter: unique, legible, free of what nft can't take, and the same when
// rules before it come and go, so that the count goes on.
func (w *writer) ruleID(i int, name string) string {
	if name == "" {
		name = fmt.Sprintf("rule %d", i+1)
	}
	clean := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, name)
	id := "r_" + clean[:min(len(clean), 40)]
	for n, stem := 2, id; ; n++ {
		if _, taken := w.names[id]; !taken {
			break
		}
		id = fmt.Sprintf("%s_%d", stem, n)
	}
	w.names[id] = name
	w.counter(id)
	return id
}
