// SPDX-License-Identifier: Apache-2.0

// Package faults_test breaks things around the real daemon in namespaces and looks at what the LAN, the kernel and an
// intruder see. It plays those fault scenarios that are quick; `scenario NAME` plays the rest.
package faults_test

import (
	"slices"
	"testing"

	"spillway/testbed/scenario"
)

// played are the scenarios that every change must pass: one of each kind.
var played = []string{"table-deleted", "endpoints-flushed", "concentrator-garbage"}

func TestFaults(t *testing.T) {
	for _, s := range scenario.Faults() {
		if slices.Contains(played, s.Name) {
			t.Run(s.Name, s.Test)
		}
	}
}
