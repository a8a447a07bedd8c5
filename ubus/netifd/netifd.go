// SPDX-License-Identifier: Apache-2.0

// Package netifd tells what OpenWrt's network daemon knows of the router's interfaces: which kernel device a
// logical interface ("wan") has at the moment, by which protocol, and what line rates the DSL modem has.
//
// netifd is subscribed to, not polled. It says nothing of carrier loss on an interface with static addresses:
// carrier is for rtnetlink to tell.
package netifd

import (
	"slices"
	"strings"

	"spillway/ubus"
)

// Object is the ubus object whose notifications tell of every interface.
const Object = "network.interface"

// Interface is a logical interface, as /etc/config/network names it.
type Interface struct {
	Name   string
	Up     bool
	Proto  string // static, dhcp, pppoe, qmi, ...
	Device string // the device that carries its packets (l3_device: pppoe-wan, wwan0); "" while it is down
	Kind   Kind   // guessed
}

// Kind is what sort of line an interface seems to be.
type Kind string

const (
	DSL     Kind = "dsl"
	LTE     Kind = "lte"
	Unknown Kind = ""
)

// Guess tells DSL from LTE by protocol (the files of /lib/netifd/proto) and device. Its word is a default only: a HiLink stick is an Ethernet
// card with DHCP, and so is a cable modem.
func Guess(proto, device string) Kind {
	switch proto {
	case "pppoe", "pppoa":
		return DSL
	case "qmi", "mbim", "ncm", "3g", "directip", "modemmanager", "quectel", "wwan", "fibocom", "fm350", "xmm", "atc":
		return LTE
	}
	for _, p := range []string{"dsl", "atm", "ptm", "pppoe-", "pppoa-"} {
		if strings.HasPrefix(device, p) {
			return DSL
		}
	}
	for _, p := range []string{"wwan", "usb", "qmimux", "rmnet", "3g-", "qmi-", "mbim-"} {
		if strings.HasPrefix(device, p) {
			return LTE
		}
	}
	return Unknown
}

// ParseDump reads the answer of `network.interface dump`.
func ParseDump(m ubus.Msg) []Interface {
	var all []Interface
	for _, v := range m.List("interface") {
		if t, ok := v.(ubus.Msg); ok {
			if i, ok := ParseInterface(t); ok {
				all = append(all, i)
			}
		}
	}
	return all
}

// ParseInterface reads one interface: an element of the dump, or the data of a notification. ok is false where no
// name is given.
func ParseInterface(m ubus.Msg) (i Interface, ok bool) {
	i = Interface{Name: m.Text("interface"), Up: m.Bool("up"), Proto: m.Text("proto"), Device: m.Text("l3_device")}
	if !i.Up {
		i.Device = ""
	}
	lower := m.Text("device")
	if i.Kind = Guess(i.Proto, lower); i.Kind == Unknown {
		i.Kind = Guess("", i.Device)
	}
	return i, i.Name != ""
}

// Line is the state of the DSL modem. Rates are in bit/s, 0 where unknown and while it trains.
type Line struct {
	Present bool // there is a modem
	DownBit int64
	UpBit   int64
}

// ParseLine reads the answer of `dsl metrics`.
func ParseLine(m ubus.Msg) Line {
	if !m.Bool("up") { // while it trains the modem still names the rates of before
		return Line{Present: true}
	}
	return Line{Present: true, DownBit: rate(m.Table("downstream")), UpBit: rate(m.Table("upstream"))}
}

// rate is a direction's data_rate; it is null while the line trains, and printed negative by programs that take
// the 32 bits for signed.
func rate(m ubus.Msg) int64 {
	n, _ := m.Int("data_rate")
	if n < 0 {
		n += 1 << 32
	}
	return max(n, 0)
}

// State is all that netifd and the modem said last.
type State struct {
	Interfaces []Interface // by name
	Line       Line
}

// Find returns an interface by its logical name.
func (s State) Find(name string) (Interface, bool) {
	i := slices.IndexFunc(s.Interfaces, func(i Interface) bool { return i.Name == name })
	if i < 0 {
		return Interface{}, false
	}
	return s.Interfaces[i], true
}

// Device is the device of a logical interface, "" while it is down or unknown.
func (s State) Device(name string) string {
	i, _ := s.Find(name)
	return i.Device
}

func (s State) equal(o State) bool {
	return s.Line == o.Line && slices.Equal(s.Interfaces, o.Interfaces)
}
