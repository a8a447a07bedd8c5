// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"math"
	"strconv"
)

// target is what Spillway is held to.
type target struct {
	about  string
	figure func(r *Report) (float64, bool)
	limit  float64
	most   bool // the figure may be at most limit; else at least
	format string
}

// ratio divides Spillway's median by another's.
func ratio(key, other string) func(*Report) (float64, bool) { return ratioOf(Spillway, key, other) }

// ratioOf divides one's median by another's.
func ratioOf(one, key, other string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		a, ok := r.Entry(one).Median(key)
		b, ok2 := r.Entry(other).Median(key)
		return a / b, ok && ok2 && b > 0
	}
}

// above subtracts another's median.
func above(key, other string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		a, ok := r.Entry(Spillway).Median(key)
		b, ok2 := r.Entry(other).Median(key)
		return a - b, ok && ok2
	}
}

// of is Spillway's own median, less another of its own ("" for none).
func of(key, less string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		a, ok := r.Entry(Spillway).Median(key)
		if less == "" {
			return a, ok
		}
		b, ok2 := r.Entry(Spillway).Median(less)
		return a - b, ok && ok2
	}
}

// bestPeer divides by the best goodput of a peer, of what could serve a LAN.
func bestPeer(key string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		a, ok := r.Entry(Spillway).Median(key)
		best := 0.0
		for _, e := range r.Entries {
			if v, has := e.Median(key); has && e.Kind == "peer" {
				best = max(best, v)
			}
		}
		return a / best, ok && best > 0
	}
}

// either is the first figure, or where that was not taken the other.
func either(first, other func(*Report) (float64, bool)) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		if v, ok := first(r); ok {
			return v, true
		}
		return other(r)
	}
}

func targetList() []target {
	return []target{
		{"CPU/GiB, shaped 50+30, × C read/write", ratio("shaped80.cpu", CRW), 0.5, true, "%.2f"},
		{"CPU/GiB, shaped 50+30, × HAProxy pair", ratio("shaped80.cpu", HAPair), 0.5, true, "%.2f"},
		{"CPU/GiB, shaped 50+30, × HAProxy to one place", ratio("shaped80.cpu", HAOne), 0.5, true, "%.2f"},
		{"CPU/GiB, shaped 50+30, × sing-box", ratio("shaped80.cpu", "sing-box"), 1.0 / 12, true, "%.3f"},
		{"CPU/GiB, paced 300, × C read/write", ratio("paced300.cpu", CRW), 1, true, "%.2f"},
		{"small request beside bulk, p50 above C, ms", above("small.ask50", CRW), 0.2, true, "%+.2f"},
		{"small request beside bulk, p99 above C, ms", above("small.ask99", CRW), 0.2, true, "%+.2f"},
		{"small request after bulk on the same connection, p50 above C, ms", above("small.mixed50", CRW), 0.2, true, "%+.2f"},
		{"small request after bulk on the same connection, p99 above C, ms", above("small.mixed99", CRW), 0.2, true, "%+.2f"},
		{"goodput, 8 unpaced, × C read/write", ratio("unpaced8.mbit", CRW), 1, false, "%.2f"},
		{"goodput, 8 unpaced, × best peer that goes where asked", bestPeer("unpaced8.mbit"), 1, false, "%.2f"},
		{"goodput, 8 unpaced, × HAProxy to one place", ratio("unpaced8.mbit", HAOne), 1, false, "%.2f"},
		{"connections/s, serial, × C", ratio("rr1.rate", CRW), 0.95, false, "%.2f"},
		{"connections/s, 64 at once, × C", ratio("rr64.rate", CRW), 0.95, false, "%.2f"},
		{"connections/s, serial, × HAProxy pair", ratio("rr1.rate", HAPair), 1, false, "%.2f"},
		{"connections/s, 64 at once, × HAProxy pair", ratio("rr64.rate", HAPair), 1, false, "%.2f"},
		{"connections/s, serial, × HAProxy to one place", ratio("rr1.rate", HAOne), 1, false, "%.2f"},
		{"connections/s, 64 at once, × HAProxy to one place", ratio("rr64.rate", HAOne), 1, false, "%.2f"},
		{"connections/s, serial, × shadowsocks-libev", ratio("rr1.rate", "shadowsocks-libev"), 1, false, "%.2f"},
		{"connections/s, 64 at once, × shadowsocks-libev", ratio("rr64.rate", "shadowsocks-libev"), 1, false, "%.2f"},
		{"connections/s, serial, × sing-box", ratio("rr1.rate", "sing-box"), 2, false, "%.2f"},
		{"connections/s, 64 at once, × sing-box", ratio("rr64.rate", "sing-box"), 2, false, "%.2f"},
		{"in mode overflow: connections/s, serial, × C", ratioOf(Overflow, "rr1.rate", CRW), 0.95, false, "%.2f"},
		{"in mode overflow: connections/s, 64 at once, × C", ratioOf(Overflow, "rr64.rate", CRW), 0.95, false, "%.2f"},
		{"in mode overflow: connections/s, serial, × C on one link", ratioOf(Overflow, "rr1.rate", COne), 0.95, false, "%.2f"},
		{"in mode overflow: connections/s, 64 at once, × C on one link", ratioOf(Overflow, "rr64.rate", COne), 0.95, false, "%.2f"},
		{"in mode overflow: connections/s, serial, × HAProxy pair", ratioOf(Overflow, "rr1.rate", HAPair), 1, false, "%.2f"},
		{"in mode overflow: connections/s, 64 at once, × HAProxy pair", ratioOf(Overflow, "rr64.rate", HAPair), 1, false, "%.2f"},
		{"in mode overflow: connections/s, serial, × shadowsocks-libev", ratioOf(Overflow, "rr1.rate", "shadowsocks-libev"), 1, false, "%.2f"},
		{"in mode overflow: connections/s, 64 at once, × shadowsocks-libev", ratioOf(Overflow, "rr64.rate", "shadowsocks-libev"), 1, false, "%.2f"},
		{"in mode overflow: connections/s, serial, × sing-box", ratioOf(Overflow, "rr1.rate", "sing-box"), 2, false, "%.2f"},
		{"in mode overflow: connections/s, 64 at once, × sing-box", ratioOf(Overflow, "rr64.rate", "sing-box"), 2, false, "%.2f"},
		{"set-up p99, serial, × C", ratio("rr1.p99", CRW), 1.5, true, "%.2f"},
		{"user memory per idle connection, 1,000, octets", of("memory1000.user", ""), 2048, true, "%.0f"},
		{"user memory per idle connection, 10,000, octets", of("memory10000.user", ""), 2048, true, "%.0f"},
		{"kernel memory per idle connection above C, 10,000, octets", either(above("memory10000.charged", CRW), above("memory10000.kernel", CRW)), 0, true, "%.0f"},
		{"small request in a long queue, download: relayed p50 above past it, ms", of("queues.down_ask50", "queues.down_other50"), 5, true, "%+.1f"},
		{"small request in a long queue, upload: relayed p50 above past it, ms", of("queues.up_ask50", "queues.up_other50"), 5, true, "%+.1f"},
		{"idle: wake-ups/s", of("own.idle_wakeups", ""), 5, true, "%.1f"},
		{"idle: % of a core", of("own.idle_percent", ""), 0.1, true, "%.3f"},
		{"1,000 flows: % of a core", of("own.flows1000_percent", ""), 2, true, "%.2f"},
	}
}

// aboutTargets is why some stand there twice.
const aboutTargets = "*HAProxy pair* speaks a protocol that names the destination, which is what connections per second are promised against; " +
	"*HAProxy to one place* speaks none and forwards everything to one server, so it is no peer but a limit: its rows are here to show how " +
	"far that is. Peers have no policy: their kernel gives each connection a second subflow, as mode bond does. In mode overflow, the default, a connection " +
	"that is over before the first link is full has none; *C on one link* is the yardstick for that.\n\n"

// targets says which are met.
func (r *Report) targets() [][]string {
	rows := [][]string{{"target", "limit", "measured", "met"}}
	for _, t := range targetList() {
		v, ok := t.figure(r)
		if !ok {
			continue
		}
		sign, met := "≥ ", v >= t.limit
		if t.most {
			sign, met = "≤ ", v <= t.limit
		}
		answer := "**no**"
		if met {
			answer = "yes"
		}
		rows = append(rows, []string{t.about, sign + strconv.FormatFloat(math.Round(t.limit*1e4)/1e4, 'f', -1, 64), fmt.Sprintf(t.format, v), answer})
	}
	return rows
}

// ownRows is what only Spillway was asked.
func (r *Report) ownRows() [][]string {
	rows := [][]string{{"of the daemon", "measured"}}
	for _, f := range []struct{ about, key, format string }{
		{"from start to the first relayed connection, ms", "own.startup_ms", "%.0f"},
		{"from SIGTERM of the daemon to the first connection that its successor relays, ms", "own.restart_ms", "%.0f"},
		{"longest pause between relayed connections while a new binary takes over, ms", "own.takeover_ms", "%.0f"},
		{"idle, wake-ups/s of all threads", "own.idle_wakeups", "%.1f"},
		{"idle, % of a core", "own.idle_percent", "%.3f"},
		{"1,000 idle connections, wake-ups/s", "own.flows1000_wakeups", "%.1f"},
		{"1,000 idle connections, % of a core", "own.flows1000_percent", "%.2f"},
	} {
		if v, ok := r.Entry(Spillway).Median(f.key); ok {
			rows = append(rows, []string{f.about, fmt.Sprintf(f.format, v)})
		}
	}
	return rows
}
