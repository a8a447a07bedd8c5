// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"spillway/config"
	"spillway/kernel"
	"spillway/relay"
)

// relayActions are the actions that the relay carries out; the others are nft's alone. nft tells all connections apart, as
// it alone sees hardware addresses, interfaces and what dnsmasq put into its sets, and marks those of a rule of the relay's.
var relayActions = map[string]relay.Action{"bond": relay.Bond, "primary": relay.Primary, "no-lte": relay.NoLTE}

// ruleMarks tell the path manager what a rule wants of a connection, where connections are treated apart.
var ruleMarks = map[string]int{"bond": markBond, "primary": markPrimary, "no-lte": markNoLTE}

// numberRules gives each rule of the relay's its number, 1 to kernel.MaxRules: the one it had. A number that is free now
// is used again as late as possible, since between two tables a connection may come that bears a mark of the earlier one.
func numberRules(rules []config.Rule, old map[string]int) map[string]int {
	numbers, taken := map[string]int{}, map[int]bool{}
	for _, r := range rules {
		if n := old[r.Name]; n > 0 && isRelayed(r) {
			numbers[r.Name], taken[n] = n, true
		}
	}
	last := 0
	for _, n := range old {
		last = max(last, n)
	}
	for _, r := range rules {
		if numbers[r.Name] > 0 || !isRelayed(r) {
			continue
		}
		for range kernel.MaxRules {
			if last = last%kernel.MaxRules + 1; !taken[last] {
				break
			}
		}
		numbers[r.Name], taken[last] = last, true // config allows no more than there are numbers
	}
	return numbers
}

func isRelayed(r config.Rule) bool {
	_, yes := relayActions[r.Action]
	return yes
}

// relayRules is the relay's share of the rules.
func relayRules(c *config.Config, numbers map[string]int) []relay.Rule {
	var out []relay.Rule
	ours := kernelNumbers(c)
	for _, r := range c.Rules {
		if isRelayed(r) {
			out = append(out, relay.Rule{Name: r.Name, Mark: ours.RuleMark(numbers[r.Name]), Action: relayActions[r.Action], Class: ours.RuleMark(ruleMarks[r.Action])})
		}
	}
	return out
}

// tableRules is nft's share.
func tableRules(rules []config.Rule, numbers map[string]int) []kernel.TableRule {
	var out []kernel.TableRule
	for _, r := range rules {
		rule := kernel.TableRule{Name: r.Name, Number: numbers[r.Name], Src: r.Src, Dst: r.Dst, DSCP: r.DSCP, Interfaces: r.Interface, Window: window(r),
			Action: map[string]kernel.Action{"bypass": kernel.ActionBypass, "block": kernel.ActionBlock}[r.Action]}
		if len(r.Domain) > 0 {
			rule.DomainSet = domainSet(r.Name)
		}
		for _, m := range r.MAC {
			rule.MAC = append(rule.MAC, parseMAC(m))
		}
		for _, p := range r.DstPort {
			rule.DstPorts = append(rule.DstPorts, kernel.PortRange{First: p.First, Last: p.Last})
		}
		out = append(out, rule)
	}
	return out
}

// domainSet is the name of a rule's pair of nft sets, NAME4 and NAME6, which dnsmasq's nftset may fill as well.
func domainSet(rule string) string {
	return "d_" + strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, rule)
}
