// SPDX-License-Identifier: Apache-2.0

package engine

const (
	scratchSize = 64 << 10 // what a direction reads at once: half a millisecond of work, and more at once is no cheaper
	leastRead   = 16 << 10 // what a direction reads at once when its destination is slow
	smallRead   = 4 << 10  // what is read at once when too much is held
	keepFree    = 2 << 20  // octets of unused buffers a loop keeps
	mostHeld    = 32 << 20 // octets a loop holds for blocked sockets before it reads in small pieces
)

// buffers are a loop's held octets, in three sizes, so that a slow reader of a few octets does not cost 128 KiB.
type buffers struct {
	free   [3][][]byte
	unused int // octets in free
	held   int // octets in use
}

var sizes = [3]int{4 << 10, 16 << 10, scratchSize}

// hold copies b to a buffer of the pool.
func (p *buffers) hold(b []byte) []byte {
	k := 0
	for len(b) > sizes[k] {
		k++
	}
	p.held += sizes[k]
	if n := len(p.free[k]); n > 0 {
		h := p.free[k][n-1]
		p.free[k] = p.free[k][:n-1]
		p.unused -= sizes[k]
		return h[:copy(h[:len(b)], b)]
	}
	return append(make([]byte, 0, sizes[k]), b...)
}

// release takes back what hold gave, whole.
//
//go:noinline
func (p *buffers) release(h []byte) {
	for k, size := range sizes {
		if cap(h) != size {
			continue
		}
		p.held -= size
		if p.unused+size <= keepFree {
			p.unused += size
			p.free[k] = append(p.free[k], h[:0])
		}
	}
}
