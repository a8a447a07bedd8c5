// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is what a package may import beyond the standard library, and why no more.
type room struct {
	may      []string // packages of ours
	thirds   []string // modules of others
	mayNot   []string // packages of the standard library
	because  string
	children bool // also for the packages below it
}

// The import graph of docs/ARCHITECTURE.md. Tests may import testbed/netns besides.
var rooms = map[string]room{
	"convert": {because: "convert is a language: octets and values, nothing else", mayNot: []string{"net", "os"}},
	"journal": {because: "journal writes lines: it knows nobody who has something to say", mayNot: []string{"net", "os"}},
	"json":    {because: "json is a language: values from text and into it", mayNot: []string{"net", "os"}},
	"sockopt": {thirds: []string{"golang.org/x/sys/unix"}, because: "sockopt reads and sets options of sockets, whatever they mean", mayNot: []string{"net", "os"}},
	"ubus":    {may: []string{"ubus", "json", "journal"}, because: "ubus is a language and a connection, and needs no more than another language", mayNot: []string{"net/http"}, children: true},
	"netlink": {thirds: []string{"golang.org/x/sys/unix"}, because: "netlink is a language and a socket: it knows no family of messages", mayNot: []string{"net"}},
	"mptcp":   {may: []string{"netlink", "sockopt"}, thirds: []string{"golang.org/x/sys/unix"}, because: "mptcp knows the kernel's MPTCP and none of our rooms"},
	"nfqueue": {may: []string{"netlink"}, thirds: []string{"golang.org/x/sys/unix"}, because: "nfqueue is a language and a socket: it neither knows why packets are held nor judges them"},
	"policy":  {because: "policy decides by values alone: no clock, no socket, no goroutine", mayNot: []string{"net", "os", "sync", "context", "net/netip"}},
	"linkmon": {may: []string{"journal", "netlink"}, thirds: []string{"golang.org/x/sys/unix"}, because: "linkmon senses; it neither decides nor does"},
	"kernel": {may: []string{"command", "journal", "json", "mptcp", "netlink"}, thirds: []string{"golang.org/x/sys/unix"},
		because: "kernel does what it is told, whoever decided it"},
	"relay":       {may: []string{"convert", "journal", "socks", "mptcp", "sockopt", "relay/engine"}, thirds: []string{"golang.org/x/sys/unix"}, because: "relay carries by the plan it is given; it neither senses nor decides", children: true},
	"socks":       {because: "socks is a language: octets and values, nothing else", mayNot: []string{"net", "os"}},
	"doctor":      {may: []string{"command", "netlink"}, thirds: []string{"golang.org/x/sys/unix"}, because: "doctor judges what package main measured"},
	"openwrt/uci": {because: "uci is a language: it turns one text into another"},
	"config":      {may: []string{"config/toml"}, because: "config turns text into values; package main hands them to the rooms"},
	"concentrator": {may: []string{"convert", "mptcp", "sockopt", "relay/engine", "concentrator"}, thirds: []string{"golang.org/x/sys/unix", "github.com/BurntSushi/toml"},
		because: "concentrator is the other end: it shares languages and the copying engine with the router, not rooms", children: true},
}

func TestImports(t *testing.T) {
	for name, r := range rooms {
		dirs := []string{name}
		if r.children {
			filepath.WalkDir(name, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() && path != name && d.Name() != "testdata" {
					dirs = append(dirs, path)
				}
				return nil
			})
		}
		for _, dir := range dirs {
			checkImports(t, name, dir, r)
		}
	}
}

func checkImports(t *testing.T, name, dir string, r room) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 && dir == name {
		t.Errorf("room %s has no Go file: the graph in this test is out of date", name)
	}
	eachImport(t, dir, func(file, path string) {
		if ours, ok := strings.CutPrefix(path, "spillway/"); ok {
			if !slices.Contains(r.may, ours) && !(r.children && strings.HasPrefix(ours, name+"/")) {
				t.Errorf("%s imports %s: %s", file, path, r.because)
			}
			return
		}
		first, _, _ := strings.Cut(path, "/")
		if strings.Contains(first, ".") && !slices.ContainsFunc(r.thirds, func(m string) bool { return path == m || strings.HasPrefix(path, m+"/") }) {
			t.Errorf("%s imports %s: %s", file, path, r.because)
		}
		if slices.Contains(r.mayNot, path) {
			t.Errorf("%s imports %s: %s", file, path, r.because)
		}
	})
}

// eachImport calls fn for every import of a folder's files that are not tests.
func eachImport(t *testing.T, dir string, fn func(file, path string)) {
	t.Helper()
	eachFile(t, dir, parser.ImportsOnly, func(file string, f *ast.File) {
		for _, spec := range f.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			fn(file, path)
		}
	})
}

// eachFile calls fn for each of a folder's Go files that are not tests.
func eachFile(t *testing.T, dir string, mode parser.Mode, fn func(file string, f *ast.File)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		fn(file, f)
	}
}

// What decides and what is a language knows no clock: time is given to it, so that a test can give another one.
func TestTimeIsDataWhereItMustBe(t *testing.T) {
	clocks := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	for _, dir := range []string{"convert", "policy", "socks", "openwrt/uci", "doctor"} {
		looked := 0
		eachFile(t, dir, 0, func(file string, f *ast.File) {
			looked++
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains(clocks, call.Sel.Name) {
					return true
				}
				if of, ok := call.X.(*ast.Ident); ok && of.Name == "time" && file != "doctor/system.go" { // which is the real machine
					t.Errorf("%s uses time.%s: give it the time, as policy's Observation does", file, call.Sel.Name)
				}
				return true
			})
		})
		if looked == 0 {
			t.Errorf("%s has no Go file", dir)
		}
	}
}

// What the router's binary links must fit a router's flash.
func TestNothingHeavyIsLinked(t *testing.T) {
	heavy := []string{"net/http", "crypto/tls", "text/template", "html/template", "regexp", "encoding/xml", "os/exec", "go/parser", "testing"}
	seen := map[string]bool{}
	var visit func(path string)
	visit = func(path string) {
		ours, ok := strings.CutPrefix(path, "spillway")
		if !ok || seen[path] {
			return
		}
		seen[path] = true
		eachImport(t, "."+ours, func(file, imported string) {
			if slices.Contains(heavy, imported) {
				t.Errorf("%s imports %s, which costs more flash than it is worth on a router", file, imported)
			}
			visit(imported)
		})
	}
	visit("spillway")
	if len(seen) < 6 {
		t.Errorf("only %d packages were visited", len(seen))
	}
}
