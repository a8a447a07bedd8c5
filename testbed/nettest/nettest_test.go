// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"slices"
	"strings"
	"testing"
)

func TestFailuresByPackage(t *testing.T) {
	const output = `ok  	spillway/one	0.010s
--- FAIL: TestA (0.07s)
    --- FAIL: TestA/v6 (0.00s)
        a_test.go:5: no
--- FAIL: TestB (0.01s)
FAIL
FAIL	spillway/two	12.509s
?   	spillway/three	[no test files]
FAIL	spillway/four [build failed]
--- FAIL: TestC (0.01s)
panic: oh [recovered]
FAIL	spillway/five	0.1s
ok  	spillway/six	0.010s
--- FAIL: TestD (1.00s)
FAIL	spillway/seven	1.1s
FAIL
`
	tests, whole := Failures(output)
	if len(tests) != 2 || !slices.Equal(tests["spillway/two"], []string{"TestA/v6", "TestB"}) || !slices.Equal(tests["spillway/seven"], []string{"TestD"}) {
		t.Errorf("failed tests: %v", tests)
	}
	if !slices.Equal(whole, []string{"spillway/four", "spillway/five"}) {
		t.Errorf("failed packages: %v", whole)
	}
}

func TestBriefTellsOfSkipsAndFailures(t *testing.T) {
	const output = `=== RUN   TestA
=== RUN   TestA/fake
    a_test.go:5: all is well
=== RUN   TestA/real
    a_test.go:7: no ubusd on PATH: apt-get knows none
--- PASS: TestA (0.07s)
    --- PASS: TestA/fake (0.00s)
    --- SKIP: TestA/real (0.00s)
=== RUN   TestB
    b_test.go:9: needs a queue
--- SKIP: TestB (0.00s)
PASS
ok  	spillway/one	0.010s
?   	spillway/two	[no test files]
=== RUN   TestC
    c_test.go:5: no
--- FAIL: TestC (0.01s)
FAIL
FAIL	spillway/three	1.5s
=== RUN   TestD
    d_test.go:5: yes
--- PASS: TestD (0.01s)
PASS
ok  	spillway/four	0.010s
FAIL
`
	const want = `    skipped: TestA/real: no ubusd on PATH: apt-get knows none
    skipped: TestB: needs a queue
ok  	spillway/one	0.010s
?   	spillway/two	[no test files]
=== RUN   TestC
    c_test.go:5: no
--- FAIL: TestC (0.01s)
FAIL
FAIL	spillway/three	1.5s
ok  	spillway/four	0.010s
FAIL
`
	for _, step := range []int{1, 7, len(output)} {
		var got strings.Builder
		b := &Brief{To: &got}
		for text := output; text != ""; text = text[min(step, len(text)):] {
			if _, err := b.Write([]byte(text[:min(step, len(text))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Flush(); err != nil || got.String() != want {
			t.Errorf("in steps of %d: %v\n%s\nwant\n%s", step, err, &got, want)
		}
	}
}

func TestPatternOfOneTest(t *testing.T) {
	if got, want := Pattern("TestA/one+two/v6"), `^TestA$/^one\+two$/^v6$`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
