// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// nft's own numbers of types (include/datatype.h), for `nft list`.
const (
	typeIPv4   = 7
	typeIPv6   = 8
	typePort   = 13
	typeDevice = 41
	concat     = 6 // bits to shift by for each part of a concatenation
)

const translated = 1<<4 | 1<<5 // IPS_SRC_NAT, IPS_DST_NAT (include/uapi/linux/netfilter/nf_conntrack_common.h)

// parse reads one statement of a rule.
func (r *rule) parse(w *words) error {
	switch {
	case w.take("iifname"):
		r.meta(unix.NFT_META_IIFNAME)
		return r.devices(w)
	case w.take("oifname"):
		r.meta(unix.NFT_META_OIFNAME)
		return r.devices(w)
	case w.take("meta l4proto != tcp"):
		r.meta(unix.NFT_META_L4PROTO)
		r.compare(true, []byte{unix.IPPROTO_TCP})
	case w.take("meta l4proto tcp"):
		r.tcp()
	case w.take("meta nfproto ipv4"):
		r.family(unix.NFPROTO_IPV4)
	case w.take("meta nfproto ipv6"):
		r.family(unix.NFPROTO_IPV6)
	case w.take("meta mark set"):
		return r.setMark(w, func() { r.setMeta(unix.NFT_META_MARK) })
	case w.take("ct mark set"):
		return r.setMark(w, func() { r.ct(true) })
	case w.take("ct mark &"):
		return r.ctMark(w)
	case w.take("ct status snat , dnat"):
		r.expr("ct", attributes{}.u32(unix.NFTA_CT_KEY, unix.NFT_CT_STATUS).u32(unix.NFTA_CT_DREG, unix.NFT_REG_1))
		r.bitwise(mark(translated), mark(0))
		r.compare(true, mark(0))
	case w.take("limit rate"):
		return r.limit(w)
	case w.take("tcp flags & ( fin | syn | rst | ack )"):
		return r.flags(w)
	case w.take("tcp option mptcp subtype"):
		n, err := w.number()
		if err != nil || n > 15 {
			return fmt.Errorf("subtype %d: 0 to 15", n)
		}
		r.tcp()
		r.expr("exthdr", attributes{}.u32(unix.NFTA_EXTHDR_DREG, unix.NFT_REG_1).bytes(unix.NFTA_EXTHDR_TYPE, []byte{30}).
			u32(unix.NFTA_EXTHDR_OFFSET, 2).u32(unix.NFTA_EXTHDR_LEN, 1).u32(unix.NFTA_EXTHDR_OP, unix.NFT_EXTHDR_OP_TCPOPT))
		r.bitwise([]byte{0xf0}, []byte{0})
		r.compare(false, []byte{byte(n) << 4})
	case w.take("socket transparent 1"):
		r.expr("socket", attributes{}.u32(socketKey, socketTransparent).u32(socketDreg, unix.NFT_REG_1))
		r.compare(false, []byte{1})
	case w.take("fib daddr type local"):
		r.fib(unix.NFT_FIB_RESULT_ADDRTYPE, unix.NFTA_FIB_F_DADDR)
		r.compare(false, mark(unix.RTN_LOCAL))
	case w.take("fib daddr oif exists"):
		r.fib(unix.NFT_FIB_RESULT_OIF, unix.NFTA_FIB_F_DADDR|unix.NFTA_FIB_F_PRESENT)
		r.compare(false, []byte{1}) // an octet, as the kernel stores it: nft 1.0.6 compares four, which only fits where the low one is first
	case w.take("fib daddr oifname"):
		r.fib(unix.NFT_FIB_RESULT_OIFNAME, unix.NFTA_FIB_F_DADDR)
		return r.devices(w)
	case w.take("ip daddr"):
		return r.addresses(w, false, false)
	case w.take("ip6 daddr"):
		return r.addresses(w, true, false)
	case w.take("ip saddr"):
		return r.addresses(w, false, true)
	case w.take("ip6 saddr"):
		return r.addresses(w, true, true)
	case w.take("tproxy ip to"), w.take("tproxy ip6 to"):
		to, err := netip.ParseAddrPort(w.next())
		if err != nil {
			return err
		}
		r.tproxy(to)
	default:
		return r.end(w)
	}
	return nil
}

// end reads a statement that decides or counts.
func (r *rule) end(w *words) error {
	switch {
	case w.take("counter name"):
		r.expr("objref", attributes{}.u32(unix.NFTA_OBJREF_IMM_TYPE, unix.NFT_OBJECT_COUNTER).text(unix.NFTA_OBJREF_IMM_NAME, w.next()))
	case w.take("reject with tcp reset"):
		r.onlyTCP()
		r.expr("reject", attributes{}.u32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_TCP_RST))
	case w.take("masquerade"):
		r.expr("masq", attributes{})
	case w.take("accept"):
		r.verdict(accept, "")
	case w.take("return"):
		r.verdict(unix.NFT_RETURN, "")
	case w.take("jump"):
		r.verdict(unix.NFT_JUMP, w.next())
	default:
		return fmt.Errorf("%q: this program can't", w.next())
	}
	return nil
}

// devices reads [!=] and names of devices, whose own is in register 1.
func (r *rule) devices(w *words) error {
	not := w.take("!=")
	names, err := w.list()
	if err != nil {
		return err
	}
	var values [][]byte
	for _, n := range names {
		values = append(values, device(n))
	}
	r.among(not, typeDevice, false, values)
	return nil
}

// flags reads what the four flags that were named are compared with.
func (r *rule) flags(w *words) error {
	not := w.take("!=")
	if !not && !w.take("==") {
		return fmt.Errorf("flags: %q: want == or !=", w.next())
	}
	bits := map[string]byte{"fin": 1, "syn": 2, "rst": 4, "ack": 16}
	flag, ok := bits[w.next()]
	if !ok {
		return fmt.Errorf("flags: want one of fin, syn, rst, ack")
	}
	r.tcp()
	r.payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, unix.NFT_REG_1)
	r.bitwise([]byte{1 | 2 | 4 | 16}, []byte{0})
	r.compare(not, []byte{flag})
	return nil
}

// ctMark reads "MASK == VALUE" of the connection's mark.
func (r *rule) ctMark(w *words) error {
	mask, err := w.number()
	if err == nil {
		err = w.want("==")
	}
	if err != nil {
		return err
	}
	value, err := w.number()
	r.ct(false)
	r.bitwise(mark(mask), mark(0))
	r.compare(false, mark(value))
	return err
}

// limit reads "N/second burst N packets".
func (r *rule) limit(w *words) error {
	rate, ok := strings.CutSuffix(w.next(), "/second")
	n, err := strconv.ParseUint(rate, 10, 32)
	if !ok || err != nil {
		return fmt.Errorf("limit: want a number of packets a second")
	}
	if err := w.want("burst"); err != nil {
		return err
	}
	burst, err := w.number()
	if err != nil {
		return err
	}
	r.expr("limit", attributes{}.u64(unix.NFTA_LIMIT_RATE, n).u64(unix.NFTA_LIMIT_UNIT, 1).u32(unix.NFTA_LIMIT_BURST, burst).
		u32(unix.NFTA_LIMIT_TYPE, unix.NFT_LIMIT_PKTS).u32(unix.NFTA_LIMIT_FLAGS, 0))
	return w.want("packets")
}

// setMark reads what a mark becomes: another mark, or the same with "& MASK" or "| BITS" or both.
func (r *rule) setMark(w *words, set func()) error {
	switch {
	case w.take("ct mark"):
		r.ct(false)
	case w.take("meta mark"):
		r.meta(unix.NFT_META_MARK)
	default:
		return fmt.Errorf("mark: %q: want ct mark or meta mark", w.next())
	}
	mask, bits, err := ^uint32(0), uint32(0), error(nil)
	if w.take("&") {
		if mask, err = w.number(); err != nil {
			return err
		}
	}
	if w.take("|") {
		if bits, err = w.number(); err != nil {
			return err
		}
	}
	if mask != ^uint32(0) || bits != 0 {
		r.bitwise(mark(mask&^bits), mark(bits))
	}
	set()
	return nil
}

// addresses reads what an address is compared with: a list, a named set, or a list of addresses with ports.
func (r *rule) addresses(w *words, v6, source bool) error {
	kind := uint32(typeIPv4)
	if v6 {
		kind = typeIPv6
	}
	if w.take(". tcp dport") {
		r.tcp() // what demands something has need of register 1 itself
		r.address(v6, source, unix.NFT_REG_1)
		port := uint32(unix.NFT_REG32_01)
		if v6 {
			port = unix.NFT_REG32_04
		}
		r.payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, port)
		kind = kind<<concat | typePort
	} else {
		r.address(v6, source, unix.NFT_REG_1)
	}
	if len(*w) > 0 && strings.HasPrefix((*w)[0], "@") {
		r.lookup(false, w.next()[1:], 0)
		return nil
	}
	items, err := w.list()
	if err != nil {
		return err
	}
	var values [][]byte
	for _, item := range items {
		value, err := addressValue(item)
		if err != nil {
			return err
		}
		values = append(values, value)
	}
	r.among(false, kind, kind > typePort, values)
	return nil
}

// addressValue is "ADDRESS" or "ADDRESS . PORT" as it is in registers: a port has four octets.
func addressValue(item string) ([]byte, error) {
	text, port, with := strings.Cut(item, " . ")
	a, err := netip.ParseAddr(text)
	if err != nil || !with {
		return a.AsSlice(), err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return append(binary.BigEndian.AppendUint16(a.AsSlice(), uint16(n)), 0, 0), err
}

// parseSet reads a named set of prefixes.
func (b *batch) parseSet(w *words, table string) error {
	name := w.next()
	if err := w.want("{"); err != nil {
		return err
	}
	kind, length := uint32(typeIPv4), uint32(4)
	var values [][]byte
	var ends []bool
	for !w.take("}") {
		switch {
		case w.take(";"), w.take("flags interval"), w.take("type ipv4_addr"):
		case w.take("type ipv6_addr"):
			kind, length = typeIPv6, 16
		case w.take("elements ="):
			items, err := w.list()
			if err != nil {
				return err
			}
			for _, item := range items {
				p, err := netip.ParsePrefix(item)
				if err != nil {
					return err
				}
				values, ends = append(values, p.Masked().Addr().AsSlice()), append(ends, false)
				if after := beyond(p); after.IsValid() {
					values, ends = append(values, after.AsSlice()), append(ends, true)
				}
			}
		default:
			return fmt.Errorf("set %s: %q: this program can't", name, w.next())
		}
	}
	b.sets++
	id := b.sets
	b.addSet(table, name, unix.NFT_SET_INTERVAL, kind, length, id)
	b.addElements(table, name, id, values, ends)
	return nil
}

// beyond is the first address after a prefix; none after the last.
func beyond(p netip.Prefix) netip.Addr {
	last := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(last)
	return a.Next()
}
