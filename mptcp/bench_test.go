// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"net/netip"
	"testing"
)

func BenchmarkParseSubflow(b *testing.B) {
	msg := diagMessage(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := parseSubflow(msg); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkSubflows dumps the subflows of 300 connections over two links, which is what statistics cost each time.
func BenchmarkSubflows(b *testing.B) {
	w := newWorld(b)
	server := w.echo(b, "10.9.0.9:0", ListenOptions{MPTCP: true})
	lte := Endpoint{ID: 12, Addr: netip.MustParseAddr("10.2.0.1"), Flags: FlagSubflow | FlagBackup, IfIndex: w.index(b, "lte")}
	must(b, inPM(w.cpe, func(pm *PathManager) error { return pm.Add(lte) }))
	const connections = 300
	for range connections {
		ping(b, w.dial(b, server, DialOptions{Local: netip.MustParseAddr("10.1.0.1"), Device: "dsl"}), "hello")
	}
	eventually(b, "all subflows", func() bool { return len(w.subflows(b)) == 2*connections })
	var d *Diag
	must(b, w.cpe.Do(func() (err error) { d, err = OpenDiag(); return err }))
	defer d.Close()
	b.ReportAllocs()
	for b.Loop() {
		if got, err := d.Subflows(Which{}); err != nil || len(got) != 2*connections {
			b.Fatal(len(got), err)
		}
	}
}
