// SPDX-License-Identifier: Apache-2.0

package convert

import "testing"

// What a relayed connection costs: one message written, one read.
func BenchmarkConnect(b *testing.B) {
	m := &Message{Connect: connect("192.0.2.1:443", "")}
	buf := make([]byte, 0, 64)
	for b.Loop() {
		out, err := m.Append(buf)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := Parse(out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
}
