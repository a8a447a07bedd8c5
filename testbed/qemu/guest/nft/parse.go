// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const create = netlink.Create

// errEnd is the end of the text where more is needed.
var errEnd = errors.New("the text ends too early")

// words is nft's text as words; the end of a line is a semicolon.
type words []string

// split cuts text into words.
func split(text string) (all words) {
	for line := range strings.Lines(text) {
		for line = strings.TrimRight(line, "\n"); line != ""; {
			switch c := line[0]; {
			case c == ' ' || c == '\t':
				line = line[1:]
			case strings.IndexByte("{}();,", c) >= 0:
				all, line = append(all, line[:1]), line[1:]
			case c == '"':
				end := strings.IndexByte(line[1:], '"') + 2
				if end < 2 {
					end = len(line)
				}
				all, line = append(all, strings.Trim(line[:end], `"`)), line[end:]
			default:
				end := strings.IndexAny(line, " \t{}();,")
				if end < 0 {
					end = len(line)
				}
				all, line = append(all, line[:end]), line[end:]
			}
		}
		all = append(all, ";")
	}
	return all
}

// next takes a word; "" is the end.
func (w *words) next() string {
	if len(*w) == 0 {
		return ""
	}
	word := (*w)[0]
	*w = (*w)[1:]
	return word
}

// take takes the words that are wanted, if those are next.
func (w *words) take(wanted string) bool {
	list := strings.Fields(wanted)
	if len(*w) < len(list) {
		return false
	}
	for i, word := range list {
		if (*w)[i] != word {
			return false
		}
	}
	*w = (*w)[len(list):]
	return true
}

func (w *words) want(wanted string) error {
	if !w.take(wanted) {
		return fmt.Errorf("%q: want %q", strings.Join((*w)[:min(len(*w), 6)], " "), wanted)
	}
	return nil
}

// list takes "{ a, b }", or one word.
func (w *words) list() (all []string, err error) {
	if !w.take("{") {
		return []string{w.next()}, nil
	}
	item := ""
	for {
		switch word := w.next(); word {
		case "":
			return nil, errEnd
		case "}", ",":
			if item != "" {
				all = append(all, item)
			}
			if item = ""; word == "}" {
				if len(all) == 0 {
					return nil, errors.New("a list of nothing")
				}
				return all, nil
			}
		case ";":
		default:
			item = strings.TrimSpace(item + " " + word)
		}
	}
}

// number takes one, decimal or hexadecimal.
func (w *words) number() (uint32, error) {
	word := w.next()
	n, err := strconv.ParseUint(word, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: no number", word)
	}
	return uint32(n), nil
}

// parse turns a text into messages.
func parse(text string, b *batch) error {
	w := split(text)
	for len(w) > 0 {
		switch {
		case w.take(";"):
		case w.take("delete table inet"):
			name := w.next()
			b.add(unix.NFT_MSG_DELTABLE, 0, "delete table "+name, attributes{}.text(unix.NFTA_TABLE_NAME, name))
		case w.take("flush table inet"): // the rules of all its chains
			name := w.next()
			b.add(unix.NFT_MSG_DELRULE, 0, "flush table "+name, attributes{}.text(unix.NFTA_RULE_TABLE, name))
		case w.take("table inet"):
			if err := b.parseTable(&w); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q: this program can't", strings.Join(w[:min(len(w), 6)], " "))
		}
	}
	return nil
}

func (b *batch) parseTable(w *words) error {
	name := w.next()
	a := attributes{}.text(unix.NFTA_TABLE_NAME, name)
	at := len(b.messages)
	b.add(unix.NFT_MSG_NEWTABLE, create, "table "+name, a)
	if !w.take("{") {
		return nil
	}
	for !w.take("}") {
		var err error
		switch {
		case w.take(";"):
		case w.take("comment"):
			comment := append([]byte(w.next()), 0)
			data := append([]byte{0, byte(len(comment))}, comment...) // type 0: a comment; length
			b.messages[at].Data = append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, a.bytes(tableUserdata, data)...)
		case w.take("counter"):
			err = b.parseCounter(w, name)
		case w.take("set"):
			err = b.parseSet(w, name)
		case w.take("chain"):
			err = b.parseChain(w, name)
		case len(*w) == 0:
			err = errEnd
		default:
			err = fmt.Errorf("%q: this program can't", w.next())
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

func (b *batch) parseCounter(w *words, table string) error {
	name := w.next()
	if err := w.want("{"); err != nil {
		return err
	}
	data := attributes{}
	if w.take("packets") {
		packets, err := strconv.ParseUint(w.next(), 10, 64)
		if err == nil {
			err = w.want("bytes")
		}
		if err != nil {
			return fmt.Errorf("counter %s: %w", name, err)
		}
		octets, err := strconv.ParseUint(w.next(), 10, 64)
		if err != nil {
			return fmt.Errorf("counter %s: %w", name, err)
		}
		data = data.u64(unix.NFTA_COUNTER_BYTES, octets).u64(unix.NFTA_COUNTER_PACKETS, packets)
		w.take(";")
	}
	b.add(unix.NFT_MSG_NEWOBJ, create, "counter "+name, attributes{}.text(unix.NFTA_OBJ_TABLE, table).text(unix.NFTA_OBJ_NAME, name).
		u32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER).nested(unix.NFTA_OBJ_DATA, data))
	return w.want("}")
}

// parseChain reads a chain with its rules.
func (b *batch) parseChain(w *words, table string) error {
	name := w.next()
	if err := w.want("{"); err != nil {
		return err
	}
	for w.take(";") {
	}
	a := attributes{}.text(unix.NFTA_CHAIN_TABLE, table).text(unix.NFTA_CHAIN_NAME, name)
	if w.take("type") {
		kind := w.next()
		if err := w.want("hook"); err != nil {
			return err
		}
		hooks := map[string]uint32{"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
		hook, ok := hooks[w.next()]
		if !ok || w.want("priority") != nil {
			return fmt.Errorf("chain %s: this program can't tell its hook", name)
		}
		priority, err := 0, error(nil)
		if word := w.next(); word == "mangle" {
			priority = -150
		} else if priority, err = strconv.Atoi(word); err != nil {
			return fmt.Errorf("chain %s: priority %q: no number", name, word)
		}
		w.take(";")
		if w.take("policy accept") {
			a = a.u32(unix.NFTA_CHAIN_POLICY, 1)
		}
		a = a.nested(unix.NFTA_CHAIN_HOOK, attributes{}.u32(unix.NFTA_HOOK_HOOKNUM, hook).u32(unix.NFTA_HOOK_PRIORITY, uint32(priority))).
			text(unix.NFTA_CHAIN_TYPE, kind)
	}
	b.add(unix.NFT_MSG_NEWCHAIN, create, "chain "+name, a)
	for !w.take("}") {
		if w.take(";") {
			continue
		}
		if len(*w) == 0 {
			return errEnd
		}
		r := &rule{known: map[string]bool{}, batch: b, table: table}
		begin := *w
		for !w.take(";") {
			if err := r.parse(w); err != nil {
				return fmt.Errorf("chain %s: rule %q: %w", name, strings.Join(begin[:min(len(begin), 12)], " "), err)
			}
		}
		b.add(unix.NFT_MSG_NEWRULE, create|netlink.Append, "rule of "+name, attributes{}.text(unix.NFTA_RULE_TABLE, table).
			text(unix.NFTA_RULE_CHAIN, name).nested(unix.NFTA_RULE_EXPRESSIONS, r.exprs))
	}
	return nil
}
