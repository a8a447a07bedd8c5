// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// File is one regular file of a package.
type File struct {
	Path string // on the router, without the leading slash
	Mode fs.FileMode
	Data []byte
	Conf bool // kept when the user changed it, and saved by sysupgrade
}

// Package is what both formats are made from.
type Package struct {
	Name, Version, Arch  string // Arch as opkg spells it: "all" becomes "noarch" for apk
	Section, Description string
	License, Maintainer  string
	Depends              []string
	Files                []File
	PostInst             string    // a script of the package's own, run beside OpenWrt's at installation and upgrade; "": none
	Time                 time.Time // of every file in it
}

// validate orders a copy of the files and refuses what a router couldn't install.
func (p *Package) validate() error {
	if p.Name == "" || p.Version == "" || p.Arch == "" || len(p.Files) == 0 {
		return fmt.Errorf("package %q: a name, version, architecture and files are needed", p.Name)
	}
	p.Files = slices.Clone(p.Files) // the caller's order stays
	slices.SortFunc(p.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	for i, f := range p.Files {
		if !fs.ValidPath(f.Path) || f.Path == "." {
			return fmt.Errorf("package %s: file path %q isn't a clean path without a leading slash", p.Name, f.Path)
		}
		if i > 0 && p.Files[i-1].Path == f.Path {
			return fmt.Errorf("package %s: two files for %s", p.Name, f.Path)
		}
	}
	return nil
}

// confFiles lists the kept files, with a leading slash.
func (p *Package) confFiles() []string {
	var out []string
	for _, f := range p.Files {
		if f.Conf {
			out = append(out, "/"+f.Path)
		}
	}
	return out
}

// folders lists every folder above the files, "" first, sorted.
func folders(files []File) []string {
	set := map[string]bool{"": true}
	for _, f := range files {
		for d := path.Dir(f.Path); d != "."; d = path.Dir(d) {
			set[d] = true
		}
	}
	var out []string
	for d := range set {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

// ReadManifest reads lines "SRC DEST MODE [conffile]" of a list of files: SRC below folder, DEST on the router, MODE in octal.
// '#' begins a comment. DEST below /etc/config is a conffile without being told.
func ReadManifest(file, folder string) ([]File, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []File
	sc := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; sc.Scan(); n++ {
		line, _, _ := strings.Cut(sc.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		f, err := manifestLine(words, folder)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		out = append(out, f)
	}
	return out, sc.Err()
}

func manifestLine(words []string, folder string) (File, error) {
	if len(words) != 3 && (len(words) != 4 || words[3] != "conffile") {
		return File{}, fmt.Errorf("want SRC DEST MODE [conffile], got %q", strings.Join(words, " "))
	}
	mode, err := strconv.ParseUint(words[2], 8, 12)
	if err != nil {
		return File{}, fmt.Errorf("mode %q is no octal number", words[2])
	}
	data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(words[0])))
	if err != nil {
		return File{}, err
	}
	dest := strings.TrimPrefix(words[1], "/")
	return File{dest, fs.FileMode(mode), data, len(words) == 4 || strings.HasPrefix(dest, "etc/config/")}, nil
}

// ReadTree reads all files below folder to below dest. Scripts (init.d, uci-defaults, hotplug.d, "#!") are executable.
func ReadTree(folder, dest string) ([]File, error) {
	var out []File
	err := eachFile(folder, func(name string, data []byte) {
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755
		}
		to := path.Join(dest, name)
		out = append(out, File{to, mode, data, strings.HasPrefix(to, "etc/config/")})
	})
	return out, err
}

// eachFile reads all files below folder in the order of their names, which have slashes and begin below it.
func eachFile(folder string, do func(name string, data []byte)) error {
	return filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		do(filepath.ToSlash(rel), data)
		return nil
	})
}
