// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"testing"
	"time"
)

// BenchmarkHealthStep is one look at a thousand busy subflows of one link.
func BenchmarkHealthStep(b *testing.B) {
	var h Health
	samples := make([]PathSample, 1000)
	now := start
	link := Link{Usable: true, Carrier: true}
	for b.Loop() {
		now = now.Add(50 * time.Millisecond)
		for i := range samples {
			x := &samples[i]
			x.Key, x.Unacked, x.BytesAcked, x.BytesSent, x.RTT = uint64(i+1), 10, x.BytesAcked+3000, x.BytesSent+3000, 20*time.Millisecond
		}
		h.Step(now, samples, link)
	}
}

// BenchmarkReadDevice is the reading of one link's counters; BenchmarkReadWorld that of all devices, addresses and routes.
func BenchmarkReadDevice(b *testing.B) {
	s, err := openSource()
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	for b.Loop() {
		if _, err := s.device(1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadWorld(b *testing.B) {
	s, err := openSource()
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	for b.Loop() {
		if _, err := s.world(); err != nil {
			b.Fatal(err)
		}
	}
}
