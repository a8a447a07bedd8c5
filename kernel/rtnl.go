// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// Rules and routes as rtnetlink messages. A codec of our own, because a rule of somebody else's with an attribute
// younger than a library must not keep us from reading ours.

const (
	rtmsgLen   = 12 // struct rtmsg and struct fib_rule_hdr alike
	noSuppress = 0xffffffff
)

var errShortMessage = errors.New("message too short")

func afamily(v6 bool) uint8 {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// dialRoute opens rtnetlink with the kernel's own words in refusals, and with dumps that heed what their request asks for.
func dialRoute() (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK} {
		if err := c.Set(unix.SOL_NETLINK, option, 1); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// encodeRule is the body of RTM_NEWRULE and RTM_DELRULE.
func encodeRule(r Rule) ([]byte, error) {
	h := make([]byte, rtmsgLen)
	h[0] = afamily(r.V6)
	h[7] = unix.FR_ACT_TO_TBL
	ae := new(netlink.Encoder)
	if r.From.IsValid() {
		h[2] = uint8(r.From.BitLen())
		ae.Bytes(unix.FRA_SRC, r.From.AsSlice())
	}
	ae.Uint32(unix.FRA_PRIORITY, r.Priority)
	ae.Uint32(unix.FRA_TABLE, r.Table)
	ae.Uint8(unix.FRA_PROTOCOL, protocol)
	if r.Iif != "" {
		ae.String(unix.FRA_IIFNAME, r.Iif)
	}
	if r.Mask != 0 {
		ae.Uint32(unix.FRA_FWMARK, r.Mark)
		ae.Uint32(unix.FRA_FWMASK, r.Mask)
	}
	if r.SuppressDefault {
		ae.Uint32(unix.FRA_SUPPRESS_PREFIXLEN, 0)
	}
	b, err := ae.Encode()
	return append(h, b...), err
}

// decodeRule reads RTM_NEWRULE or RTM_DELRULE; ours is false for a rule that isn't.
func (n Numbers) decodeRule(b []byte) (r Rule, ours bool, err error) {
	if len(b) < rtmsgLen {
		return r, false, fmt.Errorf("rule: %w: %d octets", errShortMessage, len(b))
	}
	if b[0] != unix.AF_INET && b[0] != unix.AF_INET6 { // multicast routing has rules too
		return r, false, nil
	}
	r.V6 = b[0] == unix.AF_INET6
	r.Table = uint32(b[4])
	ad := netlink.Decode(b[rtmsgLen:])
	tag := uint8(0)
	for ad.Next() {
		switch ad.Type() {
		case unix.FRA_SRC:
			r.From, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.FRA_IIFNAME:
			r.Iif = ad.String()
		case unix.FRA_PRIORITY:
			r.Priority = ad.Uint32()
		case unix.FRA_TABLE:
			r.Table = ad.Uint32()
		case unix.FRA_PROTOCOL:
			tag = ad.Uint8()
		case unix.FRA_FWMARK:
			r.Mark = ad.Uint32()
		case unix.FRA_FWMASK:
			r.Mask = ad.Uint32()
		case unix.FRA_SUPPRESS_PREFIXLEN:
			r.SuppressDefault = ad.Uint32() != noSuppress
		}
	}
	if err := ad.Err(); err != nil {
		return r, false, fmt.Errorf("rule: %w", err)
	}
	return r, tag == protocol && n.ourPriority(r.Priority), nil
}

// encodeRoute is the body of RTM_NEWROUTE and RTM_DELROUTE.
func encodeRoute(r Route) ([]byte, error) {
	h := make([]byte, rtmsgLen)
	h[0] = afamily(r.V6)
	h[5] = protocol
	h[7] = unix.RTN_UNICAST
	switch {
	case r.Local:
		h[6], h[7] = unix.RT_SCOPE_HOST, unix.RTN_LOCAL
	case !r.Gateway.IsValid():
		h[6] = unix.RT_SCOPE_LINK
	default:
		// A gateway outside the link's subnet (/32 addresses of mobile modems) is reachable all the same.
		binary.NativeEndian.PutUint32(h[8:], unix.RTNH_F_ONLINK)
	}
	ae := new(netlink.Encoder)
	ae.Uint32(unix.RTA_TABLE, r.Table)
	ae.Uint32(unix.RTA_OIF, uint32(r.Index))
	if gateway := r.Gateway.WithZone("").AsSlice(); r.Gateway.Is6() && !r.V6 {
		ae.Bytes(unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, unix.AF_INET6), gateway...))
	} else if r.Gateway.IsValid() {
		ae.Bytes(unix.RTA_GATEWAY, gateway)
	}
	if r.Src.IsValid() {
		ae.Bytes(unix.RTA_PREFSRC, r.Src.WithZone("").AsSlice())
	}
	if r.Window > 0 || r.Clamp > 0 {
		ae.Nested(unix.RTA_METRICS, func(metrics *netlink.Encoder) error {
			for _, m := range []struct {
				metric uint16
				value  uint32
			}{{unix.RTAX_WINDOW, r.Clamp}, {unix.RTAX_INITRWND, r.Window}} {
				if m.value > 0 {
					metrics.Uint32(m.metric, m.value)
				}
			}
			return nil
		})
	}
	b, err := ae.Encode()
	return append(h, b...), err
}

// decodeRoute reads RTM_NEWROUTE or RTM_DELROUTE; ours is false for a route that isn't. Of several nexthops under one
// route (the kernel joins IPv6 routes so) each is a route of its own.
func (n Numbers) decodeRoute(b []byte) (routes []Route, ours bool, err error) {
	if len(b) < rtmsgLen {
		return nil, false, fmt.Errorf("route: %w: %d octets", errShortMessage, len(b))
	}
	if b[0] != unix.AF_INET && b[0] != unix.AF_INET6 || b[1] != 0 || b[5] != protocol {
		return nil, false, nil
	}
	r := Route{V6: b[0] == unix.AF_INET6, Table: uint32(b[4]), Local: b[7] == unix.RTN_LOCAL}
	ad := netlink.Decode(b[rtmsgLen:])
	var hops []Route
	for ad.Next() {
		switch ad.Type() {
		case unix.RTA_TABLE:
			r.Table = ad.Uint32()
		case unix.RTA_OIF:
			r.Index = int(ad.Uint32())
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_VIA: // struct rtvia: a family and an address, of an IPv4 route by an IPv6 gateway
			if b := ad.Bytes(); len(b) > 2 {
				r.Gateway, _ = netip.AddrFromSlice(b[2:])
			}
		case unix.RTA_PREFSRC:
			r.Src, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_METRICS:
			ad.Nested(func(metrics *netlink.Decoder) error {
				for metrics.Next() {
					switch metrics.Type() {
					case unix.RTAX_WINDOW:
						r.Clamp = metrics.Uint32()
					case unix.RTAX_INITRWND:
						r.Window = metrics.Uint32()
					}
				}
				return nil
			})
		case unix.RTA_MULTIPATH:
			hops, err = decodeHops(ad.Bytes())
		}
	}
	if err = errors.Join(err, ad.Err()); err != nil {
		return nil, false, fmt.Errorf("route: %w", err)
	}
	if !n.OwnTable(r.Table) {
		return nil, false, nil
	}
	if hops == nil {
		return []Route{r}, true, nil
	}
	for i := range hops {
		hop := r
		hop.Gateway, hop.Index = hops[i].Gateway, hops[i].Index
		hops[i] = hop
	}
	return hops, true, nil
}

// decodeHops reads RTA_MULTIPATH: struct rtnexthop (length u16, flags u8, hops u8, ifindex i32) and attributes, repeated.
func decodeHops(b []byte) (hops []Route, err error) {
	const header = 8
	for len(b) >= header {
		n := int(binary.NativeEndian.Uint16(b))
		if n < header || n > len(b) {
			return nil, fmt.Errorf("nexthop: length %d of %d octets", n, len(b))
		}
		hop := Route{Index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
		ad := netlink.Decode(b[header:n])
		for ad.Next() {
			if ad.Type() == unix.RTA_GATEWAY {
				hop.Gateway, _ = netip.AddrFromSlice(ad.Bytes())
			}
		}
		if err := ad.Err(); err != nil {
			return nil, fmt.Errorf("nexthop: %w", err)
		}
		hops = append(hops, hop)
		b = b[min((n+3)&^3, len(b)):]
	}
	return hops, nil
}

// readRules and readRoutes are the kernel's of ours.
func (n Numbers) readRules(c *netlink.Conn) ([]Rule, error) {
	msgs, err := dump(c, unix.RTM_GETRULE, make([]byte, rtmsgLen))
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	var rules []Rule
	for _, m := range msgs {
		r, ours, err := n.decodeRule(m.Data)
		if err != nil {
			return nil, err
		}
		if ours {
			rules = append(rules, r)
		}
	}
	return rules, nil
}

func (n Numbers) readRoutes(c *netlink.Conn) ([]Route, error) {
	h := make([]byte, rtmsgLen)
	h[5] = protocol // the kernel's filter since 4.20: a full table of somebody else's is not copied
	msgs, err := dump(c, unix.RTM_GETROUTE, h)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var routes []Route
	for _, m := range msgs {
		r, ours, err := n.decodeRoute(m.Data)
		if err != nil {
			return nil, err
		}
		if ours {
			routes = append(routes, r...)
		}
	}
	return routes, nil
}

func dump(c *netlink.Conn, kind uint16, body []byte) ([]netlink.Message, error) {
	return c.Execute(netlink.Message{Type: kind, Flags: unix.NLM_F_DUMP, Data: body})
}

func change(c *netlink.Conn, kind uint16, flags uint16, body []byte) error {
	_, err := c.Execute(netlink.Message{Type: kind, Flags: unix.NLM_F_ACK | flags, Data: body})
	return err
}

func addRule(c *netlink.Conn, r Rule) error {
	b, err := encodeRule(r)
	if err == nil {
		err = change(c, unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b)
	}
	return except(err, unix.EEXIST)
}

func delRule(c *netlink.Conn, r Rule) error {
	b, err := encodeRule(r)
	if err == nil {
		err = change(c, unix.RTM_DELRULE, 0, b)
	}
	return except(err, unix.ENOENT)
}

// addRoute puts a route beside what is there (append), so that the old one carries until it is removed.
func addRoute(c *netlink.Conn, r Route) error {
	b, err := encodeRoute(r)
	if err == nil {
		err = change(c, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, b)
	}
	return except(err, unix.EEXIST)
}

func delRoute(c *netlink.Conn, r Route) error {
	b, err := encodeRoute(r)
	if err == nil {
		err = change(c, unix.RTM_DELROUTE, 0, b)
	}
	return except(err, unix.ESRCH, unix.ENODEV) // a link that vanished took its routes along
}

// except is err, or nil when it is one of these: what was asked for is already so.
func except(err error, these ...error) error {
	for _, e := range these {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}
