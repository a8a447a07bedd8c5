// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"spillway/config"
	"spillway/testbed/changes"
)

// row is what docs/CONFIGURATION.md says of a key.
type row struct{ takes, otherwise, class string }

// page reads docs/CONFIGURATION.md: rows by "table.key".
func page(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile("../docs/CONFIGURATION.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, table := map[string]row{}, ""
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			table = strings.Trim(name, "[]")
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if key := strings.TrimSpace(cells[0]); len(cells) == 5 && strings.HasPrefix(key, "`") {
			rows[table+"."+strings.Trim(key, "`")] = row{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[4])}
		}
	}
	return rows
}

// Each key of the reference has a row, and each row a key; what the row says of values, default and class is what the parser does.
func TestPageTellsEachKeyAsItIs(t *testing.T) {
	all, err := changes.All()
	if err != nil {
		t.Fatal(err)
	}
	rows := page(t)
	for _, change := range all {
		r, ok := rows[change.Name()]
		delete(rows, change.Name())
		if !ok {
			t.Errorf("%s has no row in docs/CONFIGURATION.md", change.Name())
			continue
		}
		if r.class != string(change.Class) {
			t.Errorf("%s is of class %c; the page says %q", change.Name(), change.Class, r.class)
		}
		told := key{t, change}
		told.choices(r.takes)
		told.ranges(r.takes)
		told.absence(r.otherwise)
	}
	for name := range rows {
		t.Errorf("the page has %s, which the reference does not know", name)
	}
}

// key is one key, in a configuration that is right but for what is tried of it.
type key struct {
	t      *testing.T
	change changes.Change
}

// with parses the reference with another value of the key; "" leaves the key out.
func (k key) with(value string) (*config.Config, error) {
	c := k.change
	lines := c.Set[1:]
	c.Without = append([]string{c.Key}, c.Without...)
	c.Set = lines
	if value != "" {
		c.Set = append([]string{c.Key + " = " + value}, lines...)
	}
	return config.Parse("x.toml", c.Apply(config.Reference, 0))
}

// choices tries each word of "`a`, `b`", and holds the list against the one in the parser's error.
func (k key) choices(takes string) {
	words := regexp.MustCompile("^`([^`]+)`(, `[^`]+`)+$")
	if !words.MatchString(takes) {
		return
	}
	list := strings.ReplaceAll(takes, "`", `"`)
	_, err := k.with(`"nonsense"`)
	if err == nil || !strings.Contains(err.Error(), list+"\n") && !strings.HasSuffix(err.Error(), list) {
		k.t.Errorf("%s: the page has %s; the parser: %v", k.change.Name(), list, err)
	}
	for word := range strings.SplitSeq(list, ", ") {
		if _, err := k.with(word); err != nil && strings.Contains(err.Error(), "is not one of") {
			k.t.Errorf("%s: %v", k.change.Name(), err)
		}
	}
}

// ranges tries the ends of "number, 1 to 100", and what is beyond them.
func (k key) ranges(takes string) {
	m := regexp.MustCompile(`^(number|kbit/s|octets|duration), (\S+) to (\S+)$`).FindStringSubmatch(takes)
	if m == nil {
		return
	}
	good := []string{m[2], m[3]}
	var bad []string
	if m[1] == "duration" {
		low, err1 := time.ParseDuration(m[2])
		high, err2 := time.ParseDuration(m[3])
		if err1 != nil || err2 != nil {
			k.t.Fatalf("%s: %s", k.change.Name(), takes)
		}
		good = []string{strconv.Quote(low.String()), strconv.Quote(high.String())}
		bad = []string{strconv.Quote((low - time.Millisecond).String()), strconv.Quote((high + time.Millisecond).String())}
	} else {
		low, err1 := strconv.ParseInt(m[2], 10, 64)
		high, err2 := strconv.ParseInt(m[3], 10, 64)
		if err1 != nil || err2 != nil {
			k.t.Fatalf("%s: %s", k.change.Name(), takes)
		}
		bad = []string{strconv.FormatInt(low-1, 10), strconv.FormatInt(high+1, 10)}
	}
	for _, v := range good {
		if _, err := k.with(v); err != nil {
			k.t.Errorf("%s = %s: %v; the page says %s", k.change.Name(), v, err, takes)
		}
	}
	for _, v := range bad {
		if _, err := k.with(v); err == nil || !strings.Contains(err.Error(), k.change.Key+":") {
			k.t.Errorf("%s = %s is taken (%v); the page says %s", k.change.Name(), v, err, takes)
		}
	}
}

// absence holds "required", and a default in backticks, against what leaving the key out means.
func (k key) absence(otherwise string) {
	absent, err := k.with("")
	if otherwise == "required" && err == nil {
		k.t.Errorf("%s may be absent; the page says that it is required", k.change.Name())
	}
	if !strings.HasPrefix(otherwise, "`") {
		return
	}
	given, err2 := k.with(strings.Trim(otherwise, "`"))
	if err != nil || err2 != nil {
		k.t.Errorf("%s: absent: %v; %s: %v", k.change.Name(), err, otherwise, err2)
	} else if !reflect.DeepEqual(values(given), values(absent)) {
		k.t.Errorf("%s: absent is not %s", k.change.Name(), otherwise)
	}
}

// values is a configuration without the lines where its keys stand.
func values(c *config.Config) []any {
	for i := range c.Rules {
		c.Rules[i].Line = 0
	}
	return []any{c.LogLevel, c.Daemon, c.LAN, c.Links, c.Concentrators, c.Policy, c.Relay, c.Numbers, c.Rules}
}
