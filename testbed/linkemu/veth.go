// SPDX-License-Identifier: Apache-2.0

package linkemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"spillway/testbed/netns"
)

// openVeth makes an Ethernet port without /dev/net/tun, as it must be in a user namespace on a system that keeps the
// file to root: a pair of veth devices, its far end in a namespace of its own with a packet socket on it.
func openVeth(ns *netns.NS, name string) (p *Port, err error) {
	line, err := netns.Make("line")
	if err != nil {
		return nil, err
	}
	p = &Port{Name: name, fd: -1, header: 14, line: line}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if err := line.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"); err != nil { // nothing there may speak by itself
		return nil, err
	}
	if err := netns.Veth(ns, name, line, farEnd); err != nil {
		return nil, err
	}
	if err := ns.Do(func() error { return offloadsOff(name) }); err != nil {
		return nil, err
	}
	err = line.Do(func() (err error) { p.fd, err = packetSocket(farEnd); return err })
	return p, err
}

// farEnd is the name of the end that the emulator holds.
const farEnd = "far"

// packetSocket gives and takes whole frames of a device, but not those that it sent.
func packetSocket(device string) (fd int, err error) {
	everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	const buffer = 4 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // as much as the system allows
	}
	ifr, err := unix.NewIfreq(device)
	if err == nil {
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr))
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: int(ifr.Uint32())})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket on %s: %w", device, err)
	}
	return fd, nil
}

// offloadsOff makes a device's packets fit the MTU and carry their checksums: linux/ethtool.h.
func offloadsOff(device string) error {
	const setTxChecksum, setScatterGather, setGSO = 0x17, 0x19, 0x24
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, command := range []uint32{setTxChecksum, setScatterGather, setGSO} {
		value := [2]uint32{command, 0}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], device)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("switch off offloads of %s: %w", device, errno)
		}
	}
	return nil
}
