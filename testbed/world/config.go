// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Settings is what the router's configuration says beyond links and concentrator. Values are TOML as written.
type Settings struct {
	LAN, Policy, Relay map[string]string
	Concentrator       map[string]string
	Daemon             map[string]string
	Rules              []map[string]string
	LogLevel           string // "": info
	V6Concentrator     bool   // reached over IPv6
	Concentrators      int    // processes, each on a port of its own from Port on; 0: 1
}

// TOML is the router's configuration file.
func (w *World) TOML() string {
	var b strings.Builder
	s := w.Settings
	level := s.LogLevel
	if level == "" {
		level = "info"
	}
	section(&b, "[log]", map[string]string{"level": quote(level)})
	section(&b, "[daemon]", with(map[string]string{"control": quote(w.socket()), "state": quote(w.Dir + "/usage.json"), "ubus": `"off"`}, s.Daemon))
	section(&b, "[lan]", with(map[string]string{"interfaces": `["` + LANDevice + `"]`}, s.LAN))
	for _, l := range w.Links {
		keys := map[string]string{"name": quote(l.Name), "device": quote(l.Device), "role": quote(l.Role)}
		if !l.Learn {
			keys["down_kbit"], keys["up_kbit"] = fmt.Sprintf("%.0f", l.Down.Rate/1e3), fmt.Sprintf("%.0f", l.Up.Rate/1e3)
		}
		section(&b, "[[link]]", keys)
		b.WriteString(l.More)
	}
	address := Concentrator4
	if s.V6Concentrator {
		address = Concentrator6
	}
	for i := range max(1, s.Concentrators) {
		name := "hag"
		if i > 0 {
			name += fmt.Sprint(i + 1)
		}
		section(&b, "[[concentrator]]", with(map[string]string{"name": quote(name), "address": quote(address), "port": fmt.Sprint(Port + i)}, s.Concentrator))
	}
	section(&b, "[policy]", s.Policy)
	section(&b, "[relay]", s.Relay)
	for _, r := range s.Rules {
		section(&b, "[[rule]]", r)
	}
	return b.String()
}

func section(b *strings.Builder, head string, keys map[string]string) {
	fmt.Fprintf(b, "%s\n", head)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(b, "%s = %s\n", k, keys[k])
	}
}

func with(base, more map[string]string) map[string]string {
	maps.Copy(base, more)
	return base
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
