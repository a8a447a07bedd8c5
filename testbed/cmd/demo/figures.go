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
	DSLUp          float64 `json:"dsl_up_mbps"`
	LTEUp          float64 `json:"lte_up_mbps"`
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
	fmt.Fprintln(w, "rates are payload, from connect to the last octet, in Mbit/s")
	row("DSL alone, download / upload", value(f.DSL)+" / "+value(f.DSLUp), "")
	row("LTE alone, download / upload", value(f.LTE)+" / "+value(f.LTEUp), "")
	row("DSL first, LTE the overflow", value(f.Overflow), "LTE joins once DSL is full")
	row("both at once, download", value(f.Bonded), share(f.Bonded, f.DSL+f.LTE, 56))
	row("both at once, upload", value(f.BondedUp), share(f.BondedUp, f.DSLUp+f.LTEUp, 12))
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

// share compares what was bonded with what both carried alone, and with the sum of the lines' rates.
func share(bonded, alone, lines float64) string {
	if bonded == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %% of alone, %.0f %% of %.0f", bonded/alone*100, bonded/lines*100, lines)
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
