// SPDX-License-Identifier: Apache-2.0

package socks

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequestsAreTheVectors(t *testing.T) {
	password, err := AppendPassword(nil, "me", "secret")
	if err != nil {
		t.Fatal(err)
	}
	four, _ := AppendConnect4a(nil, netip.MustParseAddrPort("192.0.2.1:80"), "")
	zero, _ := AppendConnect4a(nil, netip.MustParseAddrPort("0.0.0.5:80"), "u") // as an address it would say that a name follows
	six, _ := AppendConnect4a(nil, netip.MustParseAddrPort("[2001:db8::1]:80"), "u")
	for _, v := range []struct {
		name, want string
		got        []byte
	}{
		{"greeting", "050100", AppendGreeting(nil, false)},
		{"greeting with password", "050102", AppendGreeting(nil, true)},
		{"password", "01026d6506736563726574", password},
		{"connect IPv4", "05010001c00002010050", AppendConnect(nil, netip.MustParseAddrPort("192.0.2.1:80"))},
		{"connect mapped", "05010001c00002010050", AppendConnect(nil, netip.MustParseAddrPort("[::ffff:192.0.2.1]:80"))},
		{"connect IPv6", "0501000420010db800000000000000000000000101bb", AppendConnect(nil, netip.MustParseAddrPort("[2001:db8::1]:443"))},
		{"SOCKS 4", "04010050c000020100", four},
		{"SOCKS 4a", "040100500000000175003230" + "30313a6462383a3a3100", six},
		{"SOCKS 4a, 0.0.0.x", "04010050000000017500" + "302e302e302e3500", zero},
	} {
		if !bytes.Equal(v.got, unhex(t, v.want)) {
			t.Errorf("%s: %x, want %s", v.name, v.got, v.want)
		}
	}
}

func TestAnswers(t *testing.T) {
	if m, err := ParseMethod([]byte{5, 2}); m != UserPassword || err != nil {
		t.Error(m, err)
	}
	if _, err := ParseMethod([]byte{5, 0xff}); !errors.Is(err, ErrMethod) {
		t.Error(err)
	}
	if _, err := ParseMethod([]byte("HT")); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	if err := ParsePassword([]byte{1, 0}); err != nil {
		t.Error(err)
	}
	if err := ParsePassword([]byte{1, 7}); !errors.Is(err, ErrPassword) {
		t.Error(err)
	}
	b, err := ParseReply(unhex(t, "05000001c00002010050"))
	if err != nil || b != netip.MustParseAddrPort("192.0.2.1:80") {
		t.Error(b, err)
	}
	var refused *Reply
	if _, err := ParseReply(unhex(t, "05050001000000000000")); !errors.As(err, &refused) || !refused.Destination() {
		t.Error(err)
	}
	if _, err := ParseReply(unhex(t, "05020001000000000000")); !errors.As(err, &refused) || refused.Destination() {
		t.Error(err)
	}
	if err := ParseReply4(unhex(t, "005a000000000000")); err != nil {
		t.Error(err)
	}
	if err := ParseReply4(unhex(t, "005b000000000000")); !errors.As(err, &refused) || !refused.Destination() {
		t.Error(err)
	}
	if _, err := AppendPassword(nil, "", "x"); err == nil {
		t.Error("empty user was accepted")
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add(unhex(f, "05000001c00002010050"))
	f.Add(unhex(f, "0500000303616263c350"))
	f.Add(unhex(f, "05000004000000000000000000000000000000010050"))
	f.Add(unhex(f, "005a000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseMethod(b)
		ParsePassword(b)
		ParseReply4(b)
		n, err := ReplyLen(b)
		if err != nil {
			return
		}
		if n < 7 || n > 262 {
			t.Fatalf("reply of %d octets", n)
		}
		_, err = ParseReply(b)
		if len(b) < n && !errors.Is(err, ErrShort) {
			t.Fatalf("%d of %d octets: %v", len(b), n, err)
		}
		if len(b) >= n {
			_, exact := ParseReply(b[:n])
			if (err == nil) != (exact == nil) {
				t.Fatalf("octets behind the reply change it: %v, %v", err, exact)
			}
		}
	})
}
