// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// batch is one transaction: messages between a begin and an end (linux/netfilter/nfnetlink.h).
type batch struct {
	messages []netlink.Message
	what     []string // each message, for people
	sets     uint32   // anonymous ones so far
}

// Attributes of linux/netfilter/nf_tables.h that x/sys does not name.
const (
	tableUserdata = 6
	setUserdata   = 13
	tproxyFamily  = 1
	tproxyAddr    = 2
	tproxyPort    = 3
	socketKey     = 1
	socketDreg    = 2

	socketTransparent = 0 // a key of the socket expression
	accept            = 1 // NF_ACCEPT
)

func kind(message uint16) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | message)
}

// add appends a message of family inet.
func (b *batch) add(message uint16, flags netlink.HeaderFlags, what string, a attributes) {
	b.messages = append(b.messages, netlink.Message{
		Header: netlink.Header{Type: kind(message), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, a...),
	})
	b.what = append(b.what, what)
}

// send hands the transaction to the kernel and returns its first complaint.
func (b *batch) send() error {
	if len(b.messages) == 0 {
		return nil
	}
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetReadBuffer(1 << 20)
	edge := func(t uint16) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(t), Flags: netlink.Request},
			Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}} // res_id is big-endian
	}
	all := append([]netlink.Message{edge(unix.NFNL_MSG_BATCH_BEGIN)}, b.messages...)
	sent, err := c.SendMessages(append(all, edge(unix.NFNL_MSG_BATCH_END)))
	if err != nil {
		return err
	}
	what := map[uint32]string{}
	for i, m := range sent[1 : len(sent)-1] {
		what[m.Header.Sequence] = b.what[i]
	}
	// Each message is acknowledged, or some are complained of and nothing is done.
	for left := len(what); left > 0; {
		answers, err := c.Receive()
		if err != nil {
			return fmt.Errorf("the kernel refuses one of %d messages: %w", len(what), err)
		}
		for _, m := range answers {
			if _, ok := what[m.Header.Sequence]; ok {
				left--
			}
		}
	}
	return nil
}

// attributes is encoded netlink attributes.
type attributes []byte

func (a attributes) bytes(t uint16, value []byte) attributes {
	a = binary.NativeEndian.AppendUint16(a, uint16(4+len(value)))
	a = binary.NativeEndian.AppendUint16(a, t)
	a = append(a, value...)
	for len(a)%4 != 0 {
		a = append(a, 0)
	}
	return a
}

// u32 is what nf_tables takes for a number: big-endian on any machine.
func (a attributes) u32(t uint16, n uint32) attributes {
	return a.bytes(t, binary.BigEndian.AppendUint32(nil, n))
}

func (a attributes) u64(t uint16, n uint64) attributes {
	return a.bytes(t, binary.BigEndian.AppendUint64(nil, n))
}
func (a attributes) text(t uint16, s string) attributes { return a.bytes(t, append([]byte(s), 0)) }
func (a attributes) nested(t uint16, in attributes) attributes {
	return a.bytes(t|unix.NLA_F_NESTED, in)
}

// value is a nested data attribute with octets.
func (a attributes) value(t uint16, octets []byte) attributes {
	return a.nested(t, attributes{}.bytes(unix.NFTA_DATA_VALUE, octets))
}
