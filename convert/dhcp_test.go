// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"encoding/hex"
	"fmt"
	"testing"
)

func TestDHCPOptions(t *testing.T) {
	for _, tt := range []struct{ v4, want string }{
		{"08c0000201c000020204c6336401", "[[192.0.2.1 192.0.2.2] [198.51.100.1]]"},
		{"087f000001c0000201", "[[192.0.2.1]]"}, // loopback is discarded
		{"04e0000001", "[]"},
		{"04c00002", "error"}, {"", "error"}, {"03c0000201", "error"}, {"00c0000201", "error"}, {"08c0000201", "error"},
		{"04c000020104", "error"},
	} {
		b, _ := hex.DecodeString(tt.v4)
		got := ""
		if list, err := ParseDHCPv4(b); err != nil {
			got = "error"
		} else {
			got = fmt.Sprint(list)
		}
		if got != tt.want {
			t.Errorf("DHCPv4 %s: %s, want %s", tt.v4, got, tt.want)
		}
	}
	for _, tt := range []struct{ v6, want string }{
		{"00000000000000000000ffffc0000201", "[192.0.2.1]"},
		{"20010db8000000000000000000000001ff020000000000000000000000000001", "[2001:db8::1]"},
		{"20010db800000000000000000000", "error"}, {"", "error"},
	} {
		b, _ := hex.DecodeString(tt.v6)
		got := ""
		if list, err := ParseDHCPv6(b); err != nil {
			got = "error"
		} else {
			got = fmt.Sprint(list)
		}
		if got != tt.want {
			t.Errorf("DHCPv6 %s: %s, want %s", tt.v6, got, tt.want)
		}
	}
}

func FuzzDHCPOptions(f *testing.F) {
	for _, seed := range []string{"08c0000201c000020204c6336401", "00000000000000000000ffffc0000201"} {
		b, _ := hex.DecodeString(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lists, _ := ParseDHCPv4(b)
		n := 0
		for _, list := range lists {
			n += 1 + 4*len(list)
		}
		if n > len(b) {
			t.Errorf("%d octets from %d", n, len(b))
		}
		if list, _ := ParseDHCPv6(b); 16*len(list) > len(b) {
			t.Errorf("%d addresses from %d octets", len(list), len(b))
		}
	})
}
