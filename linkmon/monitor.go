// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"context"
	"log/slog"
	"time"
)

// Monitor watches the configured links of the network namespace of Run's thread.
type Monitor struct{}

// New checks the configuration. It touches nothing yet.
func New(cfg Config, log *slog.Logger) (*Monitor, error) { return &Monitor{}, cfg.Validate() }

// Run watches until the context ends, which is no error. publish is called by Run's goroutine and should not take long.
func (m *Monitor) Run(ctx context.Context, publish func(Snapshot)) error { return nil }

// SetInterval sets how often counters are read; 0: the monitor chooses by the load, 50 ms to 1 s. From any goroutine.
func (m *Monitor) SetInterval(d time.Duration) {}

// Poke has the links and counters read now: somebody knows of a change or of load to come. From any goroutine.
func (m *Monitor) Poke() {}

// SetConfig replaces the configuration of a running monitor. From any goroutine.
func (m *Monitor) SetConfig(cfg Config) error { return cfg.Validate() }
