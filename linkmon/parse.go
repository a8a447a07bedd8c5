// SPDX-License-Identifier: Apache-2.0

package linkmon

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// This file turns rtnetlink messages into values (include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h). It is pure,
// and lenient: an attribute of unexpected length is as if it were not there, so that one odd device (a phone modem
// with a hardware address of one octet) can't hide all others.

// device is what RTM_NEWLINK says.
type device struct {
	index, mtu     int
	name           string
	alternative    []string
	flags          uint32
	operation      uint8 // IF_OPER_*
	carrier        bool
	rxBytes        uint64
	txBytes        uint64
	rxPackets      uint64
	txPackets      uint64
	carrierUnknown bool
}

// address is what RTM_NEWADDR says.
type address struct {
	index     int
	addr      netip.Addr
	flags     uint32
	scope     uint8
	preferred uint32 // seconds that it will stay preferred; all ones: for ever
}

// route is one way out: a default route by one device (a multipath route is several).
type route struct {
	index    int
	v6       bool
	gateway  netip.Addr   // zero: none needed
	source   netip.Prefix // valid: only for sources within (OpenWrt's IPv6 defaults are like that)
	table    uint32
	priority uint32
}

// world is all that one reading gives.
type world struct {
	devices   []device
	addresses []address
	routes    []route
}

var (
	errShort = errors.New("message is shorter than its header")
	errTorn  = errors.New("attribute is longer than the message or shorter than its header")
)

// attributes calls fn for each attribute in b (struct rtattr, include/uapi/linux/rtnetlink.h). The values are part of
// b, not copies: counters are read 20 times a second on a slow processor.
func attributes(b []byte, fn func(kind uint16, value []byte)) error {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return errTorn
		}
		fn(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:n])
		b = b[min(len(b), (n+3)&^3):]
	}
	return nil
}

func u32(b []byte, to *uint32) {
	if len(b) == 4 {
		*to = binary.NativeEndian.Uint32(b)
	}
}

func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// parseDevice reads struct ifinfomsg and its attributes.
func parseDevice(b []byte) (device, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return device{}, errShort
	}
	d := device{
		index:          int(int32(binary.NativeEndian.Uint32(b[4:]))),
		flags:          binary.NativeEndian.Uint32(b[8:]),
		carrierUnknown: true,
	}
	var mtu uint32
	wide := false
	err := attributes(b[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			d.name = text(v)
		case unix.IFLA_MTU:
			u32(v, &mtu)
		case unix.IFLA_OPERSTATE:
			if len(v) == 1 {
				d.operation = v[0]
			}
		case unix.IFLA_CARRIER:
			if len(v) == 1 {
				d.carrier, d.carrierUnknown = v[0] != 0, false
			}
		case unix.IFLA_STATS64: // struct rtnl_link_stats64
			if len(v) >= 32 {
				wide = true
				d.rxPackets, d.txPackets = binary.NativeEndian.Uint64(v), binary.NativeEndian.Uint64(v[8:])
				d.rxBytes, d.txBytes = binary.NativeEndian.Uint64(v[16:]), binary.NativeEndian.Uint64(v[24:])
			}
		case unix.IFLA_STATS: // struct rtnl_link_stats: the same in 32 bits
			if len(v) >= 16 && !wide {
				d.rxPackets, d.txPackets = uint64(binary.NativeEndian.Uint32(v)), uint64(binary.NativeEndian.Uint32(v[4:]))
				d.rxBytes, d.txBytes = uint64(binary.NativeEndian.Uint32(v[8:])), uint64(binary.NativeEndian.Uint32(v[12:]))
			}
		case unix.IFLA_PROP_LIST:
			attributes(v, func(kind uint16, v []byte) {
				if kind == unix.IFLA_ALT_IFNAME {
					d.alternative = append(d.alternative, text(v))
				}
			})
		}
	})
	d.mtu = int(mtu & 0x7fffffff)
	if d.carrierUnknown {
		d.carrier = d.flags&unix.IFF_LOWER_UP != 0
	}
	return d, err
}

// parseAddress reads struct ifaddrmsg and its attributes.
func parseAddress(b []byte) (address, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address{}, errShort
	}
	a := address{index: int(binary.NativeEndian.Uint32(b[4:])), flags: uint32(b[2]), scope: b[3], preferred: ^uint32(0)}
	var local, far netip.Addr
	err := attributes(b[unix.SizeofIfAddrmsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local = ip(v)
		case unix.IFA_ADDRESS: // the peer's, where there is an IFA_LOCAL
			far = ip(v)
		case unix.IFA_FLAGS:
			u32(v, &a.flags)
		case unix.IFA_CACHEINFO:
			if len(v) >= 8 {
				a.preferred = binary.NativeEndian.Uint32(v)
			}
		}
	})
	a.addr = local
	if !local.IsValid() {
		a.addr = far
	}
	return a, err
}

func ip(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// parseRoute reads struct rtmsg and its attributes: the ways out that it is, none if it isn't a unicast default route.
func parseRoute(b []byte) ([]route, error) {
	if len(b) < unix.SizeofRtMsg {
		return nil, errShort
	}
	family, dstLen, srcLen, kind := b[0], b[1], b[2], b[7]
	flags := binary.NativeEndian.Uint32(b[8:])
	if dstLen != 0 || kind != unix.RTN_UNICAST || flags&unix.RTM_F_CLONED != 0 || (family != unix.AF_INET && family != unix.AF_INET6) {
		return nil, nil
	}
	r := route{v6: family == unix.AF_INET6, table: uint32(b[4])}
	var oif uint32
	var src netip.Addr
	var hops []byte
	err := attributes(b[unix.SizeofRtMsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.RTA_OIF:
			u32(v, &oif)
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			r.gateway = gateway(kind, v)
		case unix.RTA_PRIORITY:
			u32(v, &r.priority)
		case unix.RTA_TABLE:
			u32(v, &r.table)
		case unix.RTA_SRC:
			src = ip(v)
		case unix.RTA_MULTIPATH:
			hops = v
		}
	})
	if err != nil {
		return nil, err
	}
	if srcLen != 0 {
		r.source = netip.PrefixFrom(src, int(srcLen))
		if !r.source.IsValid() {
			return nil, nil
		}
	}
	if hops != nil {
		return parseHops(r, hops)
	}
	r.index = int(oif)
	return []route{r}, nil
}

// parseHops reads the nexthops of a multipath route (struct rtnexthop and attributes each).
func parseHops(r route, b []byte) (all []route, err error) {
	for len(b) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, errTorn
		}
		hop := r
		hop.index = int(binary.NativeEndian.Uint32(b[4:]))
		err := attributes(b[unix.SizeofRtNexthop:n], func(kind uint16, v []byte) {
			if kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA {
				hop.gateway = gateway(kind, v)
			}
		})
		if err != nil {
			return nil, err
		}
		all = append(all, hop)
		b = b[min(len(b), (n+3)&^3):]
	}
	return all, nil
}

// gateway reads RTA_GATEWAY, or RTA_VIA: struct rtvia, a family and an address, for an IPv4 route by an IPv6 gateway.
func gateway(kind uint16, v []byte) netip.Addr {
	if kind == unix.RTA_VIA && len(v) > 2 {
		v = v[2:]
	}
	return ip(v)
}
