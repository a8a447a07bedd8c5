// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"spillway/command"
)

// findNFT is nft's path; the bare name when it is nowhere, for an error that says so.
func findNFT() string {
	if path, err := command.Find("nft"); err == nil {
		return path
	}
	return "nft"
}

// nftTimeout is far beyond what ten thousand prefixes take on a slow router.
const nftTimeout = time.Minute

// run hands text to nft as one transaction: all of it takes effect at once, or nothing does.
func (r *Reconciler) run(ctx context.Context, text string) error { return r.runNFT(ctx, text) }

func (r *Reconciler) runNFT(ctx context.Context, text string, flags ...string) error {
	ctx, cancel := context.WithTimeout(ctx, nftTimeout)
	defer cancel()
	said, err := command.Run(ctx, text, r.nft, append(flags, "-f", "-")...)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("install nftables: %w", err)
	}
	if err != nil {
		said = strings.TrimSpace(said)
		return fmt.Errorf("nft -f -: %w: %s", err, said[:min(len(said), 400)])
	}
	return nil
}

// queueRuleset is a table that is only checked.
const queueRuleset = `table inet spillway_check {
	chain c {
		type filter hook prerouting priority mangle + 1;
		meta l4proto tcp queue num 1 bypass
	}
}
`

// CanQueue tells by an error whether this kernel's nft can hold packets for Table.Queue.
func (r *Reconciler) CanQueue(ctx context.Context) error {
	err := r.runNFT(ctx, queueRuleset, "-c")
	if err == nil || errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
		return err
	}
	return errors.New("the kernel's nft has no queue to hold packets in: install kmod-nft-queue") // nft says so in five lines
}

// loadTable replaces our table. Counters go on from where they were, and what resolvers put into domain sets stays.
func (r *Reconciler) loadTable(ctx context.Context, want Ruleset) error {
	if want.text == "" {
		return errors.New("the ruleset was read, not rendered")
	}
	if r.nfnl == nil {
		return errors.New("the kernel has no nf_tables: install kmod-nft-tproxy and kmod-nft-socket")
	}
	counters, err := readCounters(r.nfnl)
	if err != nil {
		return err
	}
	text := carryCounters(want.text, counters)
	for _, set := range want.domains {
		elements, err := readElements(r.nfnl, set)
		if err != nil {
			return err
		}
		text += carryElements(set, elements)
	}
	if err := r.run(ctx, text); err != nil {
		return err
	}
	mark, err := readMark(r.nfnl)
	if err != nil {
		return err
	}
	if hashOf(mark) != hashOf(want.Mark) {
		return fmt.Errorf("loaded %q, the kernel shows %q", want.Mark, mark)
	}
	// The same text and another count: not ours to argue with the kernel, nor to load the table for ever.
	r.loaded = loadedMark{mark, want.Mark}
	if mark != want.Mark {
		r.log.Debug("this kernel counts the rules of a chain in its own way", "expected", want.Mark, "found", mark)
	}
	return nil
}

// loadedMark is the Mark of the table loaded last as the kernel shows it, which may count the uses of chains in its own way, and as Render has it.
type loadedMark struct{ shown, rendered string }

// meant is the Mark as Render has it that the kernel's means.
func (l loadedMark) meant(shown string) string {
	if shown == l.shown {
		return l.rendered
	}
	return shown
}

// hashOf is a mark without the chains' counts.
func hashOf(mark string) string {
	hash, _, _ := strings.Cut(mark, " ")
	return hash
}

// carryCounters writes the counters' values into the text that declares them.
func carryCounters(text string, counters map[string]Counter) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		name, ok := strings.CutPrefix(line, "\tcounter ")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		if n := counters[name]; n != (Counter{}) {
			lines[i] = fmt.Sprintf("\tcounter %s { packets %d bytes %d; }\n", name, n.Packets, n.Bytes)
		}
	}
	return strings.Join(lines, "")
}

// carryElements adds the elements of a set with what is left of their time.
func carryElements(set string, elements []element) string {
	if len(elements) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "add element inet %s %s {", TableName, set)
	for i, e := range elements {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %v timeout %ds", e.addr, seconds(e.ttl))
	}
	b.WriteString(" }\n")
	return b.String()
}

// addElements puts addresses into the two sets. The kernel does not prolong the stay of an element that is there, so each
// is added, removed and added again: whether it was there or not, the transaction holds.
func addElements(stem string, addrs []netip.Addr, ttl time.Duration) string {
	var b strings.Builder
	for _, v6 := range []bool{false, true} {
		var plain []string
		for _, a := range addrs {
			if a = a.Unmap().WithZone(""); a.IsValid() && a.Is6() == v6 {
				plain = append(plain, a.String())
			}
		}
		slices.Sort(plain)
		plain = slices.Compact(plain)
		if len(plain) == 0 {
			continue
		}
		name, list := domainSetName(stem, v6), strings.Join(plain, ", ")
		fmt.Fprintf(&b, "add element inet %s %s { %s }\n", TableName, name, list)
		fmt.Fprintf(&b, "delete element inet %s %s { %s }\n", TableName, name, list)
		timeout := fmt.Sprintf(" timeout %ds", seconds(ttl))
		fmt.Fprintf(&b, "add element inet %s %s { %s }\n", TableName, name, strings.Join(plain, timeout+", ")+timeout)
	}
	return b.String()
}

func seconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }
