// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Budget is cross/budget.toml: how large the binary may become, and what each dependency cost when that was last
// accepted.
type Budget struct {
	Target map[string]Limit `toml:"target"`
	Weight map[string]int64 `toml:"weight"` // octets by dependency, on WeightTarget
}

// Limit is the budget of one target, in octets.
type Limit struct {
	Raw   int64 `toml:"raw"`
	Flash int64 `toml:"flash"`
}

// WeightTarget is the target whose weights the budget records: MIPS code is the largest.
const WeightTarget = "mips"

// ReadBudget reads the budget file strictly.
func ReadBudget(file string) (Budget, error) {
	var b Budget
	md, err := toml.DecodeFile(file, &b)
	if err != nil {
		return Budget{}, fmt.Errorf("read %s: %w", file, err)
	}
	if keys := md.Undecoded(); len(keys) > 0 {
		return Budget{}, fmt.Errorf("read %s: unknown key %s", file, keys[0])
	}
	for _, t := range Targets() {
		if l := b.Target[t.Name]; l.Raw <= 0 || l.Flash <= 0 {
			return Budget{}, fmt.Errorf("read %s: target %s needs raw and flash", file, t.Name)
		}
	}
	return b, nil
}

// Accept writes new weights into the budget file; the limits stay as people wrote them.
func Accept(file string, sum map[string]int64) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, _, _ := bytes.Cut(old, []byte("\n[weight]\n"))
	var out bytes.Buffer
	out.Write(bytes.TrimRight(head, "\n"))
	out.WriteString("\n\n[weight]\n")
	for _, name := range slices.Sorted(maps.Keys(sum)) {
		fmt.Fprintf(&out, "%q = %d\n", name, sum[name])
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// Size is what one target's binary came to, in octets.
type Size struct {
	Raw, Flash int64
	How        string // "squashfs" or "xz"
}

// Measure reads a binary's sizes.
func Measure(file string) (Size, error) {
	st, err := os.Stat(file)
	if err != nil {
		return Size{}, err
	}
	flash, how, err := Flash(file)
	return Size{st.Size(), flash, how}, err
}

// Over says in one line how a size exceeds its limit; "" when it fits.
func (s Size) Over(name string, l Limit) string {
	var words []string
	if s.Raw > l.Raw {
		words = append(words, fmt.Sprintf("%d octets raw, %d over the budget of %d", s.Raw, s.Raw-l.Raw, l.Raw))
	}
	if s.Flash > l.Flash {
		words = append(words, fmt.Sprintf("%d octets of flash (%s), %d over the budget of %d", s.Flash, s.How, s.Flash-l.Flash, l.Flash))
	}
	if len(words) == 0 {
		return ""
	}
	return name + ": " + strings.Join(words, "; ")
}

// WeighTarget builds with symbols and sums up by dependency.
func (b Builder) WeighTarget(t Target) (sum map[string]int64, ws []Weight, err error) {
	dir, err := os.MkdirTemp("", "weigh")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "named")
	if err := b.buildNamed(t, file); err != nil {
		return nil, nil, err
	}
	ws, err = Weigh(file)
	if err != nil {
		return nil, nil, err
	}
	modules, err := Modules(file)
	if err != nil {
		return nil, nil, err
	}
	return Sum(ws, modules), ws, nil
}

// Modules lists the modules of others in a binary, the longest name first.
func Modules(file string) ([]string, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read build information: %w", err)
	}
	var out []string
	for _, d := range info.Deps {
		out = append(out, d.Path)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return out, nil
}

// Blame says which dependencies grew since the budget was accepted, for a message that a person acts on.
func (b Builder) Blame(budget Budget) string {
	t, err := Select(WeightTarget)
	if err != nil {
		return err.Error()
	}
	sum, _, err := b.WeighTarget(t[0])
	if err != nil {
		return err.Error()
	}
	if grown := Growth(budget.Weight, sum, 4096); len(grown) > 0 {
		return "grown since the weights in cross/budget.toml were accepted:\n  " + strings.Join(grown, "\n  ")
	}
	text := "nothing grew by 4096 octets since the weights in cross/budget.toml were accepted; the heaviest (make sizes lists all):"
	for _, name := range Heaviest(sum)[:min(len(sum), 12)] {
		text += fmt.Sprintf("\n  %s: %d octets", name, sum[name])
	}
	return text
}
