// SPDX-License-Identifier: Apache-2.0

package kernel

// Op is one change of the kernel's state; it prints as the command that would do it.
type Op struct{}

func (o Op) String() string { return "" }

// Diff tells what leads from have to want, in the order in which traffic is hurt least. It is empty when nothing differs.
func Diff(have, want State) []Op { return nil }
