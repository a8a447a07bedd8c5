// SPDX-License-Identifier: Apache-2.0

// Package doctor finds out why bonding does not work, and says it in words a person can act on.
//
// The checks are a tree of data. Each names the check that it depends on: below one that fails nothing is checked, for
// a link without carrier needs no ten complaints about its address, its route and its concentrator. Each result says what was
// measured, what to do and which command to type. The world that is looked at is a value with function fields: main
// fills in the daemon's state and its probes, a test puts a made-up world there.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Status is the outcome of one check.
type Status uint8

// From good to bad. Skip and Blocked say nothing about the thing itself.
const (
	OK      Status = iota
	Warn           // works, but is not as it should be
	Fail           // does not work
	Skip           // can't or need not be checked here; What says why
	Blocked        // not checked: what it depends on has failed
)

var statusWords = [...]string{"ok", "warn", "fail", "skip", "blocked"}

// String gives the word that `doctor -json` has.
func (s Status) String() string {
	if int(s) < len(statusWords) {
		return statusWords[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Result is what a check answers.
type Result struct {
	Status  Status
	What    string // what was measured, in words
	Remedy  string // a sentence: what to do; "" if nothing is to be done
	Command string // a command that shows more or mends it; "" if there is none
}

// Node is one check.
type Node struct {
	Name  string // "group/check", unique
	Needs string // Name of the node that must not have failed; "": none
	Check func(*World) Result
}

// Finding is a node with its result.
type Finding struct {
	Name    string
	Needs   string
	Status  Status
	What    string
	Remedy  string
	Command string
}

// Report is the outcome of a whole tree, in its order.
type Report struct {
	Findings []Finding
}

// Run checks one node after the other. When the context ends, the rest is skipped. A check that panics has failed.
func Run(ctx context.Context, w *World, nodes []Node) Report {
	var r Report
	status := map[string]Status{}
	cause := map[string]string{} // of a blocked node: the one that failed, at the root of it all
	for _, n := range nodes {
		var x Result
		switch {
		case ctx.Err() != nil:
			x = Result{Status: Skip, What: "not checked: the examination was interrupted"}
		case n.Needs != "" && (status[n.Needs] == Fail || status[n.Needs] == Blocked):
			cause[n.Name] = n.Needs
			if root, ok := cause[n.Needs]; ok {
				cause[n.Name] = root
			}
			x = Result{Status: Blocked, What: "not checked: depends on " + cause[n.Name]}
		case n.Needs != "" && status[n.Needs] == Skip:
			x = Result{Status: Skip, What: "not checked: depends on " + n.Needs + ", which was skipped"}
		default:
			x = safely(n, w)
			x.What = strings.ReplaceAll(x.What, "\n", "; ") // of joined errors
		}
		status[n.Name] = x.Status
		r.Findings = append(r.Findings, Finding{n.Name, n.Needs, x.Status, x.What, x.Remedy, x.Command})
	}
	return r
}

// safely runs a check that may meet anything.
func safely(n Node, w *World) (x Result) {
	defer func() {
		if p := recover(); p != nil {
			x = Result{Status: Fail, What: fmt.Sprintf("the check itself broke: %v", p), Remedy: "Please report this."}
		}
	}()
	return n.Check(w)
}

// Count is how many findings have the status.
func (r Report) Count(s Status) (n int) {
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// ExitCode is for scripts: 0 when nothing has failed (warnings allowed), else 1.
func (r Report) ExitCode() int {
	if r.Count(Fail) > 0 {
		return 1
	}
	return 0
}

func ok(format string, a ...any) Result { return Result{Status: OK, What: fmt.Sprintf(format, a...)} }

func skip(format string, a ...any) Result {
	return Result{Status: Skip, What: fmt.Sprintf(format, a...)}
}

// tooLate tells of a command that was ended because it took too long, as on a busy machine: what it was to find out is not known.
func tooLate(err error) (Result, bool) {
	if !errors.Is(err, context.DeadlineExceeded) {
		return Result{}, false
	}
	return skip("not known, as the machine is busy: %v", err), true
}

func fail(what, remedy, command string) Result {
	return Result{Status: Fail, What: what, Remedy: remedy, Command: command}
}

func warn(what, remedy, command string) Result {
	return Result{Status: Warn, What: what, Remedy: remedy, Command: command}
}
