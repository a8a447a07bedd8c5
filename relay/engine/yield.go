// SPDX-License-Identifier: Apache-2.0

package engine

import _ "unsafe" // for go:linkname

// yield lets the goroutines that wait for this processor have their turn, as runtime.Gosched does, but wakes no thread. Gosched wakes one each
// time another processor is idle: it looks for work there, finds none and sleeps again, a hundred times a second, and whoever comes back from
// a system call meanwhile may find no processor. Package runtime has no such function in its interface, but keeps this one for those who need
// it (proc.go names them).
//
//go:linkname yield runtime.goyield
func yield()
