// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	reference "github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// plain is a value as the reference gives it.
func plain(value any) any {
	switch v := value.(type) {
	case *table:
		m := map[string]any{}
		for _, name := range v.names {
			m[name] = plain(v.items[name].value)
		}
		return m
	case arrayOfTables:
		ms := []any{}
		for _, t := range v {
			ms = append(ms, plain(t))
		}
		return ms
	case []item:
		vs := []any{}
		for _, it := range v {
			vs = append(vs, plain(it.value))
		}
		return vs
	case float64:
		return number(v)
	}
	return value
}

// number makes what is not a number equal to itself.
func number(v float64) any {
	if math.IsNaN(v) {
		return "not a number"
	}
	return v
}

// alike makes the reference's arrays of tables arrays, and tells whether there is a date.
func alike(value any) (same any, date bool) {
	switch v := value.(type) {
	case map[string]any:
		for name := range v {
			inner, d := alike(v[name])
			v[name], date = inner, date || d
		}
	case []map[string]any:
		vs := make([]any, len(v))
		for i := range v {
			inner, d := alike(v[i])
			vs[i], date = inner, date || d
		}
		return vs, date
	case []any:
		for i := range v {
			inner, d := alike(v[i])
			v[i], date = inner, date || d
		}
	case float64:
		return number(v), false
	case time.Time:
		return v, true
	}
	return value, date
}

// stricter is where TOML itself forbids what the reference lets pass, such as to add to a table that is complete.
var stricter = regexp.MustCompile(`stands already on line|nothing can be added to|too deep|not UTF-8`)

// compare holds this package against the common library for TOML.
func compare(t *testing.T, text string) {
	t.Helper()
	want := map[string]any{}
	_, wantErr := reference.Decode(text, &want)
	root, problem := parse(text)
	if wantErr != nil {
		if problem == nil {
			t.Errorf("accepted; the reference says %v:\n%s", wantErr, text)
		}
		return
	}
	same, date := alike(want)
	if date {
		if problem == nil {
			t.Errorf("accepted a date:\n%s", text)
		}
		return
	}
	if problem != nil {
		if !stricter.MatchString(problem.Text) {
			t.Errorf("line %d: %s; the reference accepts:\n%s", problem.Line, problem.Text, text)
		}
		return
	}
	if got := plain(root); !reflect.DeepEqual(got, same) {
		t.Errorf("got %#v, the reference has %#v:\n%s", got, same, text)
	}
}

// texts are TOML and nearly TOML.
func texts(t testing.TB) []string {
	seeds := []string{
		"", "\n", "# only\n", "a=1", "a = 1 # one\r\nb = 2\r\n", "\ufeffa = 1", "a = 1 b = 2", "a = 1\na = 2", "= 1", "a", "a =", "a = \n1", "a b = 1",
		"a.b.c = 1\na.b.d = 2", "a.b = 1\n[a]\nc = 1", "a.b = 1\n[a.c]\nd = 1", "[a.b]\nx = 1\n[a]\ny = 2", "[a]\n[a]", "[a]\nb = 1\n[a.b]", "a = 1\na.b = 2",
		"[a.b.c]\nz = 1\n[a]\nb.c.t = 2", "[x]\na.b = 1\na = 2", "[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\ny = 1\n[[a.c]]\n[[a.c]]", "[a]\n[[a]]", "[[a]]\n[a]", "a = []\n[[a]]",
		"a = {b = 1, c.d = 2, c.e = 3}", "a = {b = 1}\na.c = 2", "a = {b = 1}\n[a.c]", "a = {}", "a = {,}", "a = {b = 1,}", "a = {\n b = 1, # one\n c = 2\n}", "a = {b = 1 c = 2}", "a = {b = 1, b = 2}", "a = {a.b = 1, a = 2}",
		"a = [1, 2.5, \"x\", [true], {b = 1}]", "a = [\n 1, # one\n 2,\n]", "a = [1 2]", "a = [1", "a = [,]", "a = [1,,2]", "[a", "[a]]", "[[a]", "[]", "[ a . \"b c\" . 'd' ]\nx = 1", "[a]x = 1", "[ [a]]",
		`a = "x\ty\\\"\u00e9\U0001F600\x41\e"`, `a = "\ud800"`, `a = "\U00110000"`, `a = "\q"`, `a = "\u12"`, `a = "x`, "a = \"x\ny\"", `a = 'c:\x'`, `a = ''`, `a = ""`, `"" = 1`, `'a.b'.c = 1`, `"""a""" = 1`,
		"a = \"\"\"\nx\ny\"\"\"", "a = \"\"\"x \\\n\n   y\"\"\"", "a = \"\"\"\"x\"\"\"\"\"", "a = \"\"\"\"\"\"", "a = '''\n'x'''''", "a = '''x", "a = \"\"\"x\\ y\"\"\"", "a = \"\"\"\r\nx\"\"\"", "a = \"\\",
		"a = 0", "a = -0", "a = +7", "a = 1_000", "a = 1__0", "a = _1", "a = 1_", "a = 007", "a = 0x_1", "a = 0xFf_0", "a = 0o17", "a = 0b101", "a = 0b2", "a = +0x1", "a = 0X1", "a = 9223372036854775807", "a = 9223372036854775808", "a = -9223372036854775808",
		"a = 1.5", "a = 1.", "a = .5", "a = 1e5", "a = 1E+5", "a = 1.e5", "a = 1e_5", "a = 1_0.0_1", "a = 03.5", "a = -0.0", "a = inf", "a = -nan", "a = +inf", "a = Inf", "a = 1e999", "a = 0e1", "a = 0x1p4", "a = 1.5.6", "a = infinity",
		"a = true", "a = True", "a = 2024-01-02", "a = 07:32:00", "a = 2024-01-02T03:04:05Z", "a = 2024-01-02 03:04:05", "a = \x01", "a = \"\x7f\"", "# \x00", "a = \"\xff\"", "\xfe\xff", "a\r = 1", "a = 1\r",
		strings.Repeat("[", 300), "a = " + strings.Repeat("[", 60) + strings.Repeat("]", 60), "a = " + strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("a.", 200) + "a = 1", "a = " + strings.Repeat("{a=", 100) + "1" + strings.Repeat("}", 100),
	}
	for _, file := range []string{"../reference.toml", "../../cross/budget.toml", "../../openwrt/uci/testdata/spillway.toml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, string(text))
	}
	return seeds
}

func TestReadsAsTheCommonLibraryDoes(t *testing.T) {
	for _, text := range texts(t) {
		compare(t, text)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range texts(f) {
		f.Add(text)
	}
	f.Fuzz(compare)
}

type file struct {
	Mode string `toml:"mode"`
	LAN  struct {
		Interfaces []string `toml:"interfaces"`
	} `toml:"lan"`
	Link []link `toml:"link"`
}

type link struct {
	Name    string   `toml:"name"`
	Weight  *int64   `toml:"weight"`
	Metered *bool    `toml:"metered"`
	Share   *float64 `toml:"share"`
	DSCP    []int64  `toml:"dscp"`
}

func TestDecodePutsValuesIntoTheirFields(t *testing.T) {
	text := "mode = \"bond\"\nlan.interfaces = [\n \"br-lan\",\n \"br-guest\"]\n[[link]]\nname = \"dsl\"\nshare = 1\n\n[[link]]\n" +
		"name = \"lte\"\nweight = 3\nmetered = true\nshare = 0.5\ndscp = [46]\n"
	var got file
	lines, problems := Decode(text, &got)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := file{Mode: "bond"}
	want.LAN.Interfaces = []string{"br-lan", "br-guest"}
	want.Link = []link{{Name: "dsl", Share: new(1.0)}, {Name: "lte", Weight: new(int64(3)), Metered: new(true), Share: new(0.5), DSCP: []int64{46}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	wantLines := map[string]int{"mode": 1, "lan": 2, "lan.interfaces": 2, "lan.interfaces[0]": 3, "lan.interfaces[1]": 4, "link": 9, "link[0]": 5, "link[0].name": 6,
		"link[0].share": 7, "link[1]": 9, "link[1].name": 10, "link[1].weight": 11, "link[1].metered": 12, "link[1].share": 13, "link[1].dscp": 14, "link[1].dscp[0]": 14}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestDecodeNamesAllThatIsWrong(t *testing.T) {
	text := "mod = 1\n\"x\\ny\" = 2\nmode = 3\nlan = [1]\n[[link]]\nname = true\nweight = 1.5\nmetered = \"no\"\nshare = {}\ndscp = [1, \"EF\"]\nlink = 1\n"
	_, got := Decode(text, new(file))
	want := []Problem{
		{1, "mod", "no such key; did you mean mode?", true},
		{2, `"x\ny"`, "no such key; see spillway check -reference", true},
		{3, "mode", "this is a number; write a text in quotes", false},
		{4, "lan", "this is an array; write a table", false},
		{6, "link[0].name", "this is true or false; write a text in quotes", false},
		{7, "link[0].weight", "this is a number with a fraction; write a whole number, without quotes", false},
		{8, "link[0].metered", "this is a text in quotes; write true or false", false},
		{9, "link[0].share", "this is a table; write a number, without quotes", false},
		{10, "link[0].dscp[1]", "this is a text in quotes; write a whole number, without quotes", false},
		{11, "link[0].link", "no such key; see spillway check -reference", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for text, want := range map[string]string{"link = 1": "this is a number; write tables, each under its name in [[ ]]", "[[link]]\ndscp = 1": "this is a number; write an array, in [ ]"} {
		if _, got := Decode(text, new(file)); len(got) != 1 || got[0].Text != want {
			t.Errorf("%q: %v, want %q", text, got, want)
		}
	}
}

func TestDecodeSaysWhereTheTextIsNotTOML(t *testing.T) {
	for text, want := range map[string]Problem{
		"a = 1\n[lan\n":          {2, "syntax", `expected '.' or "]" after the table's name`, false},
		"a = 1\n\na = 2\n":       {3, "syntax", "a stands already on line 1", false},
		"[a]\nb = 1\n[a.b.c]":    {3, "syntax", "nothing can be added to a.b of line 2", false},
		"a = '''\nx\ny":          {1, "syntax", "the text that begins here has no ''' at its end", false},
		"a = \"\"\"\nx\\q\"\"\"": {2, "syntax", `a backslash begins an escape such as \n or \u00e9; write \\ for itself`, false},
		"a = 'x\nb = 1":          {1, "syntax", "the text has no ' at the end of the line", false},
		"a = [1,\n 2\n":          {3, "syntax", "expected ',' or ']' in the array that begins on line 1", false},
		"x = 1\nrole = primary":  {2, "syntax", `"primary" is not a value: a text stands in quotes, anything else is a number, true or false`, false},
		"a = \"\xff\"":           {1, "syntax", "this is not UTF-8", false},
	} {
		lines, got := Decode(text, new(file))
		if len(lines) != 0 || len(got) != 1 || got[0] != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}
