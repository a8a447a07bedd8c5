// SPDX-License-Identifier: Apache-2.0

// Command nft loads the rulesets of the testbed and of the daemon into a guest for which no Debian release has nft, and
// where the mirror may have no source of it: big-endian MIPS. It knows of nft's language what they use and says of
// anything else that it can't. On x86 a test holds it against the real one.
//
//	nft -f -           load, all of it or nothing
//	nft -c -f -        only parse
//	nft delete table inet NAME, nft flush table inet NAME
//	nft list ruleset   each rule that the kernel has, as the names of its expressions
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nft:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch line := strings.Join(args, " "); line {
	case "-f -", "-c -f -":
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		b := &batch{}
		if err := parse(string(text), b); err != nil {
			return err
		}
		if args[0] == "-c" {
			return nil
		}
		return b.send()
	case "list ruleset":
		return list(os.Stdout)
	case "list flowtables":
		return nil
	default:
		b := &batch{}
		if len(args) == 4 && args[1] == "table" && parse(line, b) == nil {
			return b.send()
		}
	}
	return fmt.Errorf("arguments %q: this program can't", args)
}

// list prints what the kernel has.
func list(w io.Writer) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: kind(unix.NFT_MSG_GETRULE), Flags: netlink.Request | netlink.Dump},
		Data:   []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return fmt.Errorf("read the rules: %w", err)
	}
	for _, m := range answers {
		if err := printRule(w, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// printRule prints a rule's table, chain and expressions; of tproxy also the family, as nft would.
func printRule(w io.Writer, message []byte) error {
	if len(message) < 4 {
		return errors.New("a rule in less than four octets")
	}
	ad, err := netlink.NewAttributeDecoder(message[4:])
	if err != nil {
		return err
	}
	var words []string
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN:
			words = append(words, ad.String())
		case unix.NFTA_RULE_EXPRESSIONS:
			ad.Nested(func(all *netlink.AttributeDecoder) error {
				for all.Next() {
					all.Nested(func(one *netlink.AttributeDecoder) error { words = append(words, expression(one)); return nil })
				}
				return nil
			})
		}
	}
	fmt.Fprintln(w, strings.Join(words, " "))
	return ad.Err()
}

func expression(ad *netlink.AttributeDecoder) (name string) {
	for ad.Next() {
		switch {
		case ad.Type() == unix.NFTA_EXPR_NAME:
			name = ad.String()
		case ad.Type() == unix.NFTA_EXPR_DATA && name == "tproxy":
			ad.Nested(func(data *netlink.AttributeDecoder) error {
				for data.Next() {
					if b := data.Bytes(); data.Type() == tproxyFamily && len(b) == 4 {
						name += map[byte]string{unix.NFPROTO_IPV4: " ip to", unix.NFPROTO_IPV6: " ip6 to"}[b[3]]
					}
				}
				return nil
			})
		}
	}
	return name
}
