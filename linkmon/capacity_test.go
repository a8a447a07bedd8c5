// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"math"
	"testing"
	"time"
)

// carry lets a rate flow for a while, a sample each 50 ms.
func carry(c *Capacity, at *time.Time, d time.Duration, rate float64, queue bool) {
	for end := at.Add(d); at.Before(end); {
		*at = at.Add(50 * time.Millisecond)
		c.Learn(*at, rate, queue)
	}
}

func expect(t *testing.T, c *Capacity, at time.Time, bit, share float64, source CapacitySource) {
	t.Helper()
	if got, by := c.Bit(at); by != source || !near(got, bit, share) {
		t.Errorf("capacity %.0f (%v), want %.0f (%v)", got, by, bit, source)
	}
}

func TestCapacityIsUnknownUntilAQueueStands(t *testing.T) {
	var c Capacity
	at := start
	carry(&c, &at, time.Minute, 30e6, false)
	expect(t, &c, at, 0, 0, CapacityUnknown)
	carry(&c, &at, 500*time.Millisecond, 30e6, true)
	expect(t, &c, at, 0, 0, CapacityUnknown) // too short to prove anything
	carry(&c, &at, 3*time.Second, 20e6, true)
	expect(t, &c, at, 20e6, 0.01, CapacityLearnt)
}

func TestFillingOfTheBufferIsNoCapacity(t *testing.T) {
	var c Capacity
	at := start
	carry(&c, &at, 400*time.Millisecond, 90e6, true) // the modem takes it at 100 Mbit/s until its buffer is full
	carry(&c, &at, 5*time.Second, 10e6, true)
	expect(t, &c, at, 10e6, 0.02, CapacityLearnt)
}

func TestLearntCapacityAgesSlowlyAndNotToNothing(t *testing.T) {
	var c Capacity
	at := start
	carry(&c, &at, 5*time.Second, 40e6, true)
	at = at.Add(12 * time.Hour)
	c.Learn(at, 0, false)
	expect(t, &c, at, 20e6, 0.02, CapacityLearnt)
	at = at.Add(30 * 24 * time.Hour)
	c.Learn(at, 0, false)
	expect(t, &c, at, 10e6, 0.02, CapacityLearnt)
	carry(&c, &at, 10*time.Second, 35e6, false) // carried easily: so much it can still do
	expect(t, &c, at, 35e6, 0.02, CapacityLearnt)
}

func TestSlowerLineIsLearnt(t *testing.T) {
	var c Capacity
	at := start
	carry(&c, &at, 5*time.Second, 40e6, true)
	carry(&c, &at, 10*time.Second, 10e6, false)
	expect(t, &c, at, 40e6, 0.02, CapacityLearnt) // little demand is no slow line
	carry(&c, &at, 3*time.Minute, 10e6, true)
	expect(t, &c, at, 10e6, 0.05, CapacityLearnt) // but a queue at a lower rate is
	carry(&c, &at, 5*time.Second, 40e6, true)
	expect(t, &c, at, 40e6, 0.05, CapacityLearnt) // and a better rate counts at once
}

func TestMoreThanThoughtWithoutAQueue(t *testing.T) {
	var c Capacity
	at := start
	carry(&c, &at, 3*time.Second, 10e6, true)
	carry(&c, &at, 500*time.Millisecond, 30e6, false) // a burst into a buffer
	carry(&c, &at, time.Second, 5e6, false)
	expect(t, &c, at, 10e6, 0.02, CapacityLearnt)
	carry(&c, &at, 10*time.Second, 16e6, false)
	expect(t, &c, at, 16e6, 0.02, CapacityLearnt)
}

func TestWhatIsToldIsNotExceeded(t *testing.T) {
	c := Capacity{Configured: 50e6}
	at := start
	expect(t, &c, at, 50e6, 0, CapacityConfigured)
	carry(&c, &at, 10*time.Second, 80e6, true)
	expect(t, &c, at, 50e6, 0, CapacityConfigured)
	c.Modem = 30e6 // trained lower than sold
	expect(t, &c, at, 30e6, 0, CapacityModem)
	c.Modem = 90e6 // the line could, the contract can't
	expect(t, &c, at, 50e6, 0, CapacityConfigured)
	c.Configured = 0
	expect(t, &c, at, 90e6, 0.2, CapacityLearnt) // a queue stood at 80 just now
	at = at.Add(time.Hour)
	c.Learn(at, 0, false)
	expect(t, &c, at, 90e6, 0, CapacityModem) // that was long ago
}

func TestStandingQueueContradictsAConfiguredCapacityForAWhile(t *testing.T) {
	c := Capacity{Configured: 50e6}
	at := start
	carry(&c, &at, 30*time.Second, 20e6, true)
	expect(t, &c, at, 20e6, 0.02, CapacityLearnt)
	carry(&c, &at, 15*time.Minute, 5e6, false)
	expect(t, &c, at, 50e6, 0, CapacityConfigured)
}

func TestCapacityBearsNonsense(t *testing.T) {
	var c Capacity
	at := start
	carry(&c, &at, 5*time.Second, 10e6, true)
	for _, rate := range []float64{math.NaN(), math.Inf(1), -1, 0} {
		c.Learn(at.Add(time.Second), rate, true)
		c.Learn(at.Add(-time.Hour), rate, true)
	}
	expect(t, &c, at, 10e6, 0.02, CapacityLearnt)
}
