// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Usage is the counter of one link's quota: all that must survive a restart. Its fields are stable.
type Usage struct {
	Link      string    `json:"link"`
	Period    time.Time `json:"period"`          // first instant of the billing month
	Bytes     uint64    `json:"bytes"`           // used in it
	Day       time.Time `json:"day"`             // first instant of the day
	DayBytes  uint64    `json:"day_bytes"`       // used on it
	Last      time.Time `json:"last"`            // first instant of the billing month before, should the clock be set back into it
	LastBytes uint64    `json:"last_bytes"`      // used in it
	Counter   uint64    `json:"counter"`         // LinkObs.UsedBytes at that time
	Epoch     uint64    `json:"epoch"`           // LinkObs.UsedEpoch at that time
	Clean     bool      `json:"clean,omitempty"` // written at an orderly stop: nothing was used since
}

// QuotaStatus is a quota as people want to see it.
type QuotaStatus struct {
	Usage
	Limit, Soft, Daily uint64
	End                time.Time // the next billing day
	Forecast           uint64    // octets used at End if it goes on like this
	Why                string    // what holds the link back now; "": nothing
}

// Usage returns the counters to be persisted, one per link with a quota, in the order of the configuration.
func (m *Machine) Usage() []Usage { return nil }

// Persisted tells the machine that the counters that Usage returns were written.
func (m *Machine) Persisted() {}

// Restore puts persisted counters back before the first Step. Counters of unknown links are ignored.
func (m *Machine) Restore(usages []Usage) {}

// Quota returns the quota of a link; false: it has none. Wall as in Observation.
func (m *Machine) Quota(link int, wall time.Time) (QuotaStatus, bool) { return QuotaStatus{}, false }
