// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"slices"
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

func TestPatternOfOneTest(t *testing.T) {
	if got, want := Pattern("TestA/one+two/v6"), `^TestA$/^one\+two$/^v6$`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
