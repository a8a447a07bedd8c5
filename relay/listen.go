// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
	"spillway/relay/engine"
	"spillway/sockopt"
)

// own tells a connection to the door itself from an intercepted one.
func (r *Relay) own(a netip.AddrPort) bool {
	port := uint32(a.Port())
	return a.Addr().IsLoopback() && (port == r.door.known[0].Load() || port == r.door.known[1].Load()) || !a.IsValid()
}

// listen makes one transparent listener. Options of the LAN side are set here once and inherited by each connection. It is plain TCP:
// a LAN host's MPTCP ends here, or passed the door natively.
func listen(a netip.AddrPort, s *settings) (fd int, err error) {
	v6, family := a.Addr().Is6(), unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := doorOptions(fd, v6, s); err != nil {
		unix.Close(fd)
		return -1, err
	}
	err = os.NewSyscallError("bind", unix.Bind(fd, mptcp.Sockaddr(a, v6)))
	if err == nil {
		// Each that waits was promised to be served: what the kernel's own thousands would hold when the house is full could not be. SYNs that find
		// no place come again after a second. (If the door is closed by then they are lost: see hide. So nft lets no more in than find one:
		// Table.Burst in kernel.) A flood of them is answered with SYN cookies.
		err = os.NewSyscallError("listen", unix.Listen(fd, s.Queue))
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%v: %w", a, err)
	}
	return fd, nil
}

func doorOptions(fd int, v6 bool, s *settings) error {
	level, name, label := unix.SOL_IP, unix.IP_TRANSPARENT, "IP_TRANSPARENT"
	if v6 {
		level, name, label = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, "IPV6_TRANSPARENT"
	}
	if err := sockopt.SetInt(fd, level, name, 1); err != nil {
		return fmt.Errorf("%s (needs CAP_NET_ADMIN): %w", label, err)
	}
	for _, o := range [][3]int{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUF, s.LANBuffer},
		{unix.SOL_SOCKET, unix.SO_SNDBUF, s.LANBuffer},
		{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1}, // else an octet of urgent data would be left out
		{unix.SOL_TCP, unix.TCP_NOTSENT_LOWAT, s.NotSentLowat},
		{unix.SOL_TCP, unix.TCP_NODELAY, 1},
	} {
		if err := sockopt.SetInt(fd, o[0], o[1], o[2]); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := engine.EndsInReset(fd); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if !s.IgnoreDSCP {
		sockopt.SetInt(fd, unix.SOL_TCP, unix.TCP_SAVE_SYN, 1) // absent: the DSCP is not kept
	}
	return nil
}

// Listeners gives duplicates of the listening sockets for a successor process; AdoptListeners takes them instead
// of OpenDoor. The caller closes the files, and calls NotHandedOver if no successor got them.
func (r *Relay) Listeners() ([]*os.File, error) {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	if r.door.hidden { // a successor has seats of its own
		r.show()
	}
	var files []*os.File
	for _, l := range r.door.listeners {
		if l == nil {
			continue
		}
		var f *os.File
		var err error
		l.Control(func(fd int) {
			var d int
			if d, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
				f = os.NewFile(uintptr(d), "door")
			}
		})
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("hand over the door: %w", err)
		}
		files = append(files, f)
	}
	if len(files) > 0 {
		r.door.shared++
	}
	return files, nil
}

// NotHandedOver takes back what Listeners gave: no successor has it, and the door can be closed as ever.
func (r *Relay) NotHandedOver() {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	r.door.shared = max(0, r.door.shared-1) // the door may have been closed meanwhile
}

// AdoptListeners is OpenDoor with sockets of a predecessor. The files may be closed afterwards.
func (r *Relay) AdoptListeners(files []*os.File) error {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	for _, f := range files {
		fd, err := engine.Duplicate(f)
		if err != nil {
			return fmt.Errorf("adopt %s: %w", f.Name(), err)
		}
		if on, err := sockopt.Int(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 || unix.SetNonblock(fd, true) != nil {
			unix.Close(fd)
			return fmt.Errorf("adopt %s: not a listening socket", f.Name())
		}
		k := 0
		if a := engine.LocalAddr(fd).Addr(); a.Is6() {
			k = 1
		}
		if err := r.attend(k, fd); err != nil {
			return err
		}
	}
	r.door.wanted, r.door.open = true, len(files) > 0
	return r.place()
}
