// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/netns"
	"spillway/testbed/traffic"
	"spillway/testbed/world"
)

// attack is what one LAN host does to all others, who are timed before and meanwhile.
func attack(name, about string, during func(w *world.World, until time.Time) error) Scenario {
	var neighbour *netns.NS
	var before, meanwhile traffic.Result
	var first, last world.Usage
	requests := traffic.Demand{Kind: traffic.Web, Octets: 10_000, Connections: 40, Every: 100 * time.Millisecond, Parallel: 40, Timeout: 10 * time.Second}
	return Scenario{
		Name: name, About: about, Links: world.Two(),
		Before: func(w *world.World) (err error) { neighbour, err = w.Neighbour(); return err },
		Events: []Event{
			do(0, "neighbour, undisturbed", func(w *world.World) (err error) {
				if before, err = w.DemandFrom(neighbour, requests); err == nil {
					first, err = w.Router.Usage()
				}
				return err
			}),
			do(0, "neighbour, attack", func(w *world.World) (err error) {
				ended := make(chan error, 1)
				go func() { ended <- during(w, time.Now().Add(7*time.Second)) }()
				time.Sleep(2 * time.Second) // the attack has what it can have
				if meanwhile, err = w.DemandFrom(neighbour, requests); err != nil {
					return err
				}
				if last, err = w.Router.Usage(); err != nil {
					return err
				}
				return <-ended
			}),
		},
		Expect: []Expectation{
			{What: "another host's requests that failed meanwhile", Measure: func(*Run) float64 { return float64(meanwhile.Failed + meanwhile.Bad) }, Is: AtMost, Aim: 0, Bound: 2},
			{What: "another host's median request before", Unit: "ms", Measure: func(*Run) float64 { return before.Done.Median }, Is: AtMost, Aim: 300, Bound: none},
			{What: "another host's median request meanwhile", Unit: "ms", Measure: func(*Run) float64 { return meanwhile.Done.Median }, Is: AtMost, Aim: 300, Bound: 5000},
			{What: "another host's slowest request meanwhile", Unit: "ms", Measure: func(*Run) float64 { return meanwhile.Done.Max }, Is: AtMost, Aim: 1500, Bound: none},
			{What: "sessions meanwhile", Measure: func(*Run) float64 { return float64(last.Sessions) }, Is: AtMost, Aim: 2100, Bound: none},
			{What: "resident memory more than before", Unit: "kB", Measure: func(*Run) float64 { return float64((last.RSS - first.RSS) >> 10) }, Is: AtMost, Aim: 30_000, Bound: none},
		},
	}
}

// slowLoris opens connections and says nothing: twice as many as one host may have.
func slowLoris() Scenario {
	return attack("slow-loris", "a LAN host opens 5000 connections and lets them stand; what another one feels", func(w *world.World, until time.Time) error {
		_, err := w.Demand(traffic.Demand{Kind: traffic.Get, Octets: 100, Connections: 5000, Parallel: 1000, Hold: time.Until(until), Timeout: 5 * time.Second})
		return err
	})
}

// synFlood sends SYNs from addresses of the home that nobody has.
func synFlood() Scenario {
	return attack("syn-flood", "a LAN host sends 5000 SYNs a second from false addresses; what another one feels", func(w *world.World, until time.Time) error {
		return w.LAN.Do(func() error { return flood(until, 5000) })
	})
}

// flood sends so many SYNs a second on this thread.
func flood(until time.Time, rate int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	server := netip.MustParseAddr(world.Server4).As4()
	start := time.Now()
	for n := 0; time.Now().Before(until); n++ {
		source := [4]byte{192, 168, 1, byte(100 + rand.IntN(100))}
		packet := syn(source, server, uint16(1024+rand.IntN(60_000)), world.ServerPort, rand.Uint32())
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: server}); err != nil && err != unix.ENOBUFS {
			return fmt.Errorf("send a SYN: %w", err)
		}
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(rate))))
	}
	return nil
}

// syn is an IPv4 packet with a SYN; the kernel fills in the IP checksum.
func syn(from, to [4]byte, fromPort, toPort uint16, seq uint32) []byte {
	b := make([]byte, 40)
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(b[2:], 40)
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	t := b[20:]
	binary.BigEndian.PutUint16(t, fromPort)
	binary.BigEndian.PutUint16(t[2:], toPort)
	binary.BigEndian.PutUint32(t[4:], seq)
	t[12], t[13] = 5<<4, 2
	binary.BigEndian.PutUint16(t[14:], 65535)
	sum := uint32(unix.IPPROTO_TCP + 20)
	for _, part := range [][]byte{b[12:20], t} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(t[16:], ^uint16(sum))
	return b
}
