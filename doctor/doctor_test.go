// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// answer is a check that always has the same outcome.
func answer(s Status) func(*World) Result {
	return func(*World) Result {
		return Result{Status: s, What: "it is " + s.String(), Remedy: "do it", Command: "mend"}
	}
}

func outcomes(r Report) string {
	var words []string
	for _, f := range r.Findings {
		words = append(words, f.Name+"="+f.Status.String())
	}
	return strings.Join(words, " ")
}

func TestBelowAFailureNothingIsChecked(t *testing.T) {
	asked := false
	nodes := []Node{
		{"l/a", "", answer(OK)},
		{"l/b", "l/a", answer(Fail)},
		{"l/c", "l/b", func(*World) Result { asked = true; return Result{} }},
		{"l/d", "l/c", answer(OK)},
		{"m/a", "", answer(Warn)},
		{"m/b", "m/a", answer(OK)},
		{"m/c", "", answer(Skip)},
		{"m/d", "m/c", answer(OK)},
	}
	r := Run(t.Context(), &World{}, nodes)
	want := "l/a=ok l/b=fail l/c=blocked l/d=blocked m/a=warn m/b=ok m/c=skip m/d=skip"
	if got := outcomes(r); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if asked {
		t.Error("a check below a failed one was run")
	}
	if got := r.Findings[3].What; got != "not checked: depends on l/b" {
		t.Errorf("the blocked one names %q, not the root of it", got)
	}
}

func TestBrokenCheckHasFailed(t *testing.T) {
	r := Run(t.Context(), &World{}, []Node{{"a", "", func(w *World) Result { return ok("%d", w.Links[3].MTU) }}})
	if f := r.Findings[0]; f.Status != Fail || !strings.Contains(f.What, "index out of range") {
		t.Errorf("%+v", f)
	}
}

func TestInterruptedExaminationSkipsTheRest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := Run(ctx, &World{}, []Node{
		{"a", "", func(*World) Result { cancel(); return ok("") }},
		{"b", "a", answer(OK)},
	})
	if got := outcomes(r); got != "a=ok b=skip" {
		t.Error(got)
	}
}

// validate tells whether the nodes are a tree whose parents come first.
func validate(nodes []Node) error {
	known := map[string]bool{}
	for _, n := range nodes {
		switch {
		case n.Name == "" || n.Check == nil:
			return fmt.Errorf("check %q has no name or no function", n.Name)
		case known[n.Name]:
			return fmt.Errorf("check %q is there twice", n.Name)
		case n.Needs != "" && !known[n.Needs]:
			return fmt.Errorf("check %q needs %q, which is not before it", n.Name, n.Needs)
		}
		known[n.Name] = true
	}
	return nil
}

func TestValidate(t *testing.T) {
	for want, nodes := range map[string][]Node{
		`check "a" is there twice`:                          {{"a", "", answer(OK)}, {"a", "", answer(OK)}},
		`check "a" needs "b", which is not before it`:       {{"a", "b", answer(OK)}, {"b", "", answer(OK)}},
		`check "" has no name or no function`:               {{"", "", answer(OK)}},
		`check "nothing" has no name or no function`:        {{"nothing", "", nil}},
		`check "self" needs "self", which is not before it`: {{"self", "self", answer(OK)}},
	} {
		if err := validate(nodes); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for want, s := range map[int][]Status{0: {OK, Warn, Skip}, 1: {OK, Fail, Blocked}} {
		var r Report
		for _, x := range s {
			r.Findings = append(r.Findings, Finding{Status: x})
		}
		if got := r.ExitCode(); got != want {
			t.Errorf("%v: exit code %d, want %d", s, got, want)
		}
	}
}
