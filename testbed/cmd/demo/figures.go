// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// figures are the demo's outcome, as build/demo.json holds them.
type figures struct {
	DSL            float64 `json:"dsl_mbps"`
	LTE            float64 `json:"lte_mbps"`
	Overflow       float64 `json:"overflow_mbps"` // mode overflow: DSL first
	Bonded         float64 `json:"bonded_mbps"`   // mode bond: both at once
	BondedUp       float64 `json:"bonded_up_mbps"`
	ConnectDirect  float64 `json:"connect_ms_direct"`
	ConnectRelayed float64 `json:"connect_ms_relayed"`
	FirstDirect    float64 `json:"first_byte_ms_direct"`
	FirstRelayed   float64 `json:"first_byte_ms_relayed"`
	Stall          float64 `json:"stall_ms"`
	SHA256OK       bool    `json:"sha256_ok"`
	Seconds        float64 `json:"seconds"`
}

// print writes the table, within 79 columns.
func (f figures) print(w io.Writer) {
	row := func(what, value, note string) {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-35s %11s   %s", what, value, note), " "))
	}
	fmt.Fprintln(w, "\nDSL 16/2 Mbit/s, 15 ms; LTE 40/10 Mbit/s, 35 ms (one way)")
	fmt.Fprintln(w, "rates are payload, from connect to the last octet")
	row("DSL alone, Mbit/s", value(f.DSL), "")
	row("LTE alone, Mbit/s", value(f.LTE), "")
	row("DSL first, LTE the overflow, Mbit/s", value(f.Overflow), "LTE joins once DSL is full")
	row("both at once, download, Mbit/s", value(f.Bonded), share(f.Bonded, 56))
	row("both at once, upload, Mbit/s", value(f.BondedUp), share(f.BondedUp, 12))
	row("connect direct / relayed, ms", value(f.ConnectDirect)+" / "+value(f.ConnectRelayed), "the router answers itself")
	row("first octet direct / relayed, ms", value(f.FirstDirect)+" / "+value(f.FirstRelayed), "the request is in the SYN")
	row("longest silence when DSL is cut, ms", value(f.Stall), "")
	ok := "match"
	if !f.SHA256OK {
		ok = "DIFFER"
	} else if f.Seconds == 0 { // it has not come to its end
		ok = "-"
	}
	row("SHA-256 of the files", ok, "")
	row("the whole demo, s", value(f.Seconds), "")
}

// value is a figure as text; 0 is one that was not measured.
func value(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", v)
}

// share compares what was bonded with the sum of the lines' rates.
func share(bonded, lines float64) string {
	if bonded == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %% of the lines' %.0f", bonded/lines*100, lines)
}

// write stores the figures as JSON.
func (f figures) write(path string) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// round keeps one decimal.
func round(v float64) float64 { return math.Round(v*10) / 10 }
