// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"spillway/netlink"
)

// Attributes to values. Unknown attributes are skipped; a wrong length is an error.

// parseEndpoint reads one answer of cmdGetAddr.
func parseEndpoint(ad *netlink.Decoder) (Endpoint, error) {
	var e Endpoint
	for ad.Next() {
		if ad.Type() == attrAddr {
			ad.Nested(func(nad *netlink.Decoder) error {
				parseAddr(nad, &e)
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		return Endpoint{}, fmt.Errorf("read endpoint: %w", err)
	}
	return e, nil
}

func parseAddr(ad *netlink.Decoder, e *Endpoint) {
	for ad.Next() {
		switch ad.Type() {
		case addrAttrID:
			e.ID = ad.Uint8()
		case addrAttrAddr4, addrAttrAddr6:
			ad.Do(func(b []byte) (err error) {
				e.Addr, err = ip(b)
				return err
			})
		case addrAttrPort:
			e.Port = ad.Uint16()
		case addrAttrFlags:
			e.Flags = EndpointFlags(ad.Uint32())
		case addrAttrIfIndex:
			e.IfIndex = int(int32(ad.Uint32()))
		}
	}
}

// parseLimits reads the answer of cmdGetLimits.
func parseLimits(ad *netlink.Decoder) (Limits, error) {
	var l Limits
	for ad.Next() {
		switch ad.Type() {
		case attrRcvAddAddrs:
			l.AddAddrs = ad.Uint32()
		case attrSubflows:
			l.Subflows = ad.Uint32()
		}
	}
	if err := ad.Err(); err != nil {
		return Limits{}, fmt.Errorf("read limits: %w", err)
	}
	return l, nil
}

// parseEvent reads one event. Unlike in the commands, ports are in network order.
func parseEvent(kind uint8, ad *netlink.Decoder) (Event, error) {
	ev := Event{Kind: EventKind(kind)}
	var src, dst netip.Addr
	var sport, dport uint16
	for ad.Next() {
		switch ad.Type() {
		case eventToken:
			ev.Token = ad.Uint32()
		case eventLocID:
			ev.LocalID = ad.Uint8()
		case eventRemID:
			ev.RemoteID = ad.Uint8()
		case eventSAddr4, eventSAddr6:
			ad.Do(func(b []byte) (err error) { src, err = ip(b); return err })
		case eventDAddr4, eventDAddr6:
			ad.Do(func(b []byte) (err error) { dst, err = ip(b); return err })
		case eventSPort:
			ad.Do(func(b []byte) (err error) { sport, err = be16(b); return err })
		case eventDPort:
			ad.Do(func(b []byte) (err error) { dport, err = be16(b); return err })
		case eventBackup:
			ev.Backup = ad.Uint8() != 0
		case eventError:
			ev.Error = ad.Uint8()
		case eventFlags:
			flags := ad.Uint16()
			ev.DenyJoinID0 = flags&eventFlagDenyJoinID0 != 0
			ev.ServerSide = ev.ServerSide || flags&eventFlagServerSide != 0
		case eventIfIndex:
			ev.IfIndex = int(int32(ad.Uint32()))
		case eventResetReason:
			ev.ResetReason = ad.Uint32()
		case eventResetFlags:
			ev.ResetFlags = ad.Uint32()
		case eventServerSide:
			ev.ServerSide = ev.ServerSide || ad.Uint8() != 0
		}
	}
	if err := ad.Err(); err != nil {
		return Event{}, fmt.Errorf("read event %d: %w", kind, err)
	}
	ev.Local, ev.Remote = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return ev, nil
}

// ip reads an address of 4 or 16 octets; an IPv4-mapped one becomes IPv4.
func ip(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}, fmt.Errorf("address of %d octets", len(b))
	}
	return a.Unmap(), nil
}

// be16 reads a port in network order.
func be16(b []byte) (uint16, error) {
	if len(b) != 2 {
		return 0, fmt.Errorf("port of %d octets", len(b))
	}
	return binary.BigEndian.Uint16(b), nil
}
