// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
)

// vectors reads testdata/vectors.txt: name -> octets.
func vectors(tb testing.TB) map[string][]byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 4 {
			tb.Fatalf("vector line %q has %d fields", line, len(f))
		}
		if all[f[0]], err = hex.DecodeString(f[2]); err != nil {
			tb.Fatalf("vector %s: %v", f[0], err)
		}
	}
	return all
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func connect(addr, options string) *Connect {
	c := &Connect{Addr: netip.MustParseAddrPort(addr)}
	if options != "" {
		c.Options = unhex(options)
	}
	return c
}

func refusal(code Code, value string) *Message {
	return &Message{Error: &Error{Code: code, Value: unhex(value)}}
}

// wellFormed is what each good vector means.
var wellFormed = map[string]*Message{
	"C01":  {Connect: connect("192.0.2.1:80", "")},
	"C02":  {Connect: connect("[2001:db8::1]:443", "")},
	"C03":  {Connect: connect("192.0.2.1:80", ""), Cookie: unhex("1122334455667788")},
	"C04":  {Connect: connect("192.0.2.1:80", ""), Cookie: []byte("hello\x00\x00\x00")},
	"C05":  {Info: true},
	"C06":  {Info: true, Connect: connect("192.0.2.1:80", "")},
	"C07":  {Connect: connect("192.0.2.1:80", "1e02")},
	"C08":  {Connect: connect("192.0.2.1:80", "22021e02")},
	"C09":  {Connect: connect("[2001:db8::1]:443", "220ac1c2c3c4c5c6c7c8")},
	"C10":  {Connect: connect("192.0.2.1:80", "")},
	"C11":  {Connect: connect("203.0.113.7:54321", "")},
	"S01":  {},
	"S02":  {Supported: []uint8{30, 34, 8, 4}},
	"S03":  {Supported: []uint8{30}},
	"S04":  {ExtendedHeader: unhex("020405b40402080a000000010000000201030307")},
	"S05":  {ExtendedHeader: unhex("020405b40402080a0000000100000002010303071e0c01010102030405060708")},
	"E00":  refusal(CodeUnsupportedVersion, "01"),
	"E00b": refusal(CodeUnsupportedVersion, "0102000000"),
	"E01":  refusal(CodeMalformed, "00010622630a05005000000000000000000000ffff7f000001"),
	"E02":  refusal(CodeUnsupportedMessage, "00010222637f010000"),
	"E03":  refusal(CodeMissingCookie, "001122334455667788"),
	"E32":  refusal(CodeNotAuthorized, "00"),
	"E33":  refusal(CodeUnsupportedOption, "1d"),
	"E33b": refusal(CodeUnsupportedOption, "1d13000000"),
	"E64":  refusal(CodeResourceExceeded, "0a"),
	"E64z": refusal(CodeResourceExceeded, "00"),
	"E65":  refusal(CodeNetworkFailure, "05"),
	"E96":  refusal(CodeConnectionReset, "00"),
	"E97":  refusal(CodeUnreachable, "01"),
	"X09":  {Unknown: []TLV{{Type: 0x7f, Value: []byte{0, 0}}}},
	// A forbidden address is well-formed; see TestForbidden.
	"X10": {Connect: connect("127.0.0.1:80", "")},
	"X11": {Connect: connect("224.0.0.1:80", "")},
	"X12": {Connect: connect("[ff02::1]:80", "")},
	"X13": {Connect: connect("255.255.255.255:80", "")},
	"X14": {Connect: connect("[::1]:80", "")},
}

// plain marks errors of the header that no RFC code belongs to.
const plain = Code(255)

var malformed = map[string]struct {
	is   error // errors.Is, where there is a sentinel
	code Code
}{
	"X01": {ErrLength, plain},
	"X02": {ErrMagic, plain},
	"X03": {ErrVersion, CodeUnsupportedVersion},
	"X04": {ErrVersion, CodeUnsupportedVersion},
	"X05": {nil, CodeMalformed},
	"X06": {nil, CodeMalformed},
	"X07": {nil, CodeMalformed},
	"X08": {nil, CodeUnsupportedMessage},
	"X15": {nil, CodeMalformed},
	"X16": {ErrShort, plain},
	"X17": {nil, CodeMalformed},
	"X18": {nil, CodeMalformed},
	"X19": {nil, CodeMalformed},
	"X20": {nil, CodeMalformed},
}

func TestEveryVectorIsTested(t *testing.T) {
	all := vectors(t)
	for name := range all {
		_, bad := malformed[name]
		if wellFormed[name] == nil && !bad {
			t.Errorf("vector %s is not tested", name)
		}
	}
	if len(all) != len(wellFormed)+len(malformed) || len(all) != 49 {
		t.Errorf("%d vectors in the file, %d in the tests", len(all), len(wellFormed)+len(malformed))
	}
}

func TestWellFormedVectors(t *testing.T) {
	for name, b := range vectors(t) {
		want := wellFormed[name]
		if want == nil {
			continue
		}
		got, n, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		back, err := want.Append([]byte("before"))
		if err != nil || string(back) != "before"+string(b[:n]) {
			t.Errorf("%s: written as %x (%v), want %x", name, back, err, b[:n])
		}
	}
}

func TestUserDataIsOutside(t *testing.T) {
	b := vectors(t)["C10"]
	_, n, err := Parse(b)
	if err != nil || string(b[n:]) != "GET / HTTP/1.0\r\n\r\n" {
		t.Errorf("user data %q, %v", b[n:], err)
	}
}

func TestMalformedVectors(t *testing.T) {
	all := vectors(t)
	for name, want := range malformed {
		m, n, err := Parse(all[name])
		if err == nil || m != nil {
			t.Errorf("%s: parsed as %+v, %v", name, m, err)
			continue
		}
		if want.is != nil && !errors.Is(err, want.is) {
			t.Errorf("%s: error %v, want %v", name, err, want.is)
		}
		code := plain
		if pe, ok := errors.AsType[*ParseError](err); ok {
			code = pe.Code
			if code != CodeUnsupportedVersion && n != len(all[name]) {
				t.Errorf("%s: %d octets to echo, want %d", name, n, len(all[name]))
			}
		}
		if code != want.code {
			t.Errorf("%s: code %v, want %v (%v)", name, code, want.code, err)
		}
	}
}

func TestEveryTruncationIsShort(t *testing.T) {
	for name, b := range vectors(t) {
		want, n, err := Parse(b)
		if err != nil {
			continue
		}
		for i := range n {
			if m, _, err := Parse(b[:i]); !errors.Is(err, ErrShort) || m != nil {
				t.Errorf("%s: %d of %d octets: %v, want %v", name, i, n, err, ErrShort)
			}
		}
		if got, _, err := Parse(append(b[:n:n], "user data"...)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: user data changes the message: %+v, %v", name, got, err)
		}
	}
}

// A message cut and its Total Length made to fit must fail or parse, with a TLV's true end never overrun.
func TestTruncationWithMatchingTotalLength(t *testing.T) {
	for name, b := range vectors(t) {
		_, n, err := Parse(b)
		if err != nil {
			continue
		}
		for words := 1; words < n/4; words++ {
			cut := append([]byte{}, b[:4*words]...)
			cut[1] = uint8(words)
			_, used, err := Parse(cut)
			if used != len(cut) {
				t.Errorf("%s cut to %d words: %d octets used, %v", name, words, used, err)
			}
		}
	}
}
