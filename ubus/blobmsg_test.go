// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIntegersOfAnyWidth(t *testing.T) {
	for name, hexed := range map[string]string{
		"int8":  "87000009 00016e00 01000000",
		"int16": "8600000a 00016e00 00010000",
		"int32": "8500000c 00016e00 00000001",
		"int64": "84000010 00016e00 00000000 00000001",
		"text":  "8300000a 00016e00 31000000",
		"real":  "88000010 00016e00 3ff00000 00000000",
	} {
		m, err := ParseMsg(unhex(t, hexed))
		if n, ok := m.Int("n"); n != 1 || !ok || err != nil {
			t.Errorf("%s: %v %d %v %v", name, m, n, ok, err)
		}
	}
}

// wide is n as an int where an int holds it, which on a 32 bit machine it doesn't.
func wide(n int64) any {
	if strconv.IntSize == 64 {
		return int(n)
	}
	return n
}

func TestWidthSent(t *testing.T) {
	for _, c := range []struct {
		v    any
		want Type
	}{{int64(1), TypeInt64}, {uint64(1), TypeInt64}, {uint32(1), TypeInt64}, {int32(1), TypeInt32}, {uint8(1), TypeInt32},
		{1, TypeInt32}, {wide(math.MaxInt32 + 1), TypeInt64}, {wide(math.MinInt32 - 1), TypeInt64}, {true, TypeBool}, {1.5, TypeDouble}} {
		b, err := AppendMsg(nil, Msg{{"n", c.v}})
		if err != nil || Type(b[0]&0x7f) != c.want {
			t.Errorf("%T(%v) is sent as type %d, want %d (%v)", c.v, c.v, b[0]&0x7f, c.want, err)
		}
	}
}

func TestTrapsOfTheWire(t *testing.T) {
	for name, hexed := range map[string]string{
		"empty":                    "",
		"shorter than a header":    "850000",
		"length 0":                 "85000000 00016e00",
		"length 3":                 "85000003 00016e00",
		"longer than the list":     "85000010 00016e00",
		"name past the end":        "8500000c ffff6e00 00000001",
		"name of the whole length": "85000008 00026e6e",
		"name without NUL":         "8500000c 00016e01 00000001",
		"no room for a name":       "85000005 01000000",
		"string without NUL":       "8300000a 00016e00 31320000",
		"string without octets":    "83000008 00016e00",
		"int32 of three octets":    "8500000b 00016e00 00000100",
		"int64 of four octets":     "8400000c 00016e00 00000001",
		"unknown type":             "8900000c 00016e00 00000001",
	} {
		m, err := ParseMsg(unhex(t, hexed))
		if err != nil || len(m) != 0 {
			t.Errorf("%s: %v %v, want nothing", name, m, err)
		}
	}
	// After what is not understood the list goes on; after what has no length it can't.
	m, _ := ParseMsg(unhex(t, "8900000c 00016e00 00000001"+"8500000c 00016f00 00000002"))
	if n, _ := m.Int("o"); n != 2 {
		t.Errorf("after an unknown type: %v", m)
	}
	// A null is a value (the dsl object sends it), an element may lack the name's header, the first of a name counts.
	m, _ = ParseMsg(unhex(t, "80000008 00016e00"+"81000010 00016c00 05000008 00000007"+"8500000c 00016e00 00000002"))
	if !m.Has("n") || m.Get("n") != nil || !cmp.Equal(m.List("l"), []any{int64(7)}) {
		t.Errorf("%v", m)
	}
}

func TestDepthAndNumberAreBounded(t *testing.T) {
	m := Msg{}
	for range maxDepth + 2 {
		m = Msg{{"t", m}}
	}
	if _, err := AppendMsg(nil, m); !errors.Is(err, errDepth) {
		t.Errorf("encode: %v", err)
	}
	if _, err := AppendJSON(nil, m); !errors.Is(err, errDepth) {
		t.Errorf("json: %v", err)
	}
	var b []byte
	for range 100 {
		start := append([]byte{0, 0, 0, 0, 0, 1, 't', 0}, b...)
		b, _ = closeAttr(start, 0, extended|uint32(TypeTable)<<24)
	}
	if _, err := ParseMsg(b); !errors.Is(err, errDepth) {
		t.Errorf("decode: %v", err)
	}
	if _, err := ParseMsg(bytes.Repeat([]byte{0x80, 0, 0, 8, 0, 0, 0, 0}, maxValues+1)); !errors.Is(err, errValues) {
		t.Errorf("number: %v", err)
	}
	if _, err := FromJSON([]byte(`{"a":` + strings.Repeat("[", 1000))); !errors.Is(err, errDepth) {
		t.Errorf("json: %v", err)
	}
	if _, err := AppendMsg(nil, Msg{{strings.Repeat("n", 1<<16), 1}}); !errors.Is(err, errName) {
		t.Errorf("name: %v", err)
	}
	if _, err := AppendMsg(nil, Msg{{"n", struct{}{}}}); err == nil {
		t.Error("a struct was encoded")
	}
	if _, err := AppendMsg(nil, Msg{{"n", uint64(math.MaxUint64)}}); err == nil {
		t.Error("2^64-1 was encoded")
	}
}

func TestEnvelopeLength(t *testing.T) {
	for head, ok := range map[string]bool{"00000000 00000000 00000004": true, "00000000 00000000 00000003": false,
		"00000000 00000000 00100001": false, "01000000 00000000 00000004": false} {
		if _, err := ReadMessage(bytes.NewReader(unhex(t, head))); (err == nil) != ok {
			t.Errorf("%s: %v", head, err)
		}
	}
	m := Message{Envelope: Envelope{{AttrData, make([]byte, MaxEnvelope-8)}}}
	if b, err := m.Append(nil); err != nil || len(b) != MaxEnvelope+8 {
		t.Errorf("largest message: %d octets, %v", len(b), err)
	}
	m.Envelope[0].Payload = make([]byte, MaxEnvelope-7)
	if _, err := m.Append(nil); err == nil {
		t.Error("a message over the limit was written")
	}
}

func TestJSON(t *testing.T) {
	m := Msg{{"s", "a\"\\\n\x01ü😀"}, {"i", int64(math.MaxInt64)}, {"f", 0.25}, {"whole", 3.0}, {"nan", math.NaN()}, {"b", true}, {"n", nil},
		{"list", []string{"x"}}, {"tables", []Msg{{{"a", 1}}}}, {"map", map[string]any{"b": 2, "a": uint8(1)}}, {"empty", Msg{}}}
	want := `{"s":"a\"\\\n\u0001ü😀","i":9223372036854775807,"f":0.25,"whole":3.0,"nan":null,"b":true,"n":null,` +
		`"list":["x"],"tables":[{"a":1}],"map":{"a":1,"b":2},"empty":{}}`
	if got := string(m.JSON()); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
	back, err := FromJSON([]byte(want))
	if err != nil || string(back.JSON()) != want {
		t.Errorf("back: %v\n%s", err, back.JSON())
	}
	m, err = FromJSON([]byte(" { \"a\" : [ 1 , -2.5e1 , \"\\ud83d\\ude00\\ud800x\\/\" ] , \"b\" : { } } "))
	if diff := cmp.Diff(Msg{{"a", []any{int64(1), -25.0, "😀\ufffdx/"}}, {"b", Msg{}}}, m); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, bad := range []string{"", "1", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1}x", "{a:1}", "{\"a\":tru}", "{\"a\":1.2.3}",
		"{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"", "{\"a\":\"\n\"}", "{\"a\":[1 2]}", "{\"a\":-}", "{\"a\":\"\\"} {
		if m, err := FromJSON([]byte(bad)); err == nil {
			t.Errorf("%q is read as %v", bad, m)
		}
	}
}

func TestMsgAccess(t *testing.T) {
	m := Msg{{"on", "1"}, {"half", 0.5}, {"yes", true}, {"n", int64(3)}, {"text", "word"}}
	if !m.Bool("on") || !m.Bool("yes") || !m.Bool("n") || m.Bool("absent") || m.Bool("text") {
		t.Error("flags")
	}
	if _, ok := m.Int("half"); ok {
		t.Error("0.5 is no integer")
	}
	if _, ok := m.Int("text"); ok {
		t.Error("a word is no integer")
	}
	if f, ok := m.Float("half"); f != 0.5 || !ok {
		t.Error("half")
	}
	if f, ok := m.Float("n"); f != 3 || !ok {
		t.Error("n")
	}
}

func FuzzMessage(f *testing.F) {
	for _, trace := range traces {
		f.Add(unhex(f, trace))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadMessage(bytes.NewReader(b))
		if err != nil {
			return
		}
		frame, err := m.Append(nil)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		again, err := ReadMessage(bytes.NewReader(frame))
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		m.Envelope.Msg(AttrData)
		m.Envelope.Text(AttrMethod)
	})
}

func FuzzBlobmsg(f *testing.F) {
	for _, trace := range traces {
		if m, err := ReadMessage(bytes.NewReader(unhex(f, trace))); err == nil {
			for _, a := range m.Envelope {
				f.Add(a.Payload)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMsg(b)
		if err != nil {
			return
		}
		again, err := AppendMsg(nil, m)
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		back, err := ParseMsg(again)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := string(m.JSON()), string(back.JSON()); a != b {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2.5e1,"\ud83d\ude00",null,true],"b":{"c":"\u0000"}}`))
	f.Add([]byte(`{"a":1e999,"":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := FromJSON(b)
		if err != nil {
			return
		}
		text, err := AppendJSON(nil, m)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		again, err := FromJSON(text)
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Fatalf("%s: %v %s", text, err, diff)
		}
	})
}
