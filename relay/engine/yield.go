// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"runtime"
	_ "unsafe" // for go:linkname
)

// goyield lets other goroutines of this processor of the runtime go first, as runtime.Gosched does. But Gosched puts who yields where all
// processors look, and wakes an idle one to look there: of a hundred yields a second 92 moved the loop to another thread, whose caches were cold,
// and sent its own to sleep. The runtime keeps it for others to use so (runtime/proc.go: "do not remove or change the type signature").
//
//go:linkname goyield runtime.goyield
func goyield()

// yield lets other goroutines go first; now and then also those that wait for any processor of the runtime: each has been woken for them, but
// may be busy.
func (l *loop) yield() {
	if l.yields++; l.yields%16 == 0 {
		runtime.Gosched()
		return
	}
	goyield()
}
