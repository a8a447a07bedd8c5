// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
)

// chart is a bar for every contestant.
type chart struct{ file, title, key, format string }

var charts = []chart{
	{"cpu-shaped", "CPU s/GiB, uplinks of 50 + 30 Mbit/s (less is better)", "shaped80.cpu", "%.2f"},
	{"cpu-paced300", "CPU s/GiB, paced to 300 Mbit/s (less is better)", "paced300.cpu", "%.2f"},
	{"goodput", "Mbit/s, 8 downloads unpaced (more is better)", "unpaced8.mbit", "%.0f"},
	{"connections", "Connections per second, 64 at once (more is better)", "rr64.rate", "%.0f"},
	{"memory", "User octets per idle connection, 10,000 open (less is better)", "memory10000.user", "%.0f"},
}

// Plots writes a chart for each figure that was measured.
func (r *Report) Plots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range charts {
		svg := r.bars(c)
		if svg == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, c.file+".svg"), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// bars draws horizontal bars from zero; "" without figures.
func (r *Report) bars(c chart) string {
	const left, room, step, top = 150, 460, 24, 40
	colours := map[string]string{"spillway": "#1f6feb", "yardstick": "#8b949e", "limit": "#3fb950", "peer": "#d29922"}
	most, n := 0.0, 0
	for _, e := range r.Entries {
		if v, ok := e.Median(c.key); ok {
			most = max(most, v)
			n++
		}
	}
	if n == 0 || most <= 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="22" font-size="15">%s</text>
`, left+room+80, top+n*step+10, html.EscapeString(c.title))
	y := top
	for _, e := range r.Entries {
		v, ok := e.Median(c.key)
		if !ok {
			continue
		}
		width := max(1, v/most*room)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">`+c.format+`</text>
`, left-8, y+15, html.EscapeString(e.Name), left, y+2, width, step-6, colours[e.Kind], left+width+6, y+15, v)
		y += step
	}
	b.WriteString("</svg>\n")
	return b.String()
}
