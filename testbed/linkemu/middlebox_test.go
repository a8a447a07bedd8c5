// SPDX-License-Identifier: Apache-2.0

package linkemu

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// segment4 builds an IPv4 TCP packet with a right checksum.
func segment4(flags byte, options, payload []byte) []byte {
	header := 20 + len(options)
	p := make([]byte, 20+header+len(payload))
	p[0], p[9] = 0x45, 6
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	s := p[20:]
	s[12], s[13] = byte(header/4)<<4, flags
	copy(s[20:], options)
	copy(s[header:], payload)
	binary.BigEndian.PutUint16(s[16:], ^sum(p))
	return p
}

// sum is the ones' complement sum over pseudo-header and segment of an IPv4 packet: 0xffff where the checksum is right.
func sum(p []byte) uint16 {
	s := p[20:]
	total := uint32(6) + uint32(len(s))
	for i := 12; i < 20; i += 2 {
		total += uint32(pair(p, i))
	}
	for i := 0; i < len(s); i += 2 {
		total += uint32(pair(s, i))
	}
	for total>>16 != 0 {
		total = total&0xffff + total>>16
	}
	return uint16(total)
}

var (
	capable = []byte{30, 4, 0x01, 0x81}
	join    = append([]byte{30, 12, 0x10, 2}, make([]byte, 8)...)
	prio    = []byte{30, 4, 0x51, 1}
)

func TestMiddleboxes(t *testing.T) {
	long := bytes.Repeat([]byte("spillway"), 25)
	nops := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	for _, c := range []struct {
		name     string
		box      Middlebox
		in, want []byte // nil: dropped
	}{
		{"strips every MPTCP option", Middlebox{StripMPTCP: true}, segment4(2, capable, nil), segment4(2, nops(4), nil)},
		{"strips joins", Middlebox{StripJoin: true}, segment4(2, join, nil), segment4(2, nops(12), nil)},
		{"leaves MP_CAPABLE when it strips joins", Middlebox{StripJoin: true}, segment4(2, capable, nil), segment4(2, capable, nil)},
		{"drops SYN data", Middlebox{DropSYNData: true}, segment4(2, capable, []byte("x")), nil},
		{"passes a bare SYN", Middlebox{DropSYNData: true}, segment4(2, capable, nil), segment4(2, capable, nil)},
		{"passes data", Middlebox{DropSYNData: true}, segment4(16, nil, long), segment4(16, nil, long)},
		{"drops MP_PRIO", Middlebox{DropPrio: true}, segment4(16, prio, nil), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := bytes.Clone(c.in)
			if got := c.box.pass(p); got != (c.want != nil) {
				t.Fatalf("passed: %v", got)
			}
			if c.want != nil && !bytes.Equal(p, c.want) {
				t.Errorf("packet\n%x, want\n%x", p, c.want)
			}
		})
	}
	p := segment4(16, nil, long)
	if !(Middlebox{AlterOctets: true}).pass(p) || bytes.Contains(p, long) || sum(p) != 0xffff {
		t.Errorf("altered payload: sum %#x, %q", sum(p), p[40:])
	}
}

func FuzzMiddlebox(f *testing.F) {
	f.Add(segment4(2, append(bytes.Clone(join), prio...), bytes.Repeat([]byte("x"), 101)))
	f.Add([]byte{0x60, 0, 0, 0, 0, 20, 6})
	f.Fuzz(func(t *testing.T, p []byte) {
		before := bytes.Clone(p)
		all := Middlebox{StripMPTCP: true, StripJoin: true, AlterOctets: true, DropSYNData: true, DropPrio: true}
		all.pass(p)
		if s := tcp(before); s == nil && !bytes.Equal(p, before) {
			t.Errorf("changed what is no TCP: %x", before)
		}
	})
}
