// SPDX-License-Identifier: Apache-2.0

package engine

import _ "unsafe" // for go:linkname

// yield lets other goroutines of this processor have their turn, if there are any, as runtime.Gosched does, and wakes no thread: Gosched wakes one each
// time, which looks for work on another processor and finds none, a hundred times a second, and whoever has work there waits for it. The
// runtime keeps this one for others who need it.
//
//go:linkname yield runtime.goyield
func yield()
