// SPDX-License-Identifier: Apache-2.0

// Package changes has another valid value for each key of the configuration, so that tests can change one after the other and see
// whether the change does what its class in the reference says.
package changes

import (
	"fmt"
	"strings"

	"spillway/config"
)

// Change is another value for one key.
type Change struct {
	Table, Key string
	Class      byte     // of the reference: 'n' at once, 'c' for new connections, 'r' at the next start
	Set        []string // lines of TOML
	Without    []string // keys that can't stand beside
}

// Name is "table.key".
func (c Change) Name() string { return c.Table + "." + c.Key }

// values are by "table.key", for a world whose LAN is lan0. A key that needs others brings them along.
var values = map[string]Change{
	"log.level":      {Set: []string{`level = "debug"`}},
	"daemon.control": {Set: []string{`control = "/tmp/elsewhere.sock"`}},
	"daemon.state":   {Set: []string{`state = "/tmp/elsewhere.json"`}},
	"daemon.ubus":    {Set: []string{`ubus = "/tmp/elsewhere.ubus"`}},

	"numbers.mark_mask": {Set: []string{"mark_mask = 0x00ff0000"}},
	"numbers.table":     {Set: []string{"table = 8800"}},
	"numbers.priority":  {Set: []string{"priority = 700"}},
	"numbers.endpoint":  {Set: []string{"endpoint = 191"}},

	"lan.interfaces":   {Set: []string{`interfaces = ["lan0", "br-guest"]`}},
	"lan.native_mptcp": {Set: []string{`native_mptcp = "relay"`}},

	"link.name":        {Set: []string{`name = "another"`}},
	"link.device":      {Set: []string{`device = "another0"`}},
	"link.role":        {Set: []string{`role = "backup"`}},
	"link.down_kbit":   {Set: []string{"down_kbit = 12345", "up_kbit = 1234"}, Without: []string{"up_kbit"}},
	"link.up_kbit":     {Set: []string{"up_kbit = 1234", "down_kbit = 12345"}, Without: []string{"down_kbit"}},
	"link.metered":     {Set: []string{"metered = true"}},
	"link.weight":      {Set: []string{"weight = 7"}},
	"link.quota":       {Set: []string{`quota = "70GB"`}},
	"link.quota_soft":  {Set: []string{`quota_soft = "50%"`, `quota = "60GB"`}, Without: []string{"quota"}},
	"link.quota_daily": {Set: []string{`quota_daily = "7GB"`}},
	"link.billing_day": {Set: []string{"billing_day = 17", `quota = "60GB"`}, Without: []string{"quota"}},
	"link.hours":       {Set: []string{`hours = "00:00-12:00,12:00-24:00"`}},

	"concentrator.name":       {Set: []string{`name = "another"`}},
	"concentrator.address":    {Set: []string{`address = "198.51.100.77"`}},
	"concentrator.port":       {Set: []string{"port = 5999"}},
	"concentrator.protocol":   {Set: []string{`protocol = "socks5"`}},
	"concentrator.fast_open":  {Set: []string{`fast_open = "never"`}},
	"concentrator.user":       {Set: []string{`user = "me"`, `password = "secret"`, `protocol = "socks5"`}, Without: []string{"protocol"}},
	"concentrator.password":   {Set: []string{`password = "secret"`, `user = "me"`, `protocol = "socks5"`}, Without: []string{"protocol"}},
	"concentrator.pipeline":   {Set: []string{"pipeline = true", `protocol = "socks5"`}, Without: []string{"protocol"}},
	"concentrator.cookie":     {Set: []string{`cookie = "a-token-of-theirs"`}},
	"concentrator.learn":      {Set: []string{`learn = "/nowhere/dhcp"`}, Without: []string{"address"}},
	"concentrator.learn_code": {Set: []string{"learn_code = 225", `learn = "/nowhere/dhcp"`}, Without: []string{"address"}},
	"concentrator.priority":   {Set: []string{"priority = 3"}},
	"concentrator.weight":     {Set: []string{"weight = 9"}},

	"policy.mode":                 {Set: []string{`mode = "bond"`}},
	"policy.on_concentrator_down": {Set: []string{`on_concentrator_down = "block"`}},
	"policy.overflow_enter":       {Set: []string{"overflow_enter = 0.9"}},
	"policy.overflow_enter_for":   {Set: []string{`overflow_enter_for = "900ms"`}},
	"policy.overflow_leave":       {Set: []string{"overflow_leave = 0.5"}},
	"policy.overflow_leave_for":   {Set: []string{`overflow_leave_for = "9s"`}},
	"policy.hold_up":              {Set: []string{`hold_up = "33s"`}},
	"policy.standby":              {Set: []string{`standby = "on"`}},
	"policy.never_worse":          {Set: []string{"never_worse = false"}},
	"policy.path_manager":         {Set: []string{`path_manager = "user"`}},

	"relay.max_sessions":   {Set: []string{"max_sessions = 777"}},
	"relay.max_per_host":   {Set: []string{"max_per_host = 333"}},
	"relay.idle_timeout":   {Set: []string{`idle_timeout = "5h"`}},
	"relay.stop_within":    {Set: []string{`stop_within = "9s"`}},
	"relay.dscp":           {Set: []string{`dscp = "clear"`}},
	"relay.native_servers": {Set: []string{`native_servers = "bypass"`}},
	"relay.race":           {Set: []string{`race = "always"`}},
	"relay.warm":           {Set: []string{"warm = 2"}},
	"relay.faithful":       {Set: []string{"faithful = true"}},
	"relay.receive_buffer": {Set: []string{"receive_buffer = 777216"}},

	"rule.name":      {Set: []string{`name = "another"`}},
	"rule.src":       {Set: []string{`src = ["192.168.1.77"]`}},
	"rule.dst":       {Set: []string{`dst = ["198.18.0.0/15"]`}},
	"rule.mac":       {Set: []string{`mac = ["02:00:00:00:00:77"]`}},
	"rule.dst_port":  {Set: []string{`dst_port = ["9999"]`}},
	"rule.dscp":      {Set: []string{"dscp = [46]"}},
	"rule.domain":    {Set: []string{`domain = ["*.example.net"]`}},
	"rule.interface": {Set: []string{`interface = ["br-guest"]`}},
	"rule.days":      {Set: []string{`days = ["mon", "fri"]`}},
	"rule.from":      {Set: []string{`from = "08:00"`, `to = "17:00"`}, Without: []string{"to"}},
	"rule.to":        {Set: []string{`to = "16:00"`, `from = "07:00"`}, Without: []string{"from"}},
	"rule.action":    {Set: []string{`action = "no-lte"`}},
}

// All are the changes of every key in config.Reference, in its order. A key without another value is an error, so is a
// value whose key the reference does not have.
func All() (all []Change, err error) {
	table, class := "", byte(0)
	seen := map[string]bool{}
	for line := range strings.Lines(config.Reference) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			table, class = strings.Trim(line, "[]"), 0
			continue
		}
		for _, c := range "ncr" {
			if strings.HasPrefix(line, "# ("+string(c)+") ") {
				class = byte(c)
			}
		}
		key, _, isKey := strings.Cut(strings.TrimPrefix(line, "# "), " = ")
		if !isKey || table == "" || strings.ContainsAny(key, " .,:;\"(") || seen[table+"."+key] {
			continue
		}
		name := table + "." + key
		c, ok := values[name]
		if !ok || class == 0 {
			return nil, fmt.Errorf("key %s has no other value here (%v) or no class in the reference (%q)", name, ok, class)
		}
		c.Table, c.Key, c.Class = table, key, class
		seen[name] = true
		all = append(all, c)
	}
	for name := range values {
		if !seen[name] {
			return nil, fmt.Errorf("key %s is not in the reference", name)
		}
	}
	return all, nil
}

// Apply makes the change in a configuration, in the n-th table of that name, from 0. A table that is not there is added.
func (c Change) Apply(text string, n int) string {
	gone := map[string]bool{}
	for _, key := range c.Without {
		gone[key] = true
	}
	for _, line := range c.Set {
		key, _, _ := strings.Cut(line, " = ")
		gone[key] = true
	}
	var b strings.Builder
	here, done := false, false
	for line := range strings.Lines(text) {
		word := strings.TrimSpace(line)
		if strings.HasPrefix(word, "[") {
			here = false
			if strings.Trim(word, "[]") == c.Table {
				here = n == 0
				n--
			}
			b.WriteString(line)
			if here {
				b.WriteString(strings.Join(c.Set, "\n") + "\n")
				done = true
			}
			continue
		}
		if key, _, _ := strings.Cut(word, " "); !here || !gone[key] {
			b.WriteString(line)
		}
	}
	if !done {
		head := "[[" + c.Table + "]]"
		if strings.HasPrefix(config.Reference, "["+c.Table+"]\n") || strings.Contains(config.Reference, "\n["+c.Table+"]\n") {
			head = "[" + c.Table + "]"
		}
		fmt.Fprintf(&b, "%s\n%s\n", head, strings.Join(c.Set, "\n"))
	}
	return b.String()
}
