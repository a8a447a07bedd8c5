// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// A scenario's cell tells first whether it passed, then the figure that it is about.
func TestVerdict(t *testing.T) {
	number := func(f float64) *float64 { return &f }
	broken := finding{What: "bulk: connections broken or with a wrong octet", Figure: number(0), Within: true}
	silence := finding{What: "longest silence", Unit: "ms", Figure: number(131.24), Within: true}
	for _, tt := range []struct {
		record record
		want   string
	}{
		{record{Found: []finding{broken, silence}}, "ok 131.2 ms"},
		{record{Found: []finding{broken}}, "ok"},
		{record{Found: []finding{{What: broken.What, Figure: number(2)}, silence}}, "FAILED 131.2 ms"},
		{record{Found: []finding{broken, {What: "LTE carries after", Unit: "ms"}}}, "FAILED never ms"},
		{record{Error: "the guest was ended by its time limit"}, "FAILED: did not end"},
	} {
		if got := tt.record.verdict(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.record, got, tt.want)
		}
	}
}

// Without names every guest plays the matrix, and each of its scenarios is there and fails when a connection breaks.
func TestTheMatrixIsPlayedUnlessSomethingElseIsNamed(t *testing.T) {
	all, err := named(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(matrix) {
		t.Fatalf("%d scenarios, want the %d of the matrix", len(all), len(matrix))
	}
	for i, s := range all {
		judged := false
		for _, e := range s.Expect {
			judged = judged || e.Bound == e.Bound // not NaN
		}
		if s.Name != matrix[i] || !judged {
			t.Errorf("scenario %d is %s, and can fail: %v; want %s", i, s.Name, judged, matrix[i])
		}
	}
	if _, err := named([]string{"no-such"}); err == nil {
		t.Error("a scenario of an unknown name is played")
	}
}
