// SPDX-License-Identifier: Apache-2.0

package nfqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// linux/netfilter/nfnetlink_queue.h; integers are big-endian.
const (
	messagePacket  = 0
	messageVerdict = 1
	messageConfig  = 2

	attrHeader  = 1 // of a packet: __be32 id, __be16 protocol, __u8 hook; of a verdict, one number higher: __be32 verdict, __be32 id
	attrVerdict = 2
	attrMark    = 3
	attrPayload = 10

	configCommand = 1 // __u8 command, padding, __be16 family
	configParams  = 2 // __be32 octets to copy, __u8 mode
	configLength  = 3
	configMask    = 4
	configFlags   = 5

	commandBind  = 1
	copyPacket   = 2
	flagFailOpen = 1 // a full queue lets packets pass

	nfgenLen = 4 // struct nfgenmsg
)

// Kernel verdicts (linux/netfilter.h).
const (
	nfDrop   = 0
	nfAccept = 1
)

// copied is how much of a packet is looked at: an IPv6 header with some extensions, and the ports.
const copied = 128

var errShort = errors.New("too short")

// Packet is what a held packet tells of itself.
type Packet struct {
	ID       uint32
	Mark     uint32
	Src, Dst netip.AddrPort // zero: no TCP that could be read
	DSCP     uint8          // 0 to 63
}

func messageType(kind uint16) uint16 {
	return uint16(unix.NFNL_SUBSYS_QUEUE<<8 | kind)
}

// parsePacket reads the body of a packet's message. Without an error there is an id, which is owed a verdict.
func parsePacket(b []byte) (p Packet, err error) {
	if len(b) < nfgenLen {
		return p, fmt.Errorf("queued packet of %d octets: %w", len(b), errShort)
	}
	ad := netlink.Decode(b[nfgenLen:])
	ad.Big = true
	known := false
	for ad.Next() {
		switch data := ad.Bytes(); ad.Type() {
		case attrHeader:
			if len(data) >= 4 {
				p.ID, known = binary.BigEndian.Uint32(data), true
			}
		case attrMark:
			if len(data) == 4 {
				p.Mark = binary.BigEndian.Uint32(data)
			}
		case attrPayload:
			p.readTCP(data)
		}
	}
	if err := ad.Err(); err != nil {
		return p, fmt.Errorf("queued packet: %w", err)
	}
	if !known {
		return p, errors.New("queued packet without an id")
	}
	return p, nil
}

// readTCP reads addresses, ports and DSCP off an IP packet; a fragment, or what is no TCP, tells nothing.
func (p *Packet) readTCP(b []byte) {
	if len(b) < 1 {
		return
	}
	switch b[0] >> 4 {
	case 4:
		head := int(b[0]&15) * 4
		if head < 20 || len(b) < head+4 || b[9] != unix.IPPROTO_TCP || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return
		}
		p.DSCP = b[1] >> 2
		p.ports(netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:])), b[head:])
	case 6:
		if len(b) < 40 {
			return
		}
		head, next := 40, b[6]
		for next == unix.IPPROTO_HOPOPTS || next == unix.IPPROTO_ROUTING || next == unix.IPPROTO_DSTOPTS {
			if len(b) < head+2 {
				return
			}
			next, head = b[head], head+8+8*int(b[head+1])
		}
		if next != unix.IPPROTO_TCP || len(b) < head+4 {
			return
		}
		p.DSCP = (b[0]<<4 | b[1]>>4) >> 2
		p.ports(netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:])), b[head:])
	}
}

func (p *Packet) ports(src, dst netip.Addr, tcp []byte) {
	p.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp))
	p.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:]))
}

// message is one for queue number n, which stands where other subsystems have a resource's id.
func message(kind uint16, n uint16, fill func(*netlink.Encoder)) (netlink.Message, error) {
	ae := new(netlink.Encoder)
	ae.Big = true
	fill(ae)
	attrs, err := ae.Encode()
	if err != nil {
		return netlink.Message{}, err
	}
	head := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, byte(n >> 8), byte(n)}
	return netlink.Message{Type: messageType(kind), Data: append(head, attrs...)}, nil
}

// bind is the message that makes the sender the reader of queue n, which holds so many packets. It gets none before start.
func bind(n uint16, most uint32) (netlink.Message, error) {
	return message(messageConfig, n, func(ae *netlink.Encoder) {
		ae.Bytes(configCommand, []byte{commandBind, 0, 0, 0})
		ae.Uint32(configLength, most)
		ae.Uint32(configMask, flagFailOpen)
		ae.Uint32(configFlags, flagFailOpen)
	})
}

// start asks for the packets of queue n.
func start(n uint16) (netlink.Message, error) {
	return message(messageConfig, n, func(ae *netlink.Encoder) {
		ae.Bytes(configParams, append(binary.BigEndian.AppendUint32(nil, copied), copyPacket))
	})
}

// verdict says what becomes of a packet, and with which mark.
func verdict(n uint16, id, what, mark uint32) (netlink.Message, error) {
	return message(messageVerdict, n, func(ae *netlink.Encoder) {
		ae.Bytes(attrVerdict, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, what), id))
		ae.Uint32(attrMark, mark)
	})
}
