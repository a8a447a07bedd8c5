// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// rule gathers the expressions of one rule. Marks and route types are in the machine's own order in registers, what is in
// packets is as it is there.
type rule struct {
	exprs attributes
	known map[string]bool // protocols that were asked for already
	batch *batch
	table string
}

func (r *rule) expr(name string, data attributes) {
	r.exprs = r.exprs.nested(unix.NFTA_LIST_ELEM, attributes{}.text(unix.NFTA_EXPR_NAME, name).nested(unix.NFTA_EXPR_DATA, data))
}

// meta loads a key into register 1.
func (r *rule) meta(key uint32) {
	r.expr("meta", attributes{}.u32(unix.NFTA_META_DREG, unix.NFT_REG_1).u32(unix.NFTA_META_KEY, key))
}

func (r *rule) setMeta(key uint32) {
	r.expr("meta", attributes{}.u32(unix.NFTA_META_KEY, key).u32(unix.NFTA_META_SREG, unix.NFT_REG_1))
}

func (r *rule) ct(set bool) {
	register := uint16(unix.NFTA_CT_DREG)
	if set {
		register = unix.NFTA_CT_SREG
	}
	r.expr("ct", attributes{}.u32(unix.NFTA_CT_KEY, unix.NFT_CT_MARK).u32(register, unix.NFT_REG_1))
}

// compare compares register 1.
func (r *rule) compare(not bool, octets []byte) {
	op := uint32(unix.NFT_CMP_EQ)
	if not {
		op = unix.NFT_CMP_NEQ
	}
	r.expr("cmp", attributes{}.u32(unix.NFTA_CMP_SREG, unix.NFT_REG_1).u32(unix.NFTA_CMP_OP, op).value(unix.NFTA_CMP_DATA, octets))
}

// bitwise is register 1 & mask ^ xor.
func (r *rule) bitwise(mask, xor []byte) {
	r.expr("bitwise", attributes{}.u32(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1).u32(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1).
		u32(unix.NFTA_BITWISE_LEN, uint32(len(mask))).value(unix.NFTA_BITWISE_MASK, mask).value(unix.NFTA_BITWISE_XOR, xor))
}

// payload loads octets of a header.
func (r *rule) payload(base, offset, length, register uint32) {
	r.expr("payload", attributes{}.u32(unix.NFTA_PAYLOAD_DREG, register).u32(unix.NFTA_PAYLOAD_BASE, base).
		u32(unix.NFTA_PAYLOAD_OFFSET, offset).u32(unix.NFTA_PAYLOAD_LEN, length))
}

// family demands one: 2 is IPv4, 10 IPv6.
func (r *rule) family(f byte) {
	if key := string([]byte{'f', f}); !r.known[key] {
		r.known[key] = true
		r.meta(unix.NFT_META_NFPROTO)
		r.compare(false, []byte{f})
	}
}

// tcp demands TCP.
func (r *rule) tcp() {
	if !r.known["tcp"] {
		r.known["tcp"] = true
		r.meta(unix.NFT_META_L4PROTO)
		r.compare(false, []byte{unix.IPPROTO_TCP})
	}
}

// onlyTCP demands TCP before all that the rule has: what is counted is what the rule acts on.
func (r *rule) onlyTCP() {
	if r.known["tcp"] {
		return
	}
	rest := r.exprs
	r.exprs = nil
	r.tcp()
	r.exprs = append(r.exprs, rest...)
}

// address loads an address of a header; it demands the family.
func (r *rule) address(v6, source bool, register uint32) {
	f, offset, length := byte(unix.NFPROTO_IPV4), uint32(16), uint32(4)
	switch {
	case v6 && source:
		f, offset, length = unix.NFPROTO_IPV6, 8, 16
	case v6:
		f, offset, length = unix.NFPROTO_IPV6, 24, 16
	case source:
		offset = 12
	}
	r.family(f)
	r.payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, length, register)
}

func (r *rule) fib(result, flags uint32) {
	r.expr("fib", attributes{}.u32(unix.NFTA_FIB_DREG, unix.NFT_REG_1).u32(unix.NFTA_FIB_RESULT, result).u32(unix.NFTA_FIB_FLAGS, flags))
}

// lookup asks whether register 1 is in a set; several octets more for the registers after it.
func (r *rule) lookup(not bool, set string, id uint32) {
	a := attributes{}.text(unix.NFTA_LOOKUP_SET, set).u32(unix.NFTA_LOOKUP_SREG, unix.NFT_REG_1)
	if id != 0 {
		a = a.u32(unix.NFTA_LOOKUP_SET_ID, id)
	}
	if not {
		a = a.u32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV)
	}
	r.expr("lookup", a)
}

// among compares register 1 with one value, or looks it up in an anonymous set. nft's own numbers of types are what `nft
// list` shows of a set; the kernel has no use for them.
func (r *rule) among(not bool, kind uint32, concat bool, values [][]byte) {
	if len(values) == 1 && !concat {
		r.compare(not, values[0])
		return
	}
	flags := uint32(unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT)
	b := r.batch
	b.sets++
	b.addSet(r.table, "__set%d", flags, kind, uint32(len(values[0])), b.sets)
	b.addElements(r.table, "__set%d", b.sets, values, nil)
	r.lookup(not, "__set%d", b.sets)
}

// addSet declares a set.
func (b *batch) addSet(table, name string, flags, kind, length, id uint32) {
	b.add(unix.NFT_MSG_NEWSET, create, "set "+name, attributes{}.text(unix.NFTA_SET_TABLE, table).text(unix.NFTA_SET_NAME, name).
		u32(unix.NFTA_SET_FLAGS, flags).u32(unix.NFTA_SET_KEY_TYPE, kind).u32(unix.NFTA_SET_KEY_LEN, length).u32(unix.NFTA_SET_ID, id).
		bytes(setUserdata, order(kind)))
}

// order tells `nft list` the order of octets of a set's keys: type 0, length 4, 1 for the machine's own and 2 for the network's.
func order(kind uint32) []byte {
	n := uint32(2)
	if kind == typeDevice {
		n = 1
	}
	return append([]byte{0, 4}, binary.NativeEndian.AppendUint32(nil, n)...)
}

// addElements fills it; ends tells which elements end an interval.
func (b *batch) addElements(table, set string, id uint32, values [][]byte, ends []bool) {
	var list attributes
	for i, v := range values {
		e := attributes{}
		if ends != nil && ends[i] {
			e = e.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
		}
		list = list.nested(unix.NFTA_LIST_ELEM, e.value(unix.NFTA_SET_ELEM_KEY, v))
	}
	b.add(unix.NFT_MSG_NEWSETELEM, create, "elements of "+set, attributes{}.text(unix.NFTA_SET_ELEM_LIST_TABLE, table).
		text(unix.NFTA_SET_ELEM_LIST_SET, set).u32(unix.NFTA_SET_ELEM_LIST_SET_ID, id).nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list))
}

// immediate puts octets into a register.
func (r *rule) immediate(register uint32, octets []byte) {
	r.expr("immediate", attributes{}.u32(unix.NFTA_IMMEDIATE_DREG, register).value(unix.NFTA_IMMEDIATE_DATA, octets))
}

// verdict ends the rule.
func (r *rule) verdict(code int32, chain string) {
	v := attributes{}.u32(unix.NFTA_VERDICT_CODE, uint32(code))
	if chain != "" {
		v = v.text(unix.NFTA_VERDICT_CHAIN, chain)
	}
	r.expr("immediate", attributes{}.u32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT).
		nested(unix.NFTA_IMMEDIATE_DATA, attributes{}.nested(unix.NFTA_DATA_VERDICT, v)))
}

func (r *rule) tproxy(to netip.AddrPort) {
	f := uint32(unix.NFPROTO_IPV4)
	if to.Addr().Is6() {
		f = unix.NFPROTO_IPV6
	}
	r.tcp()
	r.immediate(unix.NFT_REG_1, to.Addr().AsSlice())
	r.immediate(unix.NFT_REG_2, binary.BigEndian.AppendUint16(nil, to.Port()))
	r.expr("tproxy", attributes{}.u32(tproxyFamily, f).u32(tproxyAddr, unix.NFT_REG_1).u32(tproxyPort, unix.NFT_REG_2))
}

// mark is a mark as it is in a register.
func mark(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// device is a name as it is in a register.
func device(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
