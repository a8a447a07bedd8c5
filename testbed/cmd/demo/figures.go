// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
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

// print writes the table.
func (f figures) print(w io.Writer) {
	row := func(what, value, note string) { fmt.Fprintf(w, "  %-34s %11s   %s\n", what, value, note) }
	mbit := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	fmt.Fprintln(w, "\nDSL 16/2 Mbit/s, 15 ms; LTE 40/10 Mbit/s, 35 ms (one way); rates are payload, from connect to the last octet")
	row("DSL alone, Mbit/s", mbit(f.DSL), "")
	row("LTE alone, Mbit/s", mbit(f.LTE), "")
	row("DSL first, LTE the overflow, Mbit/s", mbit(f.Overflow), "LTE joins when DSL has been full for 0.4 s")
	row("both at once, download, Mbit/s", mbit(f.Bonded), f.share(f.Bonded, 56))
	row("both at once, upload, Mbit/s", mbit(f.BondedUp), fmt.Sprintf("%.0f %% of the lines' 12", f.BondedUp/12*100))
	row("connect direct / relayed, ms", mbit(f.ConnectDirect)+" / "+mbit(f.ConnectRelayed), "the router answers the LAN's SYN itself")
	row("first octet direct / relayed, ms", mbit(f.FirstDirect)+" / "+mbit(f.FirstRelayed), "the Connect leaves in the SYN to the concentrator")
	row("longest silence when DSL is cut, ms", mbit(f.Stall), "")
	ok := "match"
	if !f.SHA256OK {
		ok = "DIFFER"
	}
	row("SHA-256 of all files", ok, "")
	row("the whole demo, s", mbit(f.Seconds), "")
}

// share compares what was bonded with the sum of the lines' rates and with the sum of what each carried alone.
func (f figures) share(bonded, lines float64) string {
	return fmt.Sprintf("%.0f %% of the lines' %.0f, %.0f %% of what they carried alone", bonded/lines*100, lines, bonded/(f.DSL+f.LTE)*100)
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
