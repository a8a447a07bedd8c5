// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"spillway/testbed/world"
)

// view shows a transfer while it runs: on a terminal a picture drawn over itself, elsewhere a line a second.
type view struct {
	world    *world.World
	plain    bool
	progress atomic.Int64 // octets of the transfer

	mu    sync.Mutex // held while drawing; all below
	title string
	whole int64
	drawn int // lines of the last picture, to be drawn over
	last  world.Sample
	stop  chan struct{}
	done  chan struct{}
}

func newView(w *world.World, plain bool) *view { return &view{world: w, plain: plain} }

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// begin shows a transfer of so many octets until end.
func (v *view) begin(title string, whole int64) {
	v.say(title)
	v.title, v.whole = title, whole
	v.progress.Store(0)
	v.last, _ = v.world.Sample()
	v.stop, v.done = make(chan struct{}), make(chan struct{})
	every := 200 * time.Millisecond
	if v.plain {
		every = time.Second
	}
	go func() {
		defer close(v.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-v.stop:
				return
			case <-tick.C:
				v.draw()
			}
		}
	}()
}

func (v *view) end() {
	close(v.stop)
	<-v.done
	v.mu.Lock()
	v.drawn = 0 // the last picture stays
	v.mu.Unlock()
}

// say prints a line above the picture.
func (v *view) say(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.erase()
	fmt.Println(line)
}

// follow takes the progress from the growth of a file.
func (v *view) follow(path string) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond):
				if info, err := os.Stat(path); err == nil {
					v.progress.Store(info.Size())
				}
			}
		}
	}()
	return func() { close(end); <-ended }
}

func (v *view) erase() {
	if v.drawn > 0 {
		fmt.Printf("\x1b[%dA\x1b[J", v.drawn)
		v.drawn = 0
	}
}

// draw shows the rates since the last call and what the policy says.
func (v *view) draw() {
	policy := "no relay: the kernel forwards"
	if s, err := v.world.Router.Status(); err == nil {
		policy = s.Why
	}
	now, err := v.world.Sample()
	if err != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	seconds := now.At.Sub(v.last.At).Seconds()
	share := float64(v.progress.Load()) / float64(max(1, v.whole))
	var b strings.Builder
	if !v.plain {
		v.erase()
		fmt.Fprintf(&b, "  %s %3.0f %%\n", bar(share, 30), share*100)
	} else {
		fmt.Fprintf(&b, "  %3.0f %%", share*100)
	}
	for i, l := range v.world.Links {
		down := float64(now.Links[i].RxOctets-v.last.Links[i].RxOctets) * 8 / seconds
		up := float64(now.Links[i].TxOctets-v.last.Links[i].TxOctets) * 8 / seconds
		if v.plain {
			fmt.Fprintf(&b, "  %s ↓%.1f ↑%.1f", l.Name, down/1e6, up/1e6)
			continue
		}
		fmt.Fprintf(&b, "  %s  ↓ %s %5.1f   ↑ %s %5.1f Mbit/s\n", strings.ToUpper(l.Name), bar(down/l.Down.Rate, 20), down/1e6, bar(up/l.Up.Rate, 20), up/1e6)
	}
	if v.plain {
		fmt.Printf("%s Mbit/s  %s\n", &b, policy)
	} else {
		fold(&b, policy, columns(os.Stdout)-2)
		fmt.Print(&b)
		v.drawn = strings.Count(b.String(), "\n")
	}
	v.last = now
}

// columns is how wide a terminal is; 80 if it does not say.
func columns(f *os.File) int {
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		return int(size.Col)
	}
	return 80
}

// fold writes a sentence, indented by two, in lines of at most so many characters: a line that the terminal broke by itself would not be
// drawn over.
func fold(b *strings.Builder, sentence string, columns int) {
	used := 0
	for _, word := range strings.Fields(sentence) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
			b.WriteString("  ")
		case used+1+n > columns:
			b.WriteString("\n  ")
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	b.WriteByte('\n')
}

// bar is a share as a bar of so many cells.
func bar(share float64, cells int) string {
	full := int(min(max(share, 0), 1)*float64(cells) + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("░", cells-full)
}
