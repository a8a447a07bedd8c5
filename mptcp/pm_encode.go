// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// Values to attributes. Integers follow the encoder's order, which is the machine's own; only addresses are octets
// in network order. Ports of this family are integers too.

// encoder writes the attributes of one request or nest.
type encoder = func(ae *netlink.Encoder) error

// attributes encodes a whole request.
func attributes(fn encoder) ([]byte, error) {
	ae := new(netlink.Encoder)
	if err := fn(ae); err != nil {
		return nil, err
	}
	return ae.Encode()
}

// encodeEndpoint writes an endpoint as the kernel stores it.
func encodeEndpoint(e Endpoint) encoder {
	return func(ae *netlink.Encoder) error {
		if !e.Addr.IsValid() {
			return errors.New("an endpoint needs an address")
		}
		ae.Nested(attrAddr, encodeAddr(e))
		return nil
	}
}

// encodeRef names an endpoint: by id alone, or by id 0 and an address.
func encodeRef(id uint8, addr netip.Addr, flags EndpointFlags, withFlags bool) encoder {
	return func(ae *netlink.Encoder) error {
		if id == 0 && !addr.IsValid() {
			return errors.New("an id or an address is needed")
		}
		ae.Nested(attrAddr, func(nae *netlink.Encoder) error {
			nae.Uint8(addrAttrID, id)
			if id == 0 {
				encodeIP(nae, addr)
			}
			if withFlags {
				nae.Uint32(addrAttrFlags, uint32(flags))
			}
			return nil
		})
		return nil
	}
}

func encodeLimits(l Limits) encoder {
	return func(ae *netlink.Encoder) error {
		ae.Uint32(attrRcvAddAddrs, l.AddAddrs)
		ae.Uint32(attrSubflows, l.Subflows)
		return nil
	}
}

// encodeSubflow names one subflow of one connection by our and the peer's address.
func encodeSubflow(token uint32, local Endpoint, remote netip.AddrPort) encoder {
	return func(ae *netlink.Encoder) error {
		if !local.Addr.IsValid() || !remote.IsValid() {
			return errors.New("a local and a remote address are needed")
		}
		if local.Addr.Unmap().Is4() != remote.Addr().Unmap().Is4() {
			return errors.New("the addresses are of two families")
		}
		ae.Uint32(attrToken, token)
		ae.Nested(attrAddr, encodeAddr(local))
		ae.Nested(attrAddrRemote, encodeAddr(Endpoint{Addr: remote.Addr(), Port: remote.Port()}))
		return nil
	}
}

func encodeAnnounce(token uint32, e Endpoint) encoder {
	return func(ae *netlink.Encoder) error {
		if !e.Addr.IsValid() || e.ID == 0 {
			return errors.New("an address and an id are needed")
		}
		ae.Uint32(attrToken, token)
		ae.Nested(attrAddr, encodeAddr(e))
		return nil
	}
}

func encodeRemove(token uint32, id uint8) encoder {
	return func(ae *netlink.Encoder) error {
		ae.Uint32(attrToken, token)
		ae.Uint8(attrLocID, id)
		return nil
	}
}

// encodeAddr writes what of e isn't zero.
func encodeAddr(e Endpoint) encoder {
	return func(ae *netlink.Encoder) error {
		encodeIP(ae, e.Addr)
		if e.ID != 0 {
			ae.Uint8(addrAttrID, e.ID)
		}
		if e.Port != 0 {
			ae.Uint16(addrAttrPort, e.Port)
		}
		if e.Flags != 0 {
			ae.Uint32(addrAttrFlags, uint32(e.Flags))
		}
		if e.IfIndex != 0 {
			ae.Uint32(addrAttrIfIndex, uint32(e.IfIndex))
		}
		return nil
	}
}

func encodeIP(ae *netlink.Encoder, a netip.Addr) {
	if a = a.Unmap(); a.Is4() {
		ae.Uint16(addrAttrFamily, unix.AF_INET)
		ae.Bytes(addrAttrAddr4, a.AsSlice())
		return
	}
	ae.Uint16(addrAttrFamily, unix.AF_INET6)
	ae.Bytes(addrAttrAddr6, a.AsSlice())
}
