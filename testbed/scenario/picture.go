// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// The picture's sizes, px. Its columns are 100 ms wide: a rate over less is a staircase of single queues.
const (
	pictureLeft, pictureTop   = 48, 52
	pictureWide, pictureHigh  = 820, 240
	pictureLine, pictureMark  = 17, 9
	pictureStep               = 100 * time.Millisecond
	pictureWords              = 118 // letters of a line below the picture
	pictureText, pictureMuted = "#24292f", "#6e7781"
)

// pictureColours are the links', in their order.
var pictureColours = []string{"#1f6feb", "#f0883e", "#3fb950", "#a371f7", "#d29922", "#f778ba", "#39c5cf", "#8b949e"}

// Picture draws what the links carried as areas on top of each other, what happened to them, and beneath it what the daemon decided and why.
func (r *Run) Picture(w io.Writer) error {
	columns, up := r.columns()
	if len(columns) == 0 {
		return fmt.Errorf("picture of %s: nothing was measured", r.Name)
	}
	most := 1.0
	for _, c := range columns {
		sum := 0.0
		for _, mbit := range c {
			sum += mbit
		}
		most = max(most, sum)
	}
	grid := gridOf(most)
	p := &picture{x: pictureWide / float64(len(columns)), y: pictureHigh / (math.Ceil(most/grid) * grid)}
	decisions := r.decisions()
	high := pictureTop + pictureHigh + 40 + pictureLine*len(decisions) + 10
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="%s"><rect width="100%%" height="100%%" fill="white"/>`,
		pictureLeft+pictureWide+20, high, pictureText)
	direction := "down"
	if up {
		direction = "up"
	}
	p.add(`<text x="10" y="18" font-size="14">%s: %s</text><text x="10" y="36" fill="%s">Mbit/s %s</text>`,
		html.EscapeString(r.Name), html.EscapeString(r.About), pictureMuted, direction)
	for mbit := 0.0; mbit <= math.Ceil(most/grid)*grid; mbit += grid {
		p.add(`<path d="M%d %.1fh%d" stroke="#d0d7de"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`, pictureLeft, p.level(mbit), pictureWide, pictureLeft-6, p.level(mbit)+4, mbit)
	}
	p.areas(columns)
	seconds := gridOf(float64(len(columns)) * pictureStep.Seconds())
	for s := 0.0; s <= float64(len(columns))*pictureStep.Seconds(); s += seconds {
		p.add(`<text x="%.1f" y="%d" text-anchor="middle">%g s</text>`, p.at(time.Duration(s*float64(time.Second))), pictureTop+pictureHigh+16, s)
	}
	for i, l := range r.Links {
		x := pictureLeft + 90 + 110*i
		p.add(`<rect x="%d" y="27" width="10" height="10" fill="%s"/><text x="%d" y="36">%s</text>`, x, colour(i), x+15, html.EscapeString(l.Name))
	}
	for _, e := range r.Events {
		what := strings.TrimSpace(string(e.Do) + " " + e.Link)
		p.add(`<path d="M%.1f %dv%d" stroke="#cf222e" stroke-dasharray="4 3"/><text x="%.1f" y="%d" fill="#cf222e">%s</text>`,
			p.at(e.At), pictureTop, pictureHigh, p.at(e.At)+4, pictureTop+10, html.EscapeString(what))
	}
	for i, d := range decisions {
		p.add(`<circle cx="%.1f" cy="%d" r="%d" fill="white" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle" font-size="11">%d</text>`,
			p.at(d.at), pictureTop+24+13*(i%3), pictureMark, pictureMuted, p.at(d.at), pictureTop+28+13*(i%3), i+1)
		p.add(`<text x="%d" y="%d">%d</text><text x="%d" y="%d">%.2f s: %s</text>`, pictureLeft, pictureTop+pictureHigh+40+pictureLine*i, i+1,
			pictureLeft+24, pictureTop+pictureHigh+40+pictureLine*i, d.at.Seconds(), html.EscapeString(d.text))
	}
	p.add(`</svg>`)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// picture is an SVG that grows: its scales are px of a column and of a Mbit/s.
type picture struct {
	b    strings.Builder
	x, y float64
}

func (p *picture) add(format string, a ...any) { fmt.Fprintf(&p.b, format+"\n", a...) }

func (p *picture) at(t time.Duration) float64 {
	return pictureLeft + p.x*t.Seconds()/pictureStep.Seconds()
}

func (p *picture) level(mbit float64) float64 { return pictureTop + pictureHigh - mbit*p.y }

// areas draws the links' rates on top of each other.
func (p *picture) areas(columns [][]float64) {
	below := make([]float64, len(columns))
	for link := range columns[0] {
		var forth, back strings.Builder
		for i, c := range columns {
			at := p.at(time.Duration(i) * pictureStep)
			fmt.Fprintf(&back, "L%.1f %.1f", p.at(time.Duration(len(columns)-1-i)*pictureStep), p.level(below[len(columns)-1-i]))
			fmt.Fprintf(&forth, "L%.1f %.1f", at, p.level(below[i]+c[link]))
		}
		for i, c := range columns {
			below[i] += c[link]
		}
		p.add(`<path d="M%s%sz" fill="%s"/>`, forth.String()[1:], back.String(), colour(link))
	}
}

func colour(link int) string { return pictureColours[link%len(pictureColours)] }

// columns are the links' rates in Mbit/s over each step, in the direction that carried more.
func (r *Run) columns() (columns [][]float64, up bool) {
	if len(r.Samples) == 0 {
		return nil, false
	}
	first, last := r.Samples[0], r.Samples[len(r.Samples)-1]
	var sum [2]uint64
	for i := range r.Links {
		sum[0] += last.Links[i].RxOctets - first.Links[i].RxOctets
		sum[1] += last.Links[i].TxOctets - first.Links[i].TxOctets
	}
	up = sum[1] > sum[0]
	for at := pictureStep; at <= last.At.Sub(r.Start); at += pictureStep {
		c := make([]float64, len(r.Links))
		for i, l := range r.Links {
			c[i] = r.mean(l.Name, up, at-pictureStep, at)
		}
		columns = append(columns, c)
	}
	return columns, up
}

// decision is what the daemon did to a link, and why.
type decision struct {
	at   time.Duration
	text string
}

// decisions are the changes while the scenario went on, each sentence once, cut to the picture's width.
func (r *Run) decisions() (list []decision) {
	for _, c := range r.Changes {
		at := c.At.Sub(r.Start)
		if at < 0 || len(r.Samples) > 0 && c.At.After(r.Samples[len(r.Samples)-1].At) {
			continue
		}
		text := fmt.Sprintf("%s %s: %s", c.Link, c.To, c.Why)
		if t := []rune(text); len(t) > pictureWords {
			text = string(t[:pictureWords-1]) + "…"
		}
		list = append(list, decision{at, text})
	}
	return list
}

// gridOf is a distance of grid lines, 1, 2 or 5 times a power of ten, that makes four to ten of them up to most.
func gridOf(most float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(most/4)))
	switch n := most / 4 / unit; {
	case n >= 5:
		return 5 * unit
	case n >= 2:
		return 2 * unit
	}
	return unit
}
