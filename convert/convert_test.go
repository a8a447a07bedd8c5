// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestLength(t *testing.T) {
	for _, c := range []struct {
		hex string
		n   int
		err error
	}{
		{"", 0, ErrShort},
		{"010122", 0, ErrShort},
		{"01012263", 4, nil},
		{"01ff2263", MaxMessage, nil},
		{"01002263", 0, ErrLength},
		{"02002263", 0, ErrVersion},
		{"00012263", 0, ErrVersion},
		{"02012264", 0, ErrMagic},
		{"47455420", 0, ErrMagic}, // "GET "
		{"16030100", 0, ErrMagic}, // TLS
	} {
		if n, err := Length(unhex(c.hex)); n != c.n || !errors.Is(err, c.err) {
			t.Errorf("Length(%s) = %d, %v; want %d, %v", c.hex, n, err, c.n, c.err)
		}
	}
}

func TestForbidden(t *testing.T) {
	for _, name := range []string{"X10", "X11", "X12", "X13", "X14"} {
		m, _, err := Parse(vectors(t)[name])
		if err != nil || !Forbidden(m.Connect.Addr.Addr()) {
			t.Errorf("%s: %+v, %v: not forbidden", name, m, err)
		}
	}
	for _, a := range []string{"0.0.0.0", "::", "127.255.255.254", "239.1.2.3", "::ffff:127.0.0.1", "::ffff:255.255.255.255", "ff05::2"} {
		if !Forbidden(netip.MustParseAddr(a)) {
			t.Errorf("%s is not forbidden", a)
		}
	}
	for _, a := range []string{"192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1", "::ffff:192.0.2.1", "255.255.255.254"} {
		if Forbidden(netip.MustParseAddr(a)) {
			t.Errorf("%s is forbidden", a)
		}
	}
	if !Forbidden(netip.Addr{}) {
		t.Error("no address is not forbidden")
	}
}

func TestErrorValues(t *testing.T) {
	e := func(name string) *Error { return wellFormed[name].Error }
	if got := e("E64").Wait(); got != 10*time.Second {
		t.Errorf("E64 waits %v", got)
	}
	if got := e("E64z").Wait(); got != DefaultWait {
		t.Errorf("E64z waits %v", got)
	}
	if got := (&Error{Code: CodeNetworkFailure}).Wait(); got != DefaultWait {
		t.Errorf("65 without value waits %v", got)
	}
	if got := e("E96").Wait(); got != 0 {
		t.Errorf("E96 waits %v", got)
	}
	if got := e("E03").Cookie(); !bytes.Equal(got, unhex("1122334455667788")) {
		t.Errorf("E03 hands out %x", got)
	}
	if got := (&Error{Code: CodeMissingCookie, Value: []byte{0}}).Cookie(); got != nil {
		t.Errorf("an empty cookie is %x", got)
	}
	if got := e("E00b").Versions(); !bytes.Equal(got, []byte{1, 2}) {
		t.Errorf("E00b knows %v", got)
	}
	if got := e("E33b").Options(); !bytes.Equal(got, []byte{29, 19}) {
		t.Errorf("E33b refuses %v", got)
	}
	if got := e("E97").ICMPCode(); got != 1 {
		t.Errorf("E97 has code %d", got)
	}
	for name, m := range wellFormed {
		if m.Error != nil && m.Error.Error() == "" {
			t.Errorf("%s has no text", name)
		}
	}
}

func TestRefuseMatchesTheVectors(t *testing.T) {
	all := vectors(t)
	for _, c := range []struct {
		name string
		e    *Error
	}{
		{"E00", Refuse(CodeUnsupportedVersion, all["X03"])},
		{"E01", Refuse(CodeMalformed, all["X10"])},
		{"E02", Refuse(CodeUnsupportedMessage, all["X09"])},
		{"E03", MissingCookie(unhex("1122334455667788"))},
	} {
		got, err := (&Message{Error: c.e}).Append(nil)
		if err != nil || !bytes.Equal(got, all[c.name]) {
			t.Errorf("%s: written as %x, %v", c.name, got, err)
		}
	}
}

func TestEchoOfTheLongestMessageIsCut(t *testing.T) {
	long := bytes.Repeat([]byte{0xaa}, MaxMessage)
	b, err := (&Message{Error: Refuse(CodeMalformed, long)}).Append(nil)
	if err != nil || len(b) != MaxMessage {
		t.Errorf("%d octets, %v", len(b), err)
	}
}

func TestMPTCPCapable(t *testing.T) {
	for name, want := range map[string]bool{"S04": false, "S05": true} {
		if got := MPTCPCapable(wellFormed[name].ExtendedHeader); got != want {
			t.Errorf("%s: MPTCPCapable = %v", name, got)
		}
	}
	for _, c := range []struct {
		hex  string
		want bool
	}{
		{"", false},
		{"1e", false},
		{"1e02", false},       // no subtype
		{"1e0310", false},     // MP_JOIN
		{"1e0301", true},      // version 1
		{"01011e0c01", false}, // overruns
		{"001e0301", false},   // after the end of the list
		{"08001e0301", false}, // length 0 must not loop
		{"0101011e040001", true},
	} {
		if got := MPTCPCapable(unhex(c.hex)); got != c.want {
			t.Errorf("MPTCPCapable(%s) = %v", c.hex, got)
		}
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	for name, m := range map[string]*Message{
		"no address":            {Connect: &Connect{}},
		"zone":                  {Connect: connect("[fe80::1%eth0]:80", "")},
		"option without length": {Connect: connect("192.0.2.1:80", "1e")},
		"padding in options":    {Connect: connect("192.0.2.1:80", "001e02")},
		"TCP-AO as supported":   {Supported: []uint8{29}},
		"padding as supported":  {Supported: []uint8{0}},
		"unknown of type 0":     {Unknown: []TLV{{}}},
		"unknown of known type": {Unknown: []TLV{{Type: TypeCookie}}},
		"unknown twice":         {Unknown: []TLV{{Type: 99}, {Type: 99}}},
		"too long a TLV":        {Cookie: make([]byte, 1013)},
		"too long a message":    {Cookie: make([]byte, 600), ExtendedHeader: make([]byte, 600)},
	} {
		if b, err := m.Append([]byte("x")); err == nil || string(b) != "x" {
			t.Errorf("%s: written as %x, %v", name, b, err)
		}
	}
}

func TestLargestTLVFits(t *testing.T) {
	m := &Message{Cookie: bytes.Repeat([]byte{7}, 1012)}
	b, err := m.Append(nil)
	if err != nil || len(b) != MaxMessage {
		t.Fatalf("%d octets, %v", len(b), err)
	}
	if got, _, err := Parse(b); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read back as %+v, %v", got, err)
	}
}

func TestAnEmptyTLVIsThere(t *testing.T) {
	m := &Message{Cookie: []byte{}, ExtendedHeader: []byte{}, Supported: []uint8{},
		Connect: &Connect{Addr: netip.MustParseAddrPort("192.0.2.1:1"), Options: []byte{}}}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := Parse(b); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read back as %+v, %v", got, err)
	}
}

func TestTheMessageKeepsNothingOfTheBuffer(t *testing.T) {
	for name, b := range vectors(t) {
		m, _, err := Parse(b)
		if err != nil {
			continue
		}
		clear(b)
		if !reflect.DeepEqual(m, wellFormed[name]) {
			t.Errorf("%s changed with its buffer", name)
		}
	}
}
