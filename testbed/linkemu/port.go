// SPDX-License-Identifier: Apache-2.0

package linkemu

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
	"spillway/testbed/netns"
)

// Kind is what the devices at both ends of a link look like.
type Kind int

const (
	Ethernet Kind = iota // frames and neighbours, as behind a modem or on WWAN in Ethernet mode
	PPP                  // bare IP packets, point to point, no neighbour and no gateway, as PPPoE or raw-IP WWAN
)

// Port is one end of a link: a network device whose packets the emulator reads and writes. The device sees no
// segmentation offload, so every packet fits the MTU.
type Port struct {
	Name   string
	fd     int
	header int       // octets before the IP packet
	tun    bool      // it is a tun or tap device
	line   *netns.NS // of a veth pair: where the far end is

	// Carrier plugs the cable of a Descriptor's device in or out; nil: nothing can.
	Carrier func(on bool) error
}

// Open makes the device in a namespace, up, without addresses.
func Open(ns *netns.NS, name string, kind Kind) (*Port, error) {
	p, err := openTun(ns, name, kind)
	if kind == Ethernet && (errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist)) {
		p, err = openVeth(ns, name)
	}
	if err != nil {
		return nil, fmt.Errorf("make device %s: %w", name, err)
	}
	return p, nil
}

// openTun makes a tap or tun device.
func openTun(ns *netns.NS, name string, kind Kind) (*Port, error) {
	p := &Port{Name: name, fd: -1, tun: true}
	flags := uint16(unix.IFF_NO_PI | unix.IFF_TUN)
	if kind == Ethernet {
		p.header = 14
		flags = unix.IFF_NO_PI | unix.IFF_TAP
	}
	err := ns.Do(func() (err error) {
		if p.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("/dev/net/tun (load the module: modprobe tun): %w", err)
		}
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(flags)
		return unix.IoctlIfreq(p.fd, unix.TUNSETIFF, ifr)
	})
	if err == nil {
		err = ns.Script("link set dev " + name + " up\n")
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Descriptor makes a port of a descriptor that gives and takes one frame per read and write, such as one half of a
// socket pair whose other half a virtual machine holds. The port owns it.
func Descriptor(name string, fd int, kind Kind) (*Port, error) {
	p := &Port{Name: name, fd: fd}
	if kind == Ethernet {
		p.header = 14
	}
	return p, unix.SetNonblock(fd, true)
}

// setCarrier plugs the cable in or out, as the device's own namespace sees it.
func (p *Port) setCarrier(on bool) error {
	if p.Carrier != nil {
		return p.Carrier(on)
	}
	if p.line != nil {
		return p.line.Script("link set dev " + farEnd + map[bool]string{true: " up\n", false: " down\n"}[on])
	}
	if !p.tun {
		return nil
	}
	value := 0
	if on {
		value = 1
	}
	if err := unix.IoctlSetPointerInt(p.fd, unix.TUNSETCARRIER, value); err != nil {
		return fmt.Errorf("carrier of %s: %w", p.Name, err)
	}
	return nil
}

// Close removes the device.
func (p *Port) Close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
	if p.line != nil {
		p.line.Close()
	}
}
