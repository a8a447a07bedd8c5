// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"cmp"
	"debug/elf"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Weight is what one package costs in a binary, in octets.
type Weight struct {
	Package string
	Code    int64 // its functions
	Data    int64 // its variables, constants and type descriptions
	Tables  int64 // its share of the runtime's tables of functions and lines, by code
}

// Total is the sum of a weight's parts.
func (w Weight) Total() int64 { return w.Code + w.Data + w.Tables }

// Weigh reads a binary with symbols and says what each package costs, the heaviest first. The sum is the size of
// the loaded image without what only occupies memory.
func Weigh(file string) ([]Weight, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("weigh: %w", err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("weigh %s: %w: it must be linked without -s", file, err)
	}
	by := map[string]*Weight{}
	at := func(p string) *Weight {
		if by[p] == nil {
			by[p] = &Weight{Package: p}
		}
		return by[p]
	}
	var code int64
	seen := map[elf.SectionIndex]int64{}
	for _, s := range symbols {
		if int(s.Section) >= len(f.Sections) || s.Section == elf.SHN_UNDEF || s.Size == 0 {
			continue
		}
		section := f.Sections[s.Section]
		if section.Type == elf.SHT_NOBITS || strings.HasPrefix(s.Name, "runtime.pclntab") || s.Name == "go:func.*" {
			continue
		}
		size := int64(s.Size)
		seen[s.Section] += size
		if section.Name == ".text" {
			at(packageOf(s.Name)).Code += size
			code += size
		} else {
			at(packageOf(s.Name)).Data += size
		}
	}
	if code == 0 {
		return nil, fmt.Errorf("weigh %s: no functions in it", file)
	}
	var tables int64
	for i, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 || s.Type == elf.SHT_NOBITS {
			continue
		}
		rest := int64(s.Size) - seen[elf.SectionIndex(i)]
		switch {
		case s.Name == ".gopclntab" || s.Name == ".typelink" || s.Name == ".itablink":
			tables += rest
		case rest > 0: // strings, type descriptions and padding, which have no symbol of their own
			at("(strings, types and padding)").Data += rest
		}
	}
	for _, w := range by {
		w.Tables = tables * w.Code / code
	}
	out := make([]Weight, 0, len(by))
	for _, w := range by {
		out = append(out, *w)
	}
	slices.SortFunc(out, func(a, b Weight) int {
		return cmp.Or(cmp.Compare(b.Total(), a.Total()), cmp.Compare(a.Package, b.Package))
	})
	return out, nil
}

// packageOf takes the package out of a symbol: "github.com/x/y.(*T).M" is of "github.com/x/y". Instances of generic
// functions count for the package that wrote the function: "slices.SortFunc[go.shape...]".
func packageOf(symbol string) string {
	for _, prefix := range []string{"type:.eq.", "type:.hash.", "type:", "go:itab.", "go:struct {", "*", "[]"} {
		symbol = strings.TrimPrefix(symbol, prefix)
	}
	if cut := strings.IndexAny(symbol, "[({,; "); cut >= 0 {
		symbol = symbol[:cut]
	}
	slash := strings.LastIndexByte(symbol, '/')
	dot := strings.IndexByte(symbol[slash+1:], '.')
	if dot <= 0 {
		return "(runtime tables)"
	}
	p := strings.ReplaceAll(symbol[:slash+1+dot], "%2e", ".")
	if strings.HasPrefix(p, "go:") || strings.HasPrefix(p, "$") {
		return "(runtime tables)"
	}
	return p
}

// Dependency names what a package belongs to in the budget: a package of a module of others belongs to its module, what
// lies below the standard library to one heap, any other package is itself.
func Dependency(pkg string, modules []string) string {
	for _, m := range modules {
		if pkg == m || strings.HasPrefix(pkg, m+"/") {
			return m
		}
	}
	switch first, _, _ := strings.Cut(pkg, "/"); first {
	case "internal", "vendor", "runtime":
		return "runtime and internal"
	}
	return pkg
}

// Sum adds the weights of packages up by dependency.
func Sum(ws []Weight, modules []string) map[string]int64 {
	out := map[string]int64{}
	for _, w := range ws {
		out[Dependency(w.Package, modules)] += w.Total()
	}
	return out
}

// Growth lists the dependencies that cost more now than before by at least least octets, the worst first.
func Growth(before, now map[string]int64, least int64) []string {
	type grown struct {
		name string
		by   int64
	}
	var gs []grown
	for name, n := range now {
		if by := n - before[name]; by >= least {
			gs = append(gs, grown{name, by})
		}
	}
	slices.SortFunc(gs, func(a, b grown) int { return cmp.Or(cmp.Compare(b.by, a.by), cmp.Compare(a.name, b.name)) })
	var out []string
	for _, g := range gs {
		was := "new"
		if before[g.name] != 0 {
			was = fmt.Sprintf("%d before", before[g.name])
		}
		out = append(out, fmt.Sprintf("%s: +%d octets (%s)", g.name, g.by, was))
	}
	return out
}

// Heaviest lists the dependencies, the heaviest first.
func Heaviest(sum map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(sum), func(a, b string) int {
		return cmp.Or(cmp.Compare(sum[b], sum[a]), cmp.Compare(a, b))
	})
}
