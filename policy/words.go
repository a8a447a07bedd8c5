// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// some joins clauses, and counts those that would make the sentence too long.
func some(parts []string) string {
	const most = 3
	if n := len(parts) - most; n > 0 {
		return strings.Join(parts[:most], "; ") + "; and " + strconv.Itoa(n) + " more"
	}
	return strings.Join(parts, "; ")
}

// list joins names as in a sentence.
func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// or returns s, or d where s is empty.
func or(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// direction names a direction in a sentence.
func direction(d int) string {
	if d == down {
		return "down"
	}
	return "up"
}

// rate writes bit/s: "19.4 Mbit/s", "96 kbit/s".
func rate(v float64) string {
	number, unit := scaled(v, v)
	return number + " " + unit
}

// rateOf writes a rate and its capacity: "19.4 of 20.0 Mbit/s"; without a capacity the rate alone.
func rateOf(v, of float64) string {
	if of <= 0 {
		return rate(v)
	}
	a, _ := scaled(v, of)
	b, unit := scaled(of, of)
	return a + " of " + b + " " + unit
}

// scaled writes v in the unit fit for a rate of size.
func scaled(v, size float64) (number, unit string) {
	if size >= 1e6 {
		return strconv.FormatFloat(v/1e6, 'f', 1, 64), "Mbit/s"
	}
	return strconv.FormatFloat(v/1e3, 'f', 0, 64), "kbit/s"
}

// seconds writes a span in seconds, or in minutes from 2 min on.
func seconds(d time.Duration) string {
	switch {
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// millis writes a round-trip time.
func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + " ms" }

// volumeOf writes octets against a limit: "45.0 of 50.0 GB".
func volumeOf(v, of uint64) string {
	div, unit := volumeUnit(of)
	return strconv.FormatFloat(float64(v)/div, 'f', 1, 64) + " of " + strconv.FormatFloat(float64(of)/div, 'f', 1, 64) + " " + unit
}

// volume writes octets: "45.0 GB".
func volume(v uint64) string {
	div, unit := volumeUnit(v)
	return fmt.Sprintf("%.1f %s", float64(v)/div, unit)
}

// volumeUnit is the unit, powers of ten, fit for an amount.
func volumeUnit(v uint64) (float64, string) {
	switch {
	case v >= 1e9:
		return 1e9, "GB"
	case v >= 1e6:
		return 1e6, "MB"
	}
	return 1e3, "kB"
}
