// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"fmt"
	"os"
	"strings"
)

// Recipe is what an OpenWrt package Makefile says of its package: the one place for names, versions and dependencies,
// whoever builds. Only plain assignments and the blocks that packages have are understood; nothing is expanded.
type Recipe struct {
	vars   map[string]string
	blocks map[string]string // "Package/NAME/description" and the like
}

// ReadRecipe reads a package's Makefile.
func ReadRecipe(file string) (Recipe, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Recipe{}, err
	}
	r := parseRecipe(string(b))
	if r.Var("PKG_NAME", "LUCI_TITLE") == "" {
		return Recipe{}, fmt.Errorf("%s: neither PKG_NAME nor LUCI_TITLE is set", file)
	}
	return r, nil
}

func parseRecipe(text string) Recipe {
	r := Recipe{map[string]string{}, map[string]string{}}
	block := ""
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, "define "); ok {
			block = strings.TrimSpace(name)
			continue
		}
		if line == "endef" {
			block = ""
			continue
		}
		if block != "" {
			r.blocks[block] += line + "\n"
		}
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":=")
		if name = strings.TrimSpace(name); ok && name != "" && !strings.ContainsAny(name, " $\t") {
			r.vars[name] = strings.TrimSpace(value)
		}
	}
	return r
}

// Var is the first of the variables that is set.
func (r Recipe) Var(names ...string) string {
	for _, n := range names {
		if v := r.vars[n]; v != "" {
			return v
		}
	}
	return ""
}

// Depends are the packages that DEPENDS (or LUCI_DEPENDS) names without a condition: "+name". What begins with '@' is
// a symbol of OpenWrt's build, '$' a variable of its Go support, and "+COND:name" depends on the build.
func (r Recipe) Depends() []string {
	var out []string
	for word := range strings.FieldsSeq(r.Var("DEPENDS", "LUCI_DEPENDS")) {
		if name, ok := strings.CutPrefix(word, "+"); ok && !strings.ContainsAny(name, ":@$") {
			out = append(out, name)
		}
	}
	return out
}

// Block is the text of "define Package/NAME/KIND", without indentation.
func (r Recipe) Block(name, kind string) string {
	var out strings.Builder
	for line := range strings.Lines(r.blocks["Package/"+name+"/"+kind]) {
		out.WriteString(strings.TrimSpace(line) + "\n")
	}
	return strings.TrimSpace(out.String())
}
