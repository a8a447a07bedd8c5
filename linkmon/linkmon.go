// SPDX-License-Identifier: Apache-2.0

// Package linkmon senses: it knows what the configured links look like right now and tells whoever asks by a
// Snapshot. It changes nothing in the kernel and sends nothing.
//
// Kernel messages are hints: each one only pokes the monitor, which then reads links, addresses and routes anew
// and publishes when a fact has changed. So a lost message costs nothing, and an overrun subscription is made
// anew and followed by a reading, for ever.
//
// The rest of the package is pure and has no clock: Rate (counters to bit/s), Capacity (what a link can carry,
// and how that is known), Health (what the TCP figures of the live connections say about a link, and when a probe is due) and
// Damp (flap dampening after RFC 2439).
package linkmon

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Config says which links there are. Their order is the order of Snapshot.Links.
type Config struct {
	Links []LinkConfig
	// OwnTable tells the routing tables that this daemon fills itself. Their routes are no evidence that a link has
	// a way out, else a route that we wrote would keep itself alive after the network took its original away. nil: none.
	OwnTable func(table uint32) bool
}

// LinkConfig is one link as the user named it.
type LinkConfig struct {
	Name    string  // the user's name of the link, unique
	Device  string  // kernel device, "pppoe-wan"; may be absent now; "": not known (yet)
	DownBit float64 // configured capacity towards the LAN, bit/s; 0: to be learnt
	UpBit   float64 // configured capacity towards the Internet, bit/s; 0: to be learnt
}

// Validate names the first link of the configuration that can't be.
func (c Config) Validate() error {
	names, devices := map[string]bool{}, map[string]string{}
	for i, l := range c.Links {
		switch {
		case l.Name == "":
			return fmt.Errorf("link %d has no name", i+1)
		case names[l.Name]:
			return fmt.Errorf("link %q is there twice: names must differ", l.Name)
		case len(l.Device) > 15:
			return fmt.Errorf("link %q: device %q is longer than the 15 octets that the kernel allows", l.Name, l.Device)
		case l.Device != "" && devices[l.Device] != "":
			return fmt.Errorf("links %q and %q have the same device %q", devices[l.Device], l.Name, l.Device)
		case !(l.DownBit >= 0 && l.UpBit >= 0): // also false for NaN
			return fmt.Errorf("link %q: a capacity of %g down, %g up bit/s can't be", l.Name, l.DownBit, l.UpBit)
		}
		names[l.Name], devices[l.Device] = true, l.Name
	}
	if len(c.Links) == 0 {
		return errors.New("no link is configured")
	}
	return nil
}

// Snapshot is what all links look like at one instant. It is never changed after it was published.
type Snapshot struct {
	At    time.Time
	Links []Link // in the order of the configuration
}

// Link is one link at one instant. Values only: two links compare with ==.
type Link struct {
	Name, Device string
	Index        int  // the kernel's number of the device, 0: not present. It changes when a device is made anew
	Present      bool // the device exists
	Up           bool // administratively up
	Carrier      bool // and the layer below agrees
	PointToPoint bool // no gateway is needed: PPP, tun, raw-ip modems
	MTU          int

	Addr4, Addr6       netip.Addr // the source address to use: global scope, not tentative or deprecated; zero: none
	Gateway4, Gateway6 netip.Addr // zero: point-to-point, on-link, or no default route (see Route4, Route6)
	Route4, Route6     bool       // a default route by this device exists, or the device is point-to-point and has an address

	RxBytes, TxBytes, RxPackets, TxPackets uint64  // as the kernel counts them
	Before                                 uint64  // of RxBytes and TxBytes, what the device had when it became the link's instead of another; 0: it is new since
	DownRate, UpRate                       float64 // bit/s, mean of the last quarter second
	DownPeak, UpPeak                       float64 // bit/s, the highest rate of late (halved each 10 s)

	Usable bool   // up, carrier, and a source address with a way out in one family at least
	Reason string // why it is not usable; "" when it is
	Since  time.Time

	Flapping bool          // goes up and down so often that it should not be relied on where there is another
	CalmIn   time.Duration // while Flapping: when it will be relied on again if it stays up
}

// facts is the link without what moves by itself: what remains equal needs no publishing.
func (l Link) facts() Link {
	l.RxBytes, l.TxBytes, l.RxPackets, l.TxPackets = 0, 0, 0, 0
	l.DownRate, l.UpRate, l.DownPeak, l.UpPeak = 0, 0, 0, 0
	l.CalmIn = 0
	return l
}
