// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"io"
	"time"
)

// AtRest waits until no connection is relayed any more, and what follows from the last ones is over, and counts.
func (w *World) AtRest() (u Usage, err error) {
	err = WaitFor("the end of all sessions after all connections have ended", 100*time.Second, func() bool {
		u, err := w.Router.Usage()
		return err == nil && u.Sessions == 0
	})
	if err != nil {
		flows, _ := w.Router.Control("flows", nil)
		sockets, _ := w.CPE.Output("ss", "-HtinM")
		plain, _ := w.CPE.Output("ss", "-Htin")
		return u, fmt.Errorf("%w\n%s\n%s\n%s", err, flows, sockets, plain)
	}
	time.Sleep(8 * time.Second) // hold-ups, probes and overflow come to rest
	// The relay closes a socket when its end has been acknowledged, or after a minute: its address or the concentrator's program may be gone.
	err = WaitFor("the end of what waits for an acknowledgement", 75*time.Second, func() bool {
		sockets, err := w.CPE.Output("ss", "-HanM", "state", "last-ack")
		return err == nil && sockets == ""
	})
	if err != nil {
		return u, err
	}
	return w.Router.Usage()
}

// holdings are what is counted, and how much more at the end than in the middle or at the start is growth.
var holdings = []struct {
	name  string
	of    func(Usage) int
	slack func(first int) int
}{
	{"resident memory, kB", func(u Usage) int { return int(u.RSS >> 10) }, func(n int) int { return n/4 + 4096 }},
	{"goroutines", func(u Usage) int { return u.Goroutines }, few},
	{"threads", func(u Usage) int { return u.Threads }, func(int) int { return 10 }},
	{"descriptors", func(u Usage) int { return u.Descriptors }, few},
	{"pipes", func(u Usage) int { return u.Pipes }, few},
	{"sessions", func(u Usage) int { return u.Sessions }, none},
	{"nft objects", func(u Usage) int { return u.NFT }, func(int) int { return 6 }}, // a reload adds a rule with its sets, the next takes it away
	{"routing rules", func(u Usage) int { return u.Rules }, none},
	{"routes", func(u Usage) int { return u.Routes }, none},
	{"MPTCP endpoints", func(u Usage) int { return u.Endpoints }, func(int) int { return 2 }}, // LTE's may still stand
	{"MPTCP sockets lost", func(u Usage) int { return u.Lost }, few},
}

func few(int) int  { return 4 }
func none(int) int { return 0 }

// Grown names what a daemon holds more of than before.
func Grown(first, last Usage) (faults []string) {
	for _, h := range holdings {
		a, b := h.of(first), h.of(last)
		if b > a+h.slack(a) {
			faults = append(faults, fmt.Sprintf("%s grew from %d to %d", h.name, a, b))
		}
	}
	return faults
}

// PrintUsage writes three counts beside one another, each under its head.
func PrintUsage(to io.Writer, a, b, c string, counts [3]Usage) {
	fmt.Fprintf(to, "%-22s %10s %10s %10s\n", "held by the daemon", a, b, c)
	for _, h := range holdings {
		fmt.Fprintf(to, "%-22s %10d %10d %10d\n", h.name, h.of(counts[0]), h.of(counts[1]), h.of(counts[2]))
	}
}
