// SPDX-License-Identifier: Apache-2.0

// Package lmo turns translations into the form in which LuCI reads them: /usr/lib/lua/luci/i18n/NAME.LANG.lmo. The buildroot does
// that with a tool of its own; packages that are made without a buildroot need it here.
package lmo

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Message is one translated string.
type Message struct{ ID, Text string }

// ReadPO reads a .po file of plain msgid and msgstr, each on one line or continued on the next ones. The header, whose ID is
// empty, is left out; a string that is not translated has an empty Text.
func ReadPO(po string) ([]Message, error) {
	var all []Message
	var now Message
	var into *string
	keep := func() {
		if now.ID != "" {
			all = append(all, now)
		}
		now = Message{}
	}
	for n, line := range strings.Split(po, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "msgid "):
			keep()
			into, line = &now.ID, line[len("msgid "):]
		case strings.HasPrefix(line, "msgstr "):
			into, line = &now.Text, line[len("msgstr "):]
		}
		part, err := strconv.Unquote(line)
		if err != nil || into == nil {
			return nil, fmt.Errorf("line %d: not understood: %s", n+1, line)
		}
		*into += part
	}
	keep()
	return all, nil
}

// FromPO converts a .po file. The format (LuCI's po2lmo.c): the texts, each padded to four octets; an index of 16-octet entries
// (hash of the ID, 1, offset, length; big endian), sorted by the hash; the index's offset.
func FromPO(po string) ([]byte, error) {
	all, err := ReadPO(po)
	if err != nil {
		return nil, err
	}
	type entry struct{ key, offset, length uint32 }
	var out []byte
	var index []entry
	for _, m := range all {
		key := hash(m.ID)
		if m.Text == "" || key == hash(m.Text) {
			continue
		}
		index = append(index, entry{key, uint32(len(out)), uint32(len(m.Text))})
		out = append(out, m.Text...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	slices.SortFunc(index, func(a, b entry) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	start := uint32(len(out))
	for _, e := range index {
		for _, v := range []uint32{e.key, 1, e.offset, e.length} {
			out = binary.BigEndian.AppendUint32(out, v)
		}
	}
	return binary.BigEndian.AppendUint32(out, start), nil
}

// hash is Paul Hsieh's SuperFastHash, seeded with the length; the last octets count as signed.
func hash(s string) uint32 {
	if s == "" {
		return 0
	}
	pair := func(i int) uint32 { return uint32(s[i]) | uint32(s[i+1])<<8 }
	signed := func(i int) uint32 { return uint32(int32(int8(s[i]))) }
	h, i := uint32(len(s)), 0
	for ; i+4 <= len(s); i += 4 {
		h += pair(i)
		h = h<<16 ^ (pair(i+2)<<11 ^ h)
		h += h >> 11
	}
	switch len(s) - i {
	case 3:
		h += pair(i)
		h ^= h << 16
		h ^= signed(i+2) << 18
		h += h >> 11
	case 2:
		h += pair(i)
		h ^= h << 11
		h += h >> 17
	case 1:
		h += signed(i)
		h ^= h << 10
		h += h >> 1
	}
	h ^= h << 3
	h += h >> 5
	h ^= h << 4
	h += h >> 17
	h ^= h << 25
	return h + h>>6
}
