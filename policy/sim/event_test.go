// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"strings"
	"testing"
	"time"

	"spillway/policy"
)

const twoLines = `
link dsl primary 16/2 20ms 100ms
link lte overflow 50/10 50ms 200ms
end 30s
`

func TestAnEventCarriesValues(t *testing.T) {
	for text, want := range map[string]Event{
		"demand up paced 1.5":   {Demand: Demand{Up: true, Kind: "paced", Paced: 1.5e6}},
		"demand down greedy":    {Demand: Demand{Kind: "greedy"}},
		"down dsl cable pulled": {Link: "dsl", Reason: "cable pulled"},
		"rate lte 8":            {Link: "lte", Rate: [2]float64{8e6, 8e6}},
		"rate lte 8/0.5":        {Link: "lte", Rate: [2]float64{8e6, 5e5}},
		"queue dsl 2s":          {Link: "dsl", Time: 2 * time.Second},
		"loss lte 5":            {Link: "lte", Share: 0.05},
		"set lte off":           {Link: "lte", Role: policy.RoleOff},
	} {
		want.At, want.Text, want.Verb = time.Second, text, strings.Fields(text)[0]
		sc, err := Parse(twoLines + "at 1s " + text)
		if err != nil || len(sc.Events) != 1 || sc.Events[0] != want {
			t.Errorf("%s: %+v, %v; want %+v", text, sc, err, want)
		}
	}
}

func TestABadEventNamesLineAndCause(t *testing.T) {
	for text, cause := range map[string]string{
		"at 1s explode dsl":               `"explode": no such event`,
		"at 1s down":                      "no link; want down LINK [REASON]",
		"at soon down dsl":                "soon",
		"at 1s rate lte fast":             "fast",
		"at 1s rtt lte":                   "0 values; want rtt LINK DURATION",
		"at 1s loss lte 500":              "500: not from 0 to 100",
		"at 1s loss lte NaN":              "NaN: not from 0 to 100",
		"at 1s up lte now":                `"now": too much`,
		"at 1s set lte main":              "main",
		"at 1s demand sideways greedy":    "no direction",
		"at 1s demand down paced":         "no rate",
		"at 1s demand down all":           `"all": no such demand`,
		"at 2s up dsl\nat 1s down dsl":    "at 1s: earlier than the event before",
		"at 1s demand down greedy please": `"please": too much`,
	} {
		_, err := Parse(twoLines + text)
		if err == nil || !strings.HasPrefix(err.Error(), "line ") || !strings.Contains(err.Error(), cause) {
			t.Errorf("%q: %v; want a line and %q", text, err, cause)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(twoLines + "at 1s demand down paced 4\nat 2s loss lte 1\nexpect down >= 3\nmeasure 5s 20s\n")
	f.Add("mode bond\nwindow 4\nlink a primary 1/1 1ms 1ms unknown quota 5 weight 2\nat 1s down a why\n----\n")
	f.Fuzz(func(t *testing.T, text string) {
		if sc, err := Parse(text); err == nil && len(sc.Links) != len(sc.Config.Links) {
			t.Errorf("%d lines, but the policy has %d links", len(sc.Links), len(sc.Config.Links))
		}
	})
}
