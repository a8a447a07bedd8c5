// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// What is in our nft table, read over netlink: cheaper than running nft, and the same with every release of it.
// linux/netfilter/nf_tables.h has the attributes; integers are big-endian.

const (
	nfgenLen = 4 // struct nfgenmsg
	// Attributes that x/sys does not name.
	nftaTableUserdata = 6
	nftaDataValue     = 1
	// User data is nft's own: type, length, value; the type of a table's comment.
	udataTableComment = 0
	nfAccept          = 1 // of linux/netfilter.h
)

func nftType(message uint16) uint16 {
	return uint16(unix.NFNL_SUBSYS_NFTABLES<<8 | message)
}

// nftAttributes decodes the attributes of one nf_tables message of family inet.
func nftAttributes(b []byte) (*netlink.Decoder, error) {
	if len(b) < nfgenLen {
		return nil, fmt.Errorf("nf_tables: %w: %d octets", errShortMessage, len(b))
	}
	ad := netlink.Decode(b[nfgenLen:])
	ad.Big = true
	return ad, nil
}

// inetMessage is a message of family inet with the attributes that fill writes.
func inetMessage(message, flags uint16, fill func(*netlink.Encoder)) (netlink.Message, error) {
	ae := new(netlink.Encoder)
	fill(ae)
	attrs, err := ae.Encode()
	return netlink.Message{Type: nftType(message), Flags: flags, Data: append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...)}, err
}

// nftAsk sends one request and hands each answer to each.
func nftAsk(c *netlink.Conn, message uint16, flags uint16, fill func(*netlink.Encoder), each func([]byte) error) error {
	m, err := inetMessage(message, flags, fill)
	if err != nil {
		return err
	}
	msgs, err := c.Execute(m)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
			continue
		}
		if err := each(m.Data); err != nil {
			return err
		}
	}
	return nil
}

// deleteTable takes our table away; without one nothing is done. It is a transaction of one request. nft, which would say the same, waits until
// the kernel has forgotten the table too.
func deleteTable(c *netlink.Conn) error {
	if c == nil {
		return nil
	}
	request, err := inetMessage(unix.NFT_MSG_DELTABLE, unix.NLM_F_ACK, func(ae *netlink.Encoder) { ae.String(unix.NFTA_TABLE_NAME, TableName) })
	if err != nil {
		return err
	}
	batch := func(kind uint16) netlink.Message { // struct nfgenmsg with the subsystem, big-endian
		return netlink.Message{Type: kind, Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}}
	}
	err = c.Transact(batch(unix.NFNL_MSG_BATCH_BEGIN), request, batch(unix.NFNL_MSG_BATCH_END))
	return except(err, unix.ENOENT)
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// readMark is the Ruleset.Mark of our table in the kernel; "" when there is none.
func readMark(c *netlink.Conn) (string, error) {
	comment, flags := "", uint32(0)
	err := nftAsk(c, unix.NFT_MSG_GETTABLE, 0, func(ae *netlink.Encoder) { ae.String(unix.NFTA_TABLE_NAME, TableName) },
		func(b []byte) (err error) { comment, flags, err = decodeTable(b); return err })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", nil // no table, or a kernel without nf_tables
	}
	if err != nil {
		return "", fmt.Errorf("read table inet %s: %w", TableName, err)
	}
	uses := map[string]int{}
	err = nftAsk(c, unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, func(*netlink.Encoder) {}, func(b []byte) error {
		table, name, use, err := decodeChain(b)
		if table == TableName {
			uses[name] = use
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read chains of table inet %s: %w", TableName, err)
	}
	// A table of this name without our comment, or asleep, is somebody's too: a mark that equals none, so that ours replaces it.
	if comment == "" || flags != 0 {
		comment = "foreign"
	}
	return comment + formatShape(uses), nil
}

// decodeTable reads a table's comment and flags; ours have none of these.
func decodeTable(b []byte) (comment string, flags uint32, err error) {
	ad, err := nftAttributes(b)
	if err != nil {
		return "", 0, err
	}
	for ad.Next() {
		if ad.Type() == unix.NFTA_TABLE_FLAGS {
			flags = ad.Uint32()
		}
		if ad.Type() != nftaTableUserdata {
			continue
		}
		for data := ad.Bytes(); len(data) >= 2; {
			n := int(data[1])
			if 2+n > len(data) {
				break
			}
			if data[0] == udataTableComment {
				comment = cstring(data[2 : 2+n])
			}
			data = data[2+n:]
		}
	}
	return comment, flags, ad.Err()
}

// decodeChain reads a chain; use is -1 for one that does not accept what passes all of its rules, as ours do.
func decodeChain(b []byte) (table, name string, use int, err error) {
	ad, err := nftAttributes(b)
	if err != nil {
		return "", "", 0, err
	}
	drops := false
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_CHAIN_TABLE:
			table = cstring(ad.Bytes())
		case unix.NFTA_CHAIN_NAME:
			name = cstring(ad.Bytes())
		case unix.NFTA_CHAIN_USE:
			use = int(ad.Uint32())
		case unix.NFTA_CHAIN_POLICY: // of base chains
			drops = ad.Uint32() != nfAccept
		}
	}
	if drops {
		use = -1
	}
	return table, name, use, ad.Err()
}

// readCounters are the counters of our table by their nft names.
func readCounters(c *netlink.Conn) (map[string]Counter, error) {
	counters := map[string]Counter{}
	err := nftAsk(c, unix.NFT_MSG_GETOBJ, unix.NLM_F_DUMP, func(ae *netlink.Encoder) {
		ae.String(unix.NFTA_OBJ_TABLE, TableName)
	}, func(b []byte) error {
		table, name, n, err := decodeCounter(b)
		if table == TableName && name != "" {
			counters[name] = n
		}
		return err
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("read counters of table inet %s: %w", TableName, err)
	}
	return counters, nil
}

// decodeCounter reads one stateful object; name is "" when it is no counter.
func decodeCounter(b []byte) (table, name string, n Counter, err error) {
	ad, err := nftAttributes(b)
	if err != nil {
		return "", "", n, err
	}
	kind := uint32(0)
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_OBJ_TABLE:
			table = cstring(ad.Bytes())
		case unix.NFTA_OBJ_NAME:
			name = cstring(ad.Bytes())
		case unix.NFTA_OBJ_TYPE:
			kind = ad.Uint32()
		case unix.NFTA_OBJ_DATA:
			ad.Nested(func(in *netlink.Decoder) error {
				for in.Next() {
					switch in.Type() {
					case unix.NFTA_COUNTER_BYTES:
						n.Bytes = in.Uint64()
					case unix.NFTA_COUNTER_PACKETS:
						n.Packets = in.Uint64()
					}
				}
				return nil
			})
		}
	}
	if kind != unix.NFT_OBJECT_COUNTER {
		return table, "", Counter{}, nil
	}
	return table, name, n, ad.Err()
}

// element is an address in a domain set and how long it stays.
type element struct {
	addr netip.Addr
	ttl  time.Duration
}

// readElements are the elements of a domain set; a set that isn't there has none.
func readElements(c *netlink.Conn, set string) ([]element, error) {
	var all []element
	err := nftAsk(c, unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, func(ae *netlink.Encoder) {
		ae.String(unix.NFTA_SET_ELEM_LIST_TABLE, TableName)
		ae.String(unix.NFTA_SET_ELEM_LIST_SET, set)
	}, func(b []byte) error {
		some, err := decodeElements(b)
		all = append(all, some...)
		return err
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("read set %s of table inet %s: %w", set, TableName, err)
	}
	return all, nil
}

func decodeElements(b []byte) (all []element, err error) {
	ad, err := nftAttributes(b)
	if err != nil {
		return nil, err
	}
	for ad.Next() {
		if ad.Type() != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			continue
		}
		ad.Nested(func(list *netlink.Decoder) error {
			for list.Next() {
				var e element
				list.Nested(func(in *netlink.Decoder) error { e = decodeElement(in); return nil })
				if e.addr.IsValid() {
					all = append(all, e)
				}
			}
			return nil
		})
	}
	return all, ad.Err()
}

func decodeElement(in *netlink.Decoder) (e element) {
	for in.Next() {
		switch in.Type() {
		case unix.NFTA_SET_ELEM_KEY:
			in.Nested(func(key *netlink.Decoder) error {
				for key.Next() {
					if key.Type() == nftaDataValue {
						e.addr, _ = netip.AddrFromSlice(key.Bytes())
					}
				}
				return nil
			})
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.ttl = time.Duration(in.Uint64()) * time.Millisecond
		}
	}
	return e
}
