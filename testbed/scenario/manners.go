// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"spillway/testbed/world"
)

// manners is what LAN hosts see of servers, and what a connection costs.
type manners struct {
	connect, first, first95 float64 // ms, medians of one connection after the other; and the 95th percentile
	rate                    float64 // connections a second, 32 at once
	failed                  int
	refused                 int // of ten to a port that nobody listens on, those that the host saw refused
	overHole, overRefusal   int // of five by curl, those that came to a page by IPv4
	hole, refusal           float64
}

// faithfulServer has the server answer, refuse and keep silent.
func faithfulServer(w *world.World) error {
	for _, l := range []struct {
		network string
		port    int
	}{{"tcp", portAnswers}, {"tcp", portHole6}, {"tcp4", portOnly4}, {"tcp", portHole}} {
		var listener net.Listener
		if err := w.SRV.Do(func() (err error) {
			listener, err = net.Listen(l.network, fmt.Sprintf(":%d", l.port))
			return err
		}); err != nil {
			return err
		}
		w.AtClose(func() { listener.Close() })
		go answer(listener)
	}
	return w.SRV.Run("nft", fmt.Sprintf("table inet holes { chain in { type filter hook input priority 0; meta nfproto ipv6 tcp dport %d drop; tcp dport %d drop; }; }",
		portHole6, portHole))
}

// answer answers the first octets of a connection by a page.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := c.Read(make([]byte, 4096)); err == nil {
				io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes")
			}
		}()
	}
}

func dialFrom(w *world.World, to string, within time.Duration) (c net.Conn, err error) {
	err = w.LAN.Do(func() (err error) {
		d := net.Dialer{Timeout: within}
		d.SetMultipathTCP(false)
		c, err = d.Dial("tcp", to)
		return err
	})
	return c, err
}

// exchange connects, asks at once, and times the SYN-ACK and the first octet.
func exchange(w *world.World, family string) (connect, first time.Duration, err error) {
	to := world.At(family, portAnswers)
	err = w.LAN.Do(func() error { // dial and exchange on one thread: no waiting for another in between
		began := time.Now()
		d := net.Dialer{Timeout: 20 * time.Second}
		d.SetMultipathTCP(false)
		c, err := d.Dial("tcp", to)
		if err != nil {
			return err
		}
		defer c.Close()
		connect = time.Since(began)
		c.SetDeadline(began.Add(30 * time.Second))
		if _, err := c.Write([]byte{'?'}); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		first = time.Since(began)
		return err
	})
	return connect, first, err
}

// mannersBecome waits until a closed port looks refused, or does not.
func mannersBecome(w *world.World, refused bool) error {
	return world.WaitFor(fmt.Sprintf("refusals as they are: %v", refused), 60*time.Second, func() bool {
		c, err := dialFrom(w, world.At("4", portRefuses), 20*time.Second)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED) == refused && (err == nil) != refused
	})
}

// measureManners takes all the figures; curl waits so long for a page.
func measureManners(w *world.World, patience time.Duration) (m manners, err error) {
	var connects, firsts []time.Duration
	for i := range 60 {
		connect, first, err := exchange(w, []string{"4", "6"}[i&1])
		if err != nil {
			m.failed++
			continue
		}
		connects, firsts = append(connects, connect), append(firsts, first)
	}
	m.connect, m.first, m.first95 = middle(connects), middle(firsts), quantile(firsts, 95)
	m.rate = together(w, 300, 32, &m.failed)
	for range 10 {
		c, err := dialFrom(w, world.At("4", portRefuses), 20*time.Second)
		if err == nil {
			c.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			m.refused++
		}
	}
	m.overHole, m.hole = happy(w, portHole6, patience)
	m.overRefusal, m.refusal = happy(w, portOnly4, patience)
	return m, nil
}

// together makes connections, some at once, and returns how many a second.
func together(w *world.World, all, parallel int, failed *int) float64 {
	var group sync.WaitGroup
	var bad, next atomic.Int64
	began := time.Now()
	for range parallel {
		group.Go(func() {
			for next.Add(1) <= int64(all) {
				if _, _, err := exchange(w, "4"); err != nil {
					bad.Add(1)
				}
			}
		})
	}
	group.Wait()
	*failed += int(bad.Load())
	return float64(all) / time.Since(began).Seconds()
}

// happy has curl, which tries IPv6 first and IPv4 200 ms later, fetch a page five times: how often it did, and how long it took.
func happy(w *world.World, port uint16, patience time.Duration) (pages int, median float64) {
	var took []time.Duration
	for range 5 {
		began := time.Now()
		out, err := w.Curl("-m", fmt.Sprint(patience.Seconds()), "--resolve", fmt.Sprintf("name.test:%d:[%s],%s", port, world.Server6, world.Server4),
			fmt.Sprintf("http://name.test:%d/", port)).Output()
		if err == nil && string(out) == "yes" {
			pages++
			took = append(took, time.Since(began))
		}
	}
	return pages, middle(took)
}

// holes begins connections to a hole; the function that it returns ends them.
func holes(w *world.World, n int) func() {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if c, err := dialFrom(w, world.At("4", portHole), 4*time.Second); err == nil {
				c.Close()
			}
		})
	}
	return all.Wait
}

func middle(d []time.Duration) float64 { return quantile(d, 50) }

// quantile is the percentile in ms; 0 without any.
func quantile(d []time.Duration, percent int) float64 {
	if len(d) == 0 {
		return 0
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return float64(d[min(len(d)-1, len(d)*percent/100)]) / 1e6
}
