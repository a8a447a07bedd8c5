// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
	"spillway/sockopt"
)

// hangUpEvery is how often a client is looked at while its server keeps it waiting.
const hangUpEvery = time.Second

// errHungUp: nobody wants the server any more.
var errHungUp = errors.New("the client has hung up")

// dialServer connects to the server, with MPTCP if the client asked for it.
func (s *Server) dialServer(ctx context.Context, client *net.TCPConn, c *convert.Connect) (*net.TCPConn, error) {
	wanted, enough := whileWanted(ctx, client)
	defer enough()
	ctx, cancel := context.WithTimeout(wanted, s.cfg.DialTimeout)
	defer cancel()
	server, err := s.dial(ctx, c.Addr, mptcp.DialOptions{PlainTCP: !wantsMPTCP(c)})
	return server, whyNot(wanted, err)
}

// whileWanted is ctx until the client hangs up (errHungUp): dead servers are waited for long, and LAN hosts try many of them. enough
// ends the looking.
func whileWanted(ctx context.Context, client *net.TCPConn) (wanted context.Context, enough func()) {
	wanted, cancel := context.WithCancelCause(ctx)
	look := time.AfterFunc(hangUpEvery, func() {
		tick := time.NewTicker(hangUpEvery)
		defer tick.Stop()
		for wanted.Err() == nil {
			if hungUp(client) {
				cancel(errHungUp)
			}
			select {
			case <-wanted.Done():
			case <-tick.C:
			}
		}
	})
	return wanted, func() {
		look.Stop()
		cancel(nil)
	}
}

// whyNot is the error of a connection to a server, or that nobody wanted it any more.
func whyNot(wanted context.Context, err error) error {
	if err != nil && context.Cause(wanted) == errHungUp {
		return errHungUp
	}
	return err
}

// hungUp tells whether a client has reset its connection.
func hungUp(client *net.TCPConn) (gone bool) {
	raw, err := client.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) { gone = polled(fd, unix.POLLHUP|unix.POLLERR) })
	return gone || err != nil
}

// polled tells whether one of these events is to be had of a socket.
func polled(fd uintptr, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&events != 0
}

// whenConnected waits until a connection that was begun elsewhere is complete.
func whenConnected(c *net.TCPConn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = rc.Write(func(fd uintptr) bool {
		e, err := sockopt.Int(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && e != 0 {
			err = syscall.Errno(e)
		}
		_, waits := unix.Getpeername(int(fd)) // an error: it is not connected yet, or no more
		if err == nil && waits != nil && polled(fd, unix.POLLRDHUP) {
			err = syscall.ECONNRESET // which the kernel has told the lane, as it wrote
		}
		failed = os.NewSyscallError("connect", err)
		return failed != nil || waits == nil
	})
	return errors.Join(err, failed)
}

// failure is the Error TLV for a server that couldn't be reached (RFC 8803 section 6.2.8). A socket shows errno, not the ICMP
// message, so the code is read back from Linux's table (net/ipv4/icmp.c, net/ipv6/icmp.c). A server that doesn't answer is
// "host unreachable": Network Failure would make the client leave the converter because of one dead server. So is one whose network
// answers with an ICMP parameter problem (EPROTO), or to which a blackhole route leads (EINVAL); and on a host without IPv6 all that has
// such an address is "no route".
func failure(err error, to netip.Addr, retry time.Duration) *convert.Error {
	wait := []byte{uint8(retry / time.Second)}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		if timeout(err) {
			errno = syscall.ETIMEDOUT
		} else {
			return &convert.Error{Code: convert.CodeNetworkFailure, Value: wait}
		}
	}
	if !to.Is4() && (errno == syscall.EADDRNOTAVAIL || errno == syscall.EAFNOSUPPORT) {
		errno = syscall.ENETUNREACH
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE:
		return &convert.Error{Code: convert.CodeConnectionReset}
	case syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
		return &convert.Error{Code: convert.CodeResourceExceeded, Value: wait}
	}
	if code, ok := icmpCode(errno, to.Is4()); ok {
		return &convert.Error{Code: convert.CodeUnreachable, Value: []byte{code}}
	}
	return &convert.Error{Code: convert.CodeNetworkFailure, Value: wait}
}

func timeout(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// icmpCode is the code of the destination-unreachable message that gave errno.
func icmpCode(errno syscall.Errno, v4 bool) (code uint8, ok bool) {
	switch errno {
	case syscall.ENETUNREACH:
		return 0, true // network unreachable; ICMPv6: no route
	case syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.EPROTO, syscall.EINVAL:
		return pick(v4, 1, 3), true // host unreachable; ICMPv6: address unreachable
	case syscall.EACCES, syscall.EPERM:
		return pick(v4, 13, 1), true // administratively prohibited
	case syscall.ENOPROTOOPT:
		return 2, v4
	case syscall.EOPNOTSUPP:
		return 5, v4 // source route failed
	case syscall.EHOSTDOWN:
		return 7, v4 // host unknown
	case syscall.ENONET:
		return 8, v4 // host isolated
	}
	return 0, false
}

func pick(cond bool, yes, no uint8) uint8 {
	if cond {
		return yes
	}
	return no
}
