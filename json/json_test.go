// SPDX-License-Identifier: Apache-2.0

package json

import (
	"bytes"
	"cmp"
	stdjson "encoding/json"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

type whole struct {
	API   int                `json:"api"`
	Text  string             `json:"text,omitempty"`
	Open  bool               `json:"open"`
	Port  uint16             `json:"port"`
	Small int8               `json:"small"`
	Bytes uint64             `json:"bytes"`
	Rate  float64            `json:"rate"`
	Since time.Time          `json:"since"`
	Hits  map[string]uint64  `json:"hits"`
	Names []string           `json:"names"`
	Parts []part             `json:"parts"`
	Maybe *part              `json:"maybe,omitempty"`
	Raw   stdjson.RawMessage `json:"raw,omitempty"`
	Plain uint32
}

type part struct {
	Name string  `json:"name"`
	Loss float64 `json:"loss"`
	Sub  *part   `json:"sub"`
}

var texts = []string{
	`{}`, ` { } `, ``, `{`, `[]`, `null`, `1`, `{"api":1}x`, `{"api":1,}`, `{"api"}`, `{api:1}`, `{"api":1 "open":true}`, `{"unknown":{"a":[1,{"b":null},"c",-1.5e3,true]},"api":7}`,
	`{"api":1.0}`, `{"api":"1"}`, `{"api":null}`, `{"api":01}`, `{"api":-}`, `{"api":+1}`, `{"api":-0}`, `{"api":1e2}`, `{"port":65535}`, `{"port":65536}`, `{"port":-1}`, `{"small":-128}`, `{"small":128}`,
	`{"bytes":18446744073709551615}`, `{"bytes":18446744073709551616}`, `{"rate":1e400}`, `{"rate":3}`, `{"rate":-2.5e-3}`, `{"rate":.5}`, `{"rate":5.}`, `{"rate":1e}`, `{"rate":true}`, `{"open":tru}`, `{"open":true}`, `{"open":"true"}`, `{"open":1}`,
	`{"text":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800x\udc00"}`, `{"text":"\u12"}`, `{"text":"\x"}`, `{"text":"a`, "{\"text\":\"a\nb\"}", "{\"text\":\"\xff\xc3\"}", `{"text":5}`, `{"text":null}`,
	`{"since":"2026-11-28T07:00:00.5+01:00"}`, `{"since":"yesterday"}`, `{"since":5}`, `{"since":null}`, `{"hits":{"a":1,"b":2}}`, `{"hits":null}`, `{"hits":[]}`, `{"hits":{"a":-1}}`, `{"names":["a","b"]}`, `{"names":[]}`, `{"names":null}`, `{"names":["a",1]}`, `{"names":["a",]}`, `{"names":{}}`,
	`{"parts":[{"name":"x","loss":0.25},{"sub":{"sub":{"name":"deep"}}},null]}`, `{"maybe":{"name":"y"}}`, `{"maybe":null}`, `{"maybe":[]}`, `{"raw":{"a": [1, 2] }}`, `{"raw":null}`, `{"raw": "x" }`, `{"raw":{]}`, `{"Plain":9,"other":3}`, `{"names":["a"],"names":["b","c"]}`, `{"hits":{"a":1},"hits":{"b":1}}`, `{"API":"x"}`,
	`{"unknown":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, `{"unknown":"` + strings.Repeat("x", 3000) + `"}`, "\ufeff{}",
}

// folds tells whether a text has a name that only encoding/json finds, which takes NAME for name.
func folds(text []byte) bool {
	d := stdjson.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		name, _ := token.(string)
		for _, t := range []reflect.Type{reflect.TypeFor[whole](), reflect.TypeFor[part]()} {
			for i := range t.NumField() {
				known, _, _ := strings.Cut(cmp.Or(t.Field(i).Tag.Get("json"), t.Field(i).Name), ",")
				if name != known && strings.EqualFold(name, known) {
					return true
				}
			}
		}
	}
}

// compare holds Decode against encoding/json, which writes what this package reads.
func compare(t *testing.T, text []byte) {
	t.Helper()
	if folds(text) {
		return
	}
	var got, want whole
	wantErr := stdjson.Unmarshal(text, &want)
	err := Decode(text, &got)
	if (err == nil) != (wantErr == nil) {
		if err == nil || !strings.Contains(err.Error(), "levels") {
			t.Errorf("error %v, encoding/json says %v: %q", err, wantErr, text)
		}
		return
	}
	if err != nil {
		return
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("-encoding/json +got:\n%s%q", diff, text)
	}
}

func TestDecodesAsEncodingJSONDoes(t *testing.T) {
	for _, text := range texts {
		compare(t, []byte(text))
	}
}

func TestReadsBackWhatEncodingJSONWrites(t *testing.T) {
	want := whole{API: 1, Text: "a<b>\u2028\x7f\x00", Bytes: 1<<64 - 1, Rate: 1e21, Since: time.Date(2026, 11, 28, 7, 0, 0, 5, time.UTC), Hits: map[string]uint64{"é": 1},
		Names: []string{}, Parts: []part{{Name: "x", Loss: 0.1}}, Maybe: &part{Sub: &part{}}, Raw: stdjson.RawMessage(`[1,"x"]`), Plain: 7}
	text, err := stdjson.MarshalIndent(want, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "[\n\t\t1,\n\t\t\"x\"\n\t]", `[1,"x"]`, 1)) // as it was before the indent
	var got whole
	if err := Decode(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestErrorsNameTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		`{"port": 65536}`: `json: octet 14: strconv.ParseUint: parsing "65536": value out of range`,
		`{"open" true}`:   `json: octet 8: no colon after a name`,
		`{} {}`:           `json: octet 3: text after the end`,
	} {
		if err := Decode([]byte(text), new(whole)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// written holds Encode against encoding/json: what it reads of ours is what was written.
func written(t *testing.T, want whole) {
	t.Helper()
	text, err := Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got whole
	if err := stdjson.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	theirs, err := stdjson.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var back whole
	if err := stdjson.Unmarshal(theirs, &back); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(back, got); diff != "" {
		t.Errorf("-encoding/json +got:\n%s%s", diff, text)
	}
}

func TestEncodesAsEncodingJSONDoes(t *testing.T) {
	type tags struct {
		A     int            `json:"a,omitempty"`
		B     []int          `json:"b,omitempty"`
		C     *int           `json:"c"`
		D     time.Time      `json:"d,omitzero"`
		E     time.Duration  `json:"e"`
		F     any            `json:"f"`
		G     map[string]any `json:"g"`
		H     [2]bool        `json:"-"`
		I     netip.Addr     `json:"i,omitzero"`
		J     struct{ X int8 }
		K     float32 `json:"k"`
		L     []byte  `json:"l,omitempty"`
		inner int
	}
	n := 5
	values := []any{nil, true, -1, uint64(1<<64 - 1), 1.5, 1e21, 1e-7, 0.0, 123456789.0, "", "a\"b\\c\n\t", "ü", []string{}, []string(nil), [2]int{1, 2}, map[string]int{"b": 1, "a": 2},
		map[string]any(nil), tags{}, tags{A: 1, B: []int{2}, C: &n, D: time.Unix(5, 0).UTC(), E: 7, F: []any{1, "x", nil}, G: map[string]any{"z": tags{}}, I: netip.MustParseAddr("2001:db8::1"), K: 0.1, inner: 1},
		&n, []*int{nil, &n}, time.Unix(0, 1).UTC()}
	for _, v := range values {
		want, err := stdjson.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(v)
		if err != nil {
			t.Errorf("%#v: %v", v, err)
			continue
		}
		var a, b any
		if err := stdjson.Unmarshal(got, &a); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		stdjson.Unmarshal(want, &b)
		if diff := gocmp.Diff(b, a); diff != "" || len(got) != len(want) && !bytes.ContainsAny(want, "\\e") {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got, err := Encode(map[string]any{"raw": Raw(`{"a": [1]}`)}); err != nil || string(got) != `{"raw":{"a": [1]}}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestWhatCantBeWrittenIsNamed(t *testing.T) {
	loop := map[string]any{}
	loop["x"] = loop
	for want, v := range map[string]any{
		"F: 1: NaN is no number of JSON":                        struct{ F []float64 }{[]float64{0, math.NaN()}},
		"x: chan int can't be written":                          map[string]any{"x": make(chan int)},
		"map[int]int can't be written: its keys are no strings": map[int]int{1: 1},
	} {
		if _, err := Encode(v); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := Encode(loop); err == nil || !strings.Contains(err.Error(), "more than 100 levels") {
		t.Error(err)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("a\xff\u2028\x00", int64(-5), 2.5, "key")
	f.Fuzz(func(t *testing.T, s string, n int64, x float64, key string) {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			t.Skip("no number of JSON")
		}
		written(t, whole{Text: s, Small: int8(n), Bytes: uint64(n), Rate: x, Hits: map[string]uint64{key: uint64(n)}, Names: []string{s, key}, Maybe: &part{Name: s, Loss: x}})
	})
}

func FuzzDecode(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(compare)
}
