// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/journal"
)

// stage is a made-up kernel: a world that tests change, and a subscription that they speak through.
type stage struct {
	*Monitor
	log strings.Builder

	mu       sync.Mutex
	world    world
	failing  error // of everything
	readings int   // of the whole world
	counted  int   // single devices
	opened   int

	say  chan any // hint or error
	told []Snapshot
	at   []time.Time
}

func newStage(t *testing.T, w world, links ...LinkConfig) *stage {
	s := &stage{world: w, say: make(chan any)}
	m, err := New(Config{Links: links}, journal.New(&s.log, journal.Info))
	if err != nil {
		t.Fatal(err)
	}
	s.Monitor = m
	m.open = func() (source, error) {
		return source{
			world: func() (world, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.readings++
				w := s.world
				w.devices = slices.Clone(w.devices)
				return w, s.failing
			},
			device: func(index int) (device, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.counted++
				for _, d := range s.world.devices {
					if d.index == index {
						return d, s.failing
					}
				}
				return device{}, os.ErrNotExist
			},
			close: func() {},
		}, s.fails()
	}
	m.watch = func() (subscription, error) {
		if err := s.fails(); err != nil {
			return subscription{}, err
		}
		s.mu.Lock()
		s.opened++
		s.mu.Unlock()
		done := make(chan struct{})
		return subscription{
			next: func() (hint, error) {
				select {
				case x := <-s.say:
					if err, ok := x.(error); ok {
						return hintNone, err
					}
					return x.(hint), nil
				case <-done:
					return hintNone, os.ErrClosed
				}
			},
			close: sync.OnceFunc(func() { close(done) }),
		}, nil
	}
	return s
}

func (s *stage) fails() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing
}

// figures are how often the world and single devices were read.
func (s *stage) figures() (readings, counted int) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readings, s.counted
}

func (s *stage) change(fn func(w *world)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.world)
}

// play runs the monitor inside a bubble of fake time while scene acts.
func (s *stage) play(t *testing.T, scene func()) {
	synctest.Test(t, func(t *testing.T) {
		// The channels of the monitor must belong to the bubble.
		s.say, s.hints, s.poke = make(chan any), make(chan struct{}, 1), make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Run(ctx, func(n Snapshot) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.told = append(s.told, n)
				s.at = append(s.at, time.Now())
			})
		}()
		synctest.Wait()
		scene()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// heard waits until all is quiet at this instant and returns how many snapshots were published, and the last.
func (s *stage) heard() (int, Snapshot) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.told) == 0 {
		return 0, Snapshot{}
	}
	return len(s.told), s.told[len(s.told)-1]
}

func twoLinks() world {
	return world{
		devices:   []device{up(3, "wan"), up(4, "wwan0")},
		addresses: []address{addr(3, "192.0.2.2", 0), addr(4, "10.0.0.2", 0)},
		routes:    []route{way(3, "192.0.2.1", 0), way(4, "10.0.0.1", 0)},
	}
}

var twoConfigs = []LinkConfig{{Name: "dsl", Device: "wan", DownBit: 50e6, UpBit: 10e6}, {Name: "lte", Device: "wwan0"}}

func TestFirstReadingIsPublished(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		if n, last := s.heard(); n != 1 || !last.Links[0].Usable || !last.Links[1].Usable {
			t.Errorf("%d snapshots, the last %+v", n, last)
		}
	})
}

func TestLossIsPublishedWithoutDelay(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		before := time.Now()
		s.change(func(w *world) { w.devices[0].carrier = false })
		s.say <- hintLoss
		n, last := s.heard()
		if n != 2 || last.Links[0].Usable || last.Links[0].Reason != "no carrier" {
			t.Errorf("%d snapshots, dsl %+v", n, last.Links[0])
		}
		if d := time.Since(before); d != 0 {
			t.Errorf("published after %v, want in the same instant", d)
		}
	})
}

func TestManyMessagesAreOneReading(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		s.change(func(w *world) { w.addresses[0] = addr(3, "192.0.2.77", 0) })
		for range 5 {
			s.say <- hintChange
		}
		if n, _ := s.heard(); n != 1 {
			t.Errorf("published before the change was complete")
		}
		time.Sleep(debounce)
		n, last := s.heard()
		if n != 2 || last.Links[0].Addr4.String() != "192.0.2.77" {
			t.Errorf("%d snapshots, address %v", n, last.Links[0].Addr4)
		}
		if readings, _ := s.figures(); readings != 2 {
			t.Errorf("%d readings for five messages", readings-1)
		}
	})
}

func TestSilenceWhenNothingChanges(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		for range 50 {
			s.say <- hintChange
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		if n, _ := s.heard(); n != 1 {
			t.Errorf("published %d times though nothing changed", n)
		}
		readings, counted := s.figures()
		if readings > 15 {
			t.Errorf("%d readings for a second of others' messages", readings)
		}
		if perSecond := float64(counted) / 2 / 3600; perSecond > 1.1 {
			t.Errorf("an idle monitor reads counters %.1f times a second", perSecond)
		}
	})
}

func TestCountersAreReadOftenUnderLoad(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		for range 1000 { // ten seconds of 20 Mbit/s
			s.change(func(w *world) { w.devices[0].rxBytes += 25_000 })
			time.Sleep(10 * time.Millisecond)
		}
		n, last := s.heard()
		if l := last.Links[0]; !near(l.DownRate, 20e6, 0.1) || l.DownPeak < l.DownRate {
			t.Errorf("rate %.0f, peak %.0f, want 20e6", l.DownRate, l.DownPeak)
		}
		if n < 150 {
			t.Errorf("%d snapshots in ten busy seconds", n)
		}
	})
}

func TestPokeReadsAtOnce(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		time.Sleep(10*time.Second + tickIdle/2)
		_, before := s.figures()
		s.Poke()
		if _, counted := s.figures(); counted == before {
			t.Error("not read")
		}
		time.Sleep(time.Second)
		if _, counted := s.figures(); counted-before < 20 {
			t.Errorf("%d readings in the second after", counted-before)
		}
	})
}

// The kernel's message about a carrier may come a second after the fact: the tick sees it before.
func TestTickSeesCarrierLossWithoutAMessage(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		s.Poke() // for a second, ticks are tickBusy apart
		s.heard()
		s.change(func(w *world) { w.devices[0].carrier = false })
		time.Sleep(tickBusy)
		if _, last := s.heard(); last.Links[0].Usable {
			t.Error("carrier loss is not seen by the next tick")
		}
	})
}

func TestReplacedDeviceIsFoundWithoutAMessage(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		s.change(func(w *world) {
			w.devices[0].index, w.addresses[0].index, w.routes[0].index = 30, 30, 30
			w.devices[0].rxBytes = 1 << 50
		})
		time.Sleep(2 * time.Second)
		_, last := s.heard()
		if l := last.Links[0]; l.Index != 30 || !l.Usable || l.DownRate != 0 {
			t.Errorf("dsl %+v", l)
		}
	})
}

func TestSubscriptionThatEndsIsMadeAnewForEver(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		s.say <- errors.New("no buffer space available")
		s.change(func(w *world) { w.devices[1].carrier = false }) // happens in the gap
		time.Sleep(time.Second)
		if _, last := s.heard(); s.opened != 2 || last.Links[1].Usable {
			t.Errorf("subscribed %d times, lte %+v", s.opened, last.Links[1])
		}
		s.mu.Lock()
		s.failing = errors.New("too many open files")
		s.mu.Unlock()
		s.say <- errors.New("no buffer space available")
		time.Sleep(24 * time.Hour)
		s.mu.Lock()
		s.failing = nil
		s.world.devices[1].carrier = true
		s.mu.Unlock()
		time.Sleep(retryMost)
		if _, last := s.heard(); !last.Links[1].Usable {
			t.Error("not watched again after a day of errors")
		}
		if lines := strings.Count(s.log.String(), "interrupted"); lines > 2 {
			t.Errorf("the log has %d lines about a day of errors", lines)
		}
	})
}

func TestFlappingLinkIsMarked(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		flip := func(carrier bool) {
			s.change(func(w *world) { w.devices[0].carrier = carrier })
			s.say <- hintLoss
			time.Sleep(500 * time.Millisecond)
		}
		for range 4 {
			flip(false)
			flip(true)
		}
		_, last := s.heard()
		if l := last.Links[0]; !l.Usable || !l.Flapping || l.CalmIn <= 0 {
			t.Errorf("after four losses in four seconds: %+v", l)
		}
		time.Sleep(2 * time.Minute)
		if _, last := s.heard(); last.Links[0].Flapping {
			t.Error("still flapping after two quiet minutes")
		}
	})
}

func TestConfigurationChangesWhileRunning(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		since := s.told[0].Links[1].Since
		time.Sleep(time.Minute)
		if err := s.SetConfig(Config{Links: []LinkConfig{twoConfigs[1], {Name: "fibre", Device: "wan"}}}); err != nil {
			t.Fatal(err)
		}
		_, last := s.heard()
		if len(last.Links) != 2 || last.Links[0].Name != "lte" || last.Links[1].Name != "fibre" || !last.Links[1].Usable {
			t.Fatalf("links %+v", last.Links)
		}
		if last.Links[0].Since != since {
			t.Error("a link that only moved in the list is as if new")
		}
		if err := s.SetConfig(Config{}); err == nil {
			t.Error("an impossible configuration was taken")
		}
	})
}

func TestSnapshotsAreNeverChangedAfterwards(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		_, first := s.heard()
		copied := slices.Clone(first.Links)
		s.change(func(w *world) { w.devices[0].carrier = false })
		s.say <- hintLoss
		s.heard()
		if !slices.Equal(first.Links, copied) {
			t.Error("an old snapshot was changed")
		}
	})
}

// TestLinksInAnotherOrderArePublished though none of them has changed: whoever gets a snapshot knows links by their place.
func TestLinksInAnotherOrderArePublished(t *testing.T) {
	s := newStage(t, twoLinks(), twoConfigs...)
	s.play(t, func() {
		if err := s.SetConfig(Config{Links: []LinkConfig{twoConfigs[1], twoConfigs[0]}}); err != nil {
			t.Fatal(err)
		}
		if n, snap := s.heard(); n != 2 || snap.Links[0].Name != "lte" || snap.Links[1].Name != "dsl" {
			t.Errorf("%d snapshots, the last of %+v", n, snap.Links)
		}
	})
}

// TestWhatADeviceHadCarriedBefore: one that was there while the link had another has carried for somebody else; one that is new has carried for the
// link alone, as has the first.
func TestWhatADeviceHadCarriedBefore(t *testing.T) {
	modem := func(index int, name string, octets uint64) device {
		return device{index: index, name: name, rxBytes: octets, carrier: true, flags: 1}
	}
	s := newStage(t, world{}, LinkConfig{Name: "lte"})
	look := func(name string, w world) Link {
		s.change(func(now *world) { *now = w })
		if err := s.SetConfig(Config{Links: []LinkConfig{{Name: "lte", Device: name}}}); err != nil { // as netifd names it
			t.Fatal(err)
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.told[len(s.told)-1].Links[0]
	}
	s.play(t, func() {
		for i, x := range []struct {
			device string
			w      world
			want   uint64
		}{
			{"", world{devices: []device{modem(4, "wwan0", 100)}}, 0}, // netifd has not said yet
			{"wwan0", world{devices: []device{modem(4, "wwan0", 200)}}, 0},
			{"wwan0", world{devices: []device{modem(4, "wwan0", 300), modem(5, "wwan1", 7000)}}, 0},
			{"wwan1", world{devices: []device{modem(4, "wwan0", 400), modem(5, "wwan1", 8000)}}, 8000},
			{"wwan1", world{devices: []device{modem(4, "wwan0", 500), modem(5, "wwan1", 9000)}}, 8000},
			{"wwan0", world{devices: []device{modem(4, "wwan0", 600), modem(5, "wwan1", 9000)}}, 600},
			{"", world{}, 0}, // both are unplugged
			{"", world{devices: []device{modem(6, "wwan0", 50)}}, 0},
			{"wwan0", world{devices: []device{modem(6, "wwan0", 60)}}, 0},
		} {
			if got := look(x.device, x.w).Before; got != x.want {
				t.Errorf("reading %d: %d octets were there before, want %d", i, got, x.want)
			}
		}
	})
}
