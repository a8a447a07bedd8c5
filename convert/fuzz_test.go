// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
)

// What was read can be written and reads back the same, in no more octets; the work is bounded by the message.
func FuzzParse(f *testing.F) {
	for _, b := range vectors(f) {
		f.Add(b)
	}
	for _, m := range []Message{{Info: true, Unknown: []TLV{AskSeen()}}, {Supported: []uint8{30}, Unknown: []TLV{Seen(netip.MustParseAddrPort("192.0.2.1:9"))}}} {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := Parse(b)
		if n < 0 || n > MaxMessage || n%4 != 0 {
			t.Fatalf("%d octets used", n)
		}
		if err != nil {
			if m != nil || err.Error() == "" {
				t.Fatalf("message %+v beside error %v", m, err)
			}
			if errors.Is(err, ErrShort) && len(b) >= MaxMessage {
				t.Fatalf("%d octets are short", len(b))
			}
			return
		}
		if n < HeaderLen || n > len(b) {
			t.Fatalf("%d of %d octets used", n, len(b))
		}
		out, err := m.Append(nil)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", m, err)
		}
		if len(out) > n {
			t.Fatalf("%d octets became %d", n, len(out))
		}
		again, used, err := Parse(out)
		if err != nil || used != len(out) || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
		if len(m.Unknown) > n/4 {
			t.Fatalf("%d unknown TLVs in %d octets", len(m.Unknown), n)
		}
		if m.Error != nil {
			_ = m.Error.Error()
			m.Error.Wait()
			m.Error.Cookie()
		}
		if a, ok := m.Seen(); ok && !a.IsValid() {
			t.Fatalf("an address as seen that is none: %v", a)
		}
		if m.AsksSeen() && len(m.Unknown) != 1 {
			t.Fatalf("%d unknown TLVs ask for the address as seen", len(m.Unknown))
		}
		if m.Connect != nil {
			Forbidden(m.Connect.Addr.Addr())
		}
		MPTCPCapable(m.ExtendedHeader)
	})
}

// A list of options never yields more octets than it has.
func FuzzOptions(f *testing.F) {
	f.Add(unhex("020405b40402080a0000000100000002010303071e0c01010102030405060708"))
	f.Add(unhex("22021e020000"))
	f.Add(unhex("1e000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		MPTCPCapable(b)
		list, err := Options(b)
		n, lenErr := optionsLen(b)
		if (err == nil) != (lenErr == nil) || n > len(b) {
			t.Fatalf("Options %v, optionsLen %d %v of %d", err, n, lenErr, len(b))
		}
		sum := 0
		for _, o := range list {
			sum += 2 + len(o.Value)
		}
		if sum > n {
			t.Fatalf("options of %d octets in %d", sum, n)
		}
	})
}

// Whatever a caller fills in is refused or written in whole words that read back.
func FuzzAppend(f *testing.F) {
	f.Add(true, []byte("cookie"), []byte{1, 1, 1}, []byte{30, 4}, uint8(64), []byte{10}, uint8(99), []byte("x"))
	f.Fuzz(func(t *testing.T, info bool, cookie, header, supported []byte, code uint8, value []byte, typ uint8, raw []byte) {
		m := &Message{Info: info, Cookie: cookie, ExtendedHeader: header, Supported: supported,
			Error: &Error{Code: Code(code), Value: value}, Unknown: []TLV{{Type: typ, Value: raw}}}
		b, err := m.Append(nil)
		if err != nil {
			return
		}
		got, n, err := Parse(b)
		if err != nil || n != len(b) || got.Info != info || uint8(got.Error.Code) != code || got.Unknown[0].Type != typ {
			t.Fatalf("%+v became %+v, %v", m, got, err)
		}
	})
}
