// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"net/netip"
	"strings"
	"testing"

	"spillway/netlink"
)

func FuzzParseSubflow(f *testing.F) {
	f.Add(diagMessage(1))
	f.Add(diagMessage(0)[:diagMessageLen])
	f.Add(attr(diagMessage(0)[:diagMessageLen], diagInfo, sampleInfo()))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok, err := parseSubflow(b)
		if ok && (err != nil || s.Token == 0) {
			t.Errorf("ok with %+v, %v", s, err)
		}
		parseConnection(b)
	})
}

func FuzzEachAnswer(f *testing.F) {
	f.Add(netlink.Frame(diagDump(7, diagMessage(1))))
	f.Add(append(netlink.Frame(diagDump(7, nil)), netlink.Frame(diagDump(7, []byte{1, 2, 3}))...))
	f.Add([]byte{20, 0, 0, 0, 3, 0, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		rest := len(b)
		eachAnswer(b, 7, func(data []byte) error {
			if rest -= len(data); rest < 0 {
				t.Errorf("more was handed over than came")
			}
			parseSubflow(data)
			return nil
		})
	})
}

func FuzzParseInfo(f *testing.F) {
	for _, n := range []int{0, 8, 44, 48, 80, 96} {
		f.Add(sampleInfo()[:n])
	}
	f.Add(make([]byte, 280))
	f.Fuzz(func(t *testing.T, b []byte) {
		if in, err := parseInfo(b); err == nil && (in.LastAckRecv < 0 || in.LastDataSent < 0) {
			t.Errorf("a negative age: %+v", in)
		}
		if ti := parseTCPInfo(b); ti.RTT < 0 || ti.BusyTime < 0 || ti.SndbufLimited < 0 {
			t.Errorf("a negative time: %+v", ti)
		}
		parseOutcome(b)
	})
}

func FuzzParsePathManager(f *testing.F) {
	b, err := attributes(encodeEndpoint(Endpoint{ID: 1, Addr: netip.MustParseAddr("192.0.2.1"), Port: 1, Flags: FlagSubflow, IfIndex: 1}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(attr(attr(nil, eventToken, u32(1)), eventSPort, []byte{1, 2}))
	f.Add(familyAnswer(30, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		fresh := func() *netlink.Decoder { return netlink.Decode(b) }
		parseLimits(fresh())
		parseEvent(1, fresh())
		parseFamily(fresh())
		e, err := parseEndpoint(fresh())
		if err != nil || !e.Addr.IsValid() {
			return
		}
		again, err := parseEndpoint(decoder(t, false, encodeEndpoint(e)))
		if err != nil || again != e {
			t.Errorf("%+v came back as %+v, %v", e, again, err)
		}
	})
}

func FuzzParseNetstat(f *testing.F) {
	f.Add(netstatText, "DssFallback")
	f.Add("TcpExt:\nTcpExt:\n", "a")
	f.Add("TcpExt: a b\nTcpExt: 1", "b")
	f.Fuzz(func(t *testing.T, text, name string) {
		c := Counters{[]byte(text)}
		if n := c.Get(name); n > 0 && (!strings.Contains(text, name) || !strings.ContainsAny(text, "123456789")) {
			t.Errorf("%s = %d, of which nothing is said in %q", name, n, text)
		}
	})
}
