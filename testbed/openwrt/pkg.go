// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"spillway/cross"
)

// manager is one of the two package managers: where each keeps its notes and what it calls things.
type manager struct {
	name, notes, aside string // aside: ending of a new default beside a changed conffile
	read               func([]byte) (incoming, error)
}

// incoming is a package file as read.
type incoming struct {
	Name, Version string
	Depends       []string
	Files         []cross.File
	Conf          []string          // with the leading slash
	Scripts       map[string]string // by opkg's names
}

// note is what is kept of an installed package.
type note struct {
	Version string
	Files   []string          // with the leading slash
	Folders []string          // that came with it
	Conf    map[string]string // conffile: hash of what the package brought
	Scripts map[string]string
}

// Opkg and Apk are the commands opkg and apk, as far as the pages of docs/ use them.
func Opkg(args []string, out io.Writer) error {
	return manager{"opkg", "/usr/lib/opkg", "-opkg", readIPK}.run(args, out)
}

// Apk is Opkg for the other format.
func Apk(args []string, out io.Writer) error {
	return manager{"apk", "/lib/apk/db", ".apk-new", readAPK}.run(args, out)
}

func (m manager) run(args []string, out io.Writer) error {
	var words []string
	for _, a := range args {
		switch {
		case a == "--print-arch":
			words = append(words, "print-architecture")
		case !strings.HasPrefix(a, "-"):
			words = append(words, a)
		}
	}
	if len(words) == 0 {
		return fmt.Errorf("%s: no command", m.name)
	}
	switch words[0] {
	case "update":
		fmt.Fprintln(out, m.name+": the lists are those of this tree")
		return nil
	case "print-architecture":
		fmt.Fprintln(out, "arch x86_64 10")
		return nil
	case "install", "add":
		for _, file := range words[1:] {
			if err := m.install(file, out); err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, file, err)
			}
		}
		return nil
	case "remove", "del":
		for _, name := range words[1:] {
			if err := m.remove(name, out); err != nil {
				return fmt.Errorf("%s: %s: %w", m.name, name, err)
			}
		}
		return nil
	}
	return fmt.Errorf("%s: no command %q", m.name, words[0])
}

func readIPK(b []byte) (incoming, error) {
	c, err := cross.ReadIPK(b)
	return incoming{c.Control["Package"], c.Control["Version"], strings.Fields(strings.ReplaceAll(c.Control["Depends"], ",", " ")), c.Files,
		strings.Fields(c.Scripts["conffiles"]), c.Scripts}, err
}

func readAPK(b []byte) (incoming, error) {
	c, err := cross.ReadAPK(b)
	in := incoming{Name: c.Name, Version: c.Version, Depends: c.Depends, Files: c.Files, Scripts: map[string]string{}}
	for field, name := range map[int]string{2: "preinst", 3: "postinst", 4: "prerm", 5: "postrm", 7: "postupgrade"} {
		in.Scripts[name] = c.Scripts[field]
	}
	for _, f := range c.Files {
		if f.Path == "lib/apk/packages/"+c.Name+".conffiles" {
			in.Conf = strings.Fields(string(f.Data))
		}
	}
	return in, err
}

func (m manager) file(name string) string { return filepath.Join(m.notes, name+".json") }

func (m manager) note(name string) (n note, ok bool) {
	raw, err := os.ReadFile(m.file(name))
	return n, err == nil && json.Unmarshal(raw, &n) == nil
}

func (m manager) install(file string, out io.Writer) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	in, err := m.read(raw)
	if err != nil {
		return err
	}
	for _, d := range in.Depends {
		if _, installed := m.note(d); !installed && !slices.Contains(available(), d) {
			return fmt.Errorf("depends on %s, which is not to be had", d)
		}
	}
	old, upgrade := m.note(in.Name)
	if upgrade && m.name == "opkg" { // apk leaves the old version running until the new one's script
		if err := m.script(in.Name, old.Scripts["prerm"], true, out); err != nil {
			return err
		}
	}
	n := note{Version: in.Version, Conf: map[string]string{}, Folders: old.Folders, Scripts: in.Scripts}
	for _, f := range in.Files {
		to := "/" + f.Path
		n.Files = append(n.Files, to)
		made, err := folders(path.Dir(to))
		if err != nil {
			return err
		}
		n.Folders = append(n.Folders, made...)
		if slices.Contains(in.Conf, to) {
			n.Conf[to] = hash(f.Data)
			if now, err := os.ReadFile(to); err == nil && hash(now) != n.Conf[to] && hash(now) != old.Conf[to] {
				fmt.Fprintf(out, "%s is yours: the new default is %s%s\n", to, to, m.aside)
				to += m.aside
			}
		}
		if err := place(to, f); err != nil {
			return err
		}
	}
	for _, f := range old.Files {
		if !slices.Contains(n.Files, f) {
			os.Remove(f)
		}
	}
	if err := m.keep(in.Name, n); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s %s (%s)\n", m.name, in.Name, in.Version)
	text := in.Scripts["postinst"]
	if upgrade && m.name == "apk" {
		text = in.Scripts["postupgrade"]
	}
	return m.script(in.Name, text, upgrade, out)
}

// available are the packages that the tree pretends to have, or to be able to get.
func available() []string {
	raw, _ := os.ReadFile("/etc/available-packages")
	return strings.Fields(string(raw))
}

// place writes a file in one step: the old one may be running.
func place(to string, f cross.File) error {
	if err := os.WriteFile(to+".part", f.Data, f.Mode); err != nil {
		return err
	}
	if err := os.Chmod(to+".part", f.Mode); err != nil {
		return err
	}
	return os.Rename(to+".part", to)
}

// folders makes a folder and those above it, and tells which were not there.
func folders(dir string) (made []string, err error) {
	if _, err := os.Stat(dir); err == nil {
		return nil, nil
	}
	above, err := folders(path.Dir(dir))
	if err != nil {
		return nil, err
	}
	return append(above, dir), os.Mkdir(dir, 0o755)
}

// keep writes the note, and for opkg the list of files where OpenWrt's functions look for it.
func (m manager) keep(name string, n note) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(m.notes, 0o755), os.WriteFile(m.file(name), raw, 0o644)); err != nil || m.name != "opkg" {
		return err
	}
	info := filepath.Join(m.notes, "info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	if text := n.Scripts["postinst-pkg"]; text != "" {
		if err := os.WriteFile(filepath.Join(info, name+".postinst-pkg"), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(info, name+".list"), []byte(strings.Join(n.Files, "\n")+"\n"), 0o644)
}

// script runs one of the package's scripts as the manager does.
func (m manager) script(name, text string, upgrade bool, out io.Writer) error {
	if text == "" {
		return nil
	}
	at := filepath.Join("/tmp", name+".script") // default_postinst takes the package's name from it
	if err := os.WriteFile(at, []byte(text), 0o755); err != nil {
		return err
	}
	defer os.Remove(at)
	cmd := exec.Command("/bin/sh", at, "configure")
	if upgrade {
		cmd.Env = append(os.Environ(), "PKG_UPGRADE=1")
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// remove takes a package away; a conffile that was changed stays.
func (m manager) remove(name string, out io.Writer) error {
	n, ok := m.note(name)
	if !ok {
		return errors.New("is not installed")
	}
	if err := m.script(name, n.Scripts["prerm"], false, out); err != nil {
		return err
	}
	for _, f := range n.Files {
		now, err := os.ReadFile(f)
		if sum, conf := n.Conf[f]; conf && err == nil && hash(now) != sum {
			fmt.Fprintf(out, "%s stays, it is yours\n", f)
			continue
		}
		os.Remove(f)
	}
	slices.Sort(n.Folders)
	for _, dir := range slices.Backward(n.Folders) {
		os.Remove(dir) // what still holds something stays
	}
	err := m.script(name, n.Scripts["postrm"], false, out)
	for _, f := range []string{m.file(name), filepath.Join(m.notes, "info", name+".list"), filepath.Join(m.notes, "info", name+".postinst-pkg")} {
		os.Remove(f)
	}
	fmt.Fprintf(out, "%s removed %s\n", m.name, name)
	return err
}

func hash(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
