// SPDX-License-Identifier: Apache-2.0

package linkemu

import (
	"fmt"

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
	Name string
	// Carrier plugs the cable of a device that is not ours in or out; nil: nothing can.
	Carrier func(on bool) error
	fd      int
	header  int  // octets before the IP packet
	tun     bool // a device that we made, with a carrier to switch
}

// Open makes the device in a namespace, up, without addresses.
func Open(ns *netns.NS, name string, kind Kind) (*Port, error) {
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
		return nil, fmt.Errorf("make device %s: %w", name, err)
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
}
