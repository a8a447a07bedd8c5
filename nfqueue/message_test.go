// SPDX-License-Identifier: Apache-2.0

package nfqueue

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"spillway/netlink"
)

// packetMessage is a packet's message as the kernel writes it.
func packetMessage(t testing.TB, id, mark uint32, payload []byte) []byte {
	t.Helper()
	m, err := message(messagePacket, 7, func(ae *netlink.Encoder) {
		ae.Bytes(attrHeader, append(binary.BigEndian.AppendUint32(nil, id), 8, 0, 0))
		if mark != 0 {
			ae.Uint32(attrMark, mark)
		}
		ae.Bytes(attrPayload, payload)
	})
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}

// SYNs as captured: IPv4 with DSCP 46, and IPv6 with DSCP 8 behind a hop-by-hop and a destination header.
const (
	syn4 = "45b8003c1c4640004006b1e6" + "c0a80102" + "cb007105" + "d43101bb" + "000000010000000050020000"
	syn6 = "62000000002400ff" + "20010db8000100000000000000000002" + "20010db8000500000000000000000005" +
		"3c00010400000000" + "0600010400000000" + "d43101bb" + "000000010000000050020000"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPacketsTellTheirWay(t *testing.T) {
	six := octets(t, syn6)
	for _, c := range []struct {
		name    string
		payload []byte
		want    Packet
	}{
		{"IPv4", octets(t, syn4), Packet{9, 0x21000000, netip.MustParseAddrPort("192.168.1.2:54321"), netip.MustParseAddrPort("203.0.113.5:443"), 46}},
		{"IPv6 with extensions", six, Packet{9, 0x21000000, netip.MustParseAddrPort("[2001:db8:1::2]:54321"), netip.MustParseAddrPort("[2001:db8:5::5]:443"), 8}},
		{"nothing", nil, Packet{ID: 9, Mark: 0x21000000}},
		{"IPv4 cut off before the ports", octets(t, syn4)[:22], Packet{ID: 9, Mark: 0x21000000}},
		{"IPv6 cut off in its extensions", six[:48], Packet{ID: 9, Mark: 0x21000000}},
		{"a later fragment", append([]byte{0x45, 0, 0, 60, 0, 0, 0x20, 1}, octets(t, syn4)[8:]...), Packet{ID: 9, Mark: 0x21000000}},
		{"UDP", append(append(octets(t, syn4)[:9:9], 17), octets(t, syn4)[10:]...), Packet{ID: 9, Mark: 0x21000000}},
	} {
		got, err := parsePacket(packetMessage(t, 9, 0x21000000, c.payload))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func TestMessagesWithoutAnIDAreErrors(t *testing.T) {
	whole := packetMessage(t, 9, 0, nil)
	for _, b := range [][]byte{nil, whole[:3], whole[:4], whole[:7], whole[:10]} {
		if p, err := parsePacket(b); err == nil {
			t.Errorf("%x: %+v", b, p)
		}
	}
}

// The messages to the kernel, octet for octet (big-endian attributes in the machine's own headers).
func TestMessagesToTheKernel(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() (netlink.Message, error)
		want []string // attributes' payloads, in order
	}{
		{"bind", func() (netlink.Message, error) { return bind(7700, 320) }, []string{"01000000", "00000140", "00000001", "00000001"}},
		{"start", func() (netlink.Message, error) { return start(7700) }, []string{"0000008002"}},
		{"verdict", func() (netlink.Message, error) { return verdict(7700, 9, nfAccept, 0x30000000) }, []string{"0000000100000009", "30000000"}},
	} {
		m, err := c.make()
		if err != nil {
			t.Fatal(err)
		}
		if h := hex.EncodeToString(m.Data[:nfgenLen]); h != "00001e14" {
			t.Errorf("%s: head %s, want queue 7700", c.name, h)
		}
		ad := netlink.Decode(m.Data[nfgenLen:])
		var got []string
		for ad.Next() {
			got = append(got, hex.EncodeToString(ad.Bytes()))
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add([]byte{})
	f.Add(packetMessage(f, 1, 0, octets(f, syn4)))
	f.Add(packetMessage(f, 2, 0x21000000, octets(f, syn6)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		if p.Src.IsValid() != p.Dst.IsValid() || p.DSCP > 63 {
			t.Errorf("%x: %+v", b, p)
		}
	})
}
