// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ctMark is on the tracked connections that FillConntrack makes.
const ctMark = 0x7e57

// Types of include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const (
	ctNew, ctDelete                                 = unix.NFNL_SUBSYS_CTNETLINK << 8, unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	ctaOrig, ctaReply, ctaStatus, ctaTimeout        = 1, 2, 3, 7
	ctaMark, ctaMarkMask                            = 8, 21
	ctaIP, ctaProto, ctaV4Src, ctaV4Dst             = 1, 2, 1, 2
	ctaProtoNum, ctaProtoSrc, ctaProtoDst           = 1, 2, 3
	ipsSeenReply, ipsAssured, ipsConfirmed   uint32 = 2, 4, 8
)

// FillConntrack puts so many tracked connections into the namespace that there is room for none more, and returns how many. They
// are of the kind that the kernel does not drop for new ones. The limit itself is one for all namespaces, their count is not.
func (ns *NS) FillConntrack() (n int, err error) {
	err = ns.Do(func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
		if err != nil {
			return fmt.Errorf("room for tracked connections: %w", err)
		}
		fmt.Sscan(string(text), &n)
		if n > 1<<21 {
			return fmt.Errorf("this kernel has room for %d tracked connections: filling it would take too much memory", n)
		}
		fd, err := conntrackSocket()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var batch []byte
		for i := range n + 64 { // refused ones are no harm
			batch = append(batch, ctEntry(uint32(i))...)
			if len(batch) > 32<<10 || i == n+63 {
				if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
					return fmt.Errorf("make tracked connections: %w", err)
				}
				batch = batch[:0]
			}
		}
		count := 0
		text, err = os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if fmt.Sscan(string(text), &count); count < n {
			return fmt.Errorf("%d tracked connections are there, want %d (%v)", count, n, err)
		}
		return nil
	})
	return n, err
}

// EmptyConntrack takes away what FillConntrack has made.
func (ns *NS) EmptyConntrack() error {
	return ns.Do(func() error {
		fd, err := conntrackSocket()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		body := append(attr(ctaMark, be32(ctMark)), attr(ctaMarkMask, be32(0xffffffff))...)
		return unix.Sendto(fd, nfMessage(ctDelete, 0, body), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
}

func conntrackSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, fmt.Errorf("nfnetlink: %w", err)
	}
	return fd, nil
}

// ctEntry is the message that makes the i-th entry: UDP between addresses of 198.18.0.0/15, which is for such tests (RFC 2544).
func ctEntry(i uint32) []byte {
	host := []byte{198, 18, byte(i >> 20), byte(i >> 12 & 0xff)}
	peer := []byte{198, 19, 0, 1}
	port := be16(uint16(i&0xfff) + 1024)
	tuple := func(kind uint16, from, to, fromPort, toPort []byte) []byte {
		return attr(kind|unix.NLA_F_NESTED, append(
			attr(ctaIP|unix.NLA_F_NESTED, append(attr(ctaV4Src, from), attr(ctaV4Dst, to)...)),
			attr(ctaProto|unix.NLA_F_NESTED, append(append(attr(ctaProtoNum, []byte{unix.IPPROTO_UDP}), attr(ctaProtoSrc, fromPort)...), attr(ctaProtoDst, toPort)...))...))
	}
	body := tuple(ctaOrig, host, peer, port, be16(53))
	body = append(body, tuple(ctaReply, peer, host, be16(53), port)...)
	body = append(body, attr(ctaStatus, be32(ipsSeenReply|ipsAssured|ipsConfirmed))...)
	body = append(body, attr(ctaTimeout, be32(600))...)
	body = append(body, attr(ctaMark, be32(ctMark))...)
	return nfMessage(ctNew, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
}

// nfMessage is a netlink message to nfnetlink about IPv4.
func nfMessage(kind, flags uint16, body []byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+4, unix.NLMSG_HDRLEN+4+len(body))
	binary.NativeEndian.PutUint32(b, uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	b[unix.NLMSG_HDRLEN] = unix.AF_INET
	return append(b, body...)
}

// attr is a netlink attribute, padded.
func attr(kind uint16, value []byte) []byte {
	b := make([]byte, 4, 4+len(value)+3)
	binary.NativeEndian.PutUint16(b, uint16(4+len(value)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
