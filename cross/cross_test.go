// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample is a package with everything that packages have: nested folders, an empty file, a kept file, a large one.
func sample() Package {
	return Package{
		Name: "spillway", Version: "0.1.0-r7", Arch: "mips_24kc", Section: "net", License: "Apache-2.0",
		Maintainer: "The Spillway authors", Description: "Bonds DSL and LTE.\nSecond line.",
		Depends: []string{"kmod-nft-tproxy", "kmod-nft-socket"}, Time: time.Unix(1790000000, 0),
		Files: []File{
			{Path: "usr/sbin/spillway", Mode: 0o755, Data: bytes.Repeat([]byte("binary"), 20000)},
			{Path: "etc/config/spillway", Mode: 0o600, Data: []byte("config main\n"), Conf: true},
			{Path: "etc/init.d/spillway", Mode: 0o755, Data: []byte("#!/bin/sh /etc/rc.common\n")},
			{Path: "etc/spillway/empty", Mode: 0o644},
		},
	}
}

func TestIPKComesBack(t *testing.T) {
	b, err := IPK(sample())
	must(t, err)
	c, err := ReadIPK(b)
	must(t, err)
	want := map[string]string{
		"Package": "spillway", "Version": "0.1.0-r7", "Architecture": "mips_24kc", "Depends": "kmod-nft-tproxy, kmod-nft-socket",
		"License": "Apache-2.0", "Section": "net", "SourceDateEpoch": "1790000000", "Description": "Bonds DSL and LTE.\nSecond line.",
	}
	for k, v := range want {
		if c.Control[k] != v {
			t.Errorf("control field %s: %q, want %q", k, c.Control[k], v)
		}
	}
	if c.Scripts["conffiles"] != "/etc/config/spillway\n" {
		t.Errorf("conffiles %q", c.Scripts["conffiles"])
	}
	for _, name := range []string{"postinst", "prerm"} {
		shellAccepts(t, name, c.Scripts[name])
	}
	sameFiles(t, c.Files, sample().Files)
	if n, err := untar(b); err != nil || len(n) != 3 {
		t.Errorf("%d outer members, %v", len(n), err)
	}
}

func TestAPKComesBack(t *testing.T) {
	b, err := APK(sample())
	must(t, err)
	if !bytes.HasPrefix(b, []byte("ADBd")) {
		t.Errorf("begins with %q", b[:4])
	}
	c, err := ReadAPK(b)
	must(t, err)
	if c.Name != "spillway" || c.Version != "0.1.0-r7" || c.Arch != "mips_24kc" || c.License != "Apache-2.0" || c.Description != "Bonds DSL and LTE.\nSecond line." {
		t.Errorf("package %+v", c)
	}
	if !slices.Equal(c.Depends, []string{"kmod-nft-socket", "kmod-nft-tproxy"}) {
		t.Errorf("depends %q: apk wants them sorted", c.Depends)
	}
	for _, n := range []int{scriptPostInstall, scriptPreDeinstall, scriptUpgrade} {
		shellAccepts(t, "script", c.Scripts[n])
	}
	if !strings.Contains(c.Scripts[scriptUpgrade], "PKG_UPGRADE=1") {
		t.Errorf("upgrade script %q", c.Scripts[scriptUpgrade])
	}
	hash := sha256.Sum256([]byte("config main\n"))
	sameFiles(t, c.Files, append(sample().Files,
		File{Path: "lib/apk/packages/spillway.list", Mode: 0o644, Data: []byte("/etc/config/spillway\n/etc/init.d/spillway\n/etc/spillway/empty\n/usr/sbin/spillway\n")},
		File{Path: "lib/apk/packages/spillway.conffiles", Mode: 0o644, Data: []byte("/etc/config/spillway\n")},
		File{Path: "lib/apk/packages/spillway.conffiles_static", Mode: 0o644, Data: []byte("/etc/config/spillway " + hexOf(hash[:]) + "\n")}))
}

func TestPackagesAreReproducible(t *testing.T) {
	for name, make := range map[string]func(Package) ([]byte, error){"ipk": IPK, "apk": APK} {
		first, err := make(sample())
		must(t, err)
		for range 5 {
			p := sample()
			slices.Reverse(p.Files)
			slices.Reverse(p.Depends)
			if name == "ipk" {
				slices.Reverse(p.Depends) // control keeps the order that people wrote
			}
			again, err := make(p)
			must(t, err)
			if !bytes.Equal(first, again) {
				t.Errorf("%s: the same package gave other octets", name)
			}
		}
	}
}

func TestAPKNoticesDamage(t *testing.T) {
	b, err := APK(sample())
	must(t, err)
	plain, err := inflate(b)
	must(t, err)
	at := bytes.Index(plain, []byte("config main"))
	for name, damage := range map[string]func([]byte){
		"a file's content":    func(b []byte) { b[at] ^= 1 },
		"the name":            func(b []byte) { b[bytes.Index(b, []byte("spillway"))] ^= 1 },
		"the database's size": func(b []byte) { binary.LittleEndian.PutUint32(b[8:], 1<<29) },
	} {
		broken := bytes.Clone(plain)
		damage(broken)
		if _, err := ReadAPK(broken); err == nil {
			t.Errorf("%s was changed and nobody noticed", name)
		}
	}
}

func TestPackageRefusesNonsense(t *testing.T) {
	for _, path := range []string{"/etc/x", "../x", "a//b", ""} {
		p := sample()
		p.Files = append(p.Files, File{Path: path})
		if _, err := IPK(p); err == nil {
			t.Errorf("path %q was packed", path)
		}
	}
	p := sample()
	p.Files = append(p.Files, p.Files[0])
	if _, err := APK(p); err == nil {
		t.Error("two files of one name were packed")
	}
}

func FuzzReadAPK(f *testing.F) {
	p := sample()
	p.Files = p.Files[1:] // without the large one
	b, err := APK(p)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := inflate(b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(plain)
	f.Add([]byte("ADB.pckg"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ReadAPK(b)
		ReadIPK(b)
	})
}

func TestManifest(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("A"), 0o644))
	list := filepath.Join(dir, "files.txt")
	must(t, os.WriteFile(list, []byte("# comment\n\na /etc/config/a 0600\na /usr/bin/a 755\na /etc/b.toml 0644 conffile\n"), 0o644))
	got, err := ReadManifest(list, dir)
	must(t, err)
	sameFiles(t, got, []File{
		{Path: "etc/config/a", Mode: 0o600, Data: []byte("A")},
		{Path: "usr/bin/a", Mode: 0o755, Data: []byte("A")},
		{Path: "etc/b.toml", Mode: 0o644, Data: []byte("A")},
	})
	if !got[0].Conf || got[1].Conf || !got[2].Conf {
		t.Errorf("kept files: %v %v %v", got[0].Conf, got[1].Conf, got[2].Conf)
	}
	for _, bad := range []string{"a /b", "a /b 9", "missing /b 644", "a /b 644 other"} {
		must(t, os.WriteFile(list, []byte(bad), 0o644))
		if _, err := ReadManifest(list, dir); err == nil {
			t.Errorf("line %q was read", bad)
		}
	}
}

func TestRecipe(t *testing.T) {
	r := parseRecipe(`include $(TOPDIR)/rules.mk
PKG_NAME:=spillway
PKG_VERSION:=0.3.1
define Package/spillway
  SECTION:=net
  TITLE:=Bonding
  DEPENDS:=$(GO_ARCH_DEPENDS) @KERNEL_MPTCP +kmod-nft-tproxy \
    +kmod-nft-socket +PACKAGE_x:y
endef
define Package/spillway/description
  One.
  Two.
endef
define Package/spillway/conffiles
/etc/config/spillway
endef
`)
	if got := r.Depends(); !slices.Equal(got, []string{"kmod-nft-tproxy", "kmod-nft-socket"}) {
		t.Errorf("depends %q", got)
	}
	if r.Var("PKG_VERSION") != "0.3.1" || r.Var("TITLE") != "Bonding" {
		t.Errorf("variables %v", r.vars)
	}
	if got := r.Block("spillway", "description"); got != "One.\nTwo." {
		t.Errorf("description %q", got)
	}
	if got := r.Block("spillway", "conffiles"); got != "/etc/config/spillway" {
		t.Errorf("conffiles %q", got)
	}
}

func TestPackageOf(t *testing.T) {
	for symbol, want := range map[string]string{
		"spillway/kernel.(*writer).prerouting":           "spillway/kernel",
		"github.com/BurntSushi/toml.Decode":              "github.com/BurntSushi/toml",
		"main.main.func1":                                "main",
		"type:.eq.[16]spillway/policy.linkMemory":        "(runtime tables)",
		"type:.eq.spillway/policy.linkMemory":            "spillway/policy",
		"slices.SortFunc[go.shape.struct { a/b.c int }]": "slices",
		"gopkg.in/yaml%2ev3.Parse":                       "gopkg.in/yaml.v3",
		"go:itab.*os.File,io.Reader":                     "os",
		"vendor/golang.org/x/net/dns/dnsmessage.(*X).Y":  "vendor/golang.org/x/net/dns/dnsmessage",
		"$f64.3ff0000000000000":                          "(runtime tables)",
	} {
		if got := packageOf(symbol); got != want {
			t.Errorf("%s is of %q, want %q", symbol, got, want)
		}
	}
}

func TestDependency(t *testing.T) {
	modules := []string{"github.com/mdlayher/netlink", "golang.org/x/sys"}
	for pkg, want := range map[string]string{
		"golang.org/x/sys/unix":               "golang.org/x/sys",
		"github.com/mdlayher/netlink/nlenc":   "github.com/mdlayher/netlink",
		"github.com/mdlayher/netlinkother":    "github.com/mdlayher/netlinkother",
		"net/http":                            "net/http",
		"spillway/kernel":                     "spillway/kernel",
		"internal/poll":                       "runtime and internal",
		"vendor/golang.org/x/net/dns/message": "runtime and internal",
		"main":                                "main",
	} {
		if got := Dependency(pkg, modules); got != want {
			t.Errorf("%s belongs to %q, want %q", pkg, got, want)
		}
	}
}

func TestGrowthNamesTheCulprit(t *testing.T) {
	got := Growth(map[string]int64{"net": 100, "a": 5000}, map[string]int64{"net": 100, "a": 9000, "net/http": 700000, "b": 10}, 1000)
	want := []string{"net/http: +700000 octets (new)", "a: +4000 octets (5000 before)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAcceptKeepsTheLimits(t *testing.T) {
	file := filepath.Join(t.TempDir(), "budget.toml")
	b, err := os.ReadFile("budget.toml")
	must(t, err)
	must(t, os.WriteFile(file, b, 0o644))
	before, err := ReadBudget(file)
	must(t, err)
	must(t, Accept(file, map[string]int64{"net": 7, "(runtime tables)": 9}))
	after, err := ReadBudget(file)
	must(t, err)
	if after.Weight["net"] != 7 || after.Weight["(runtime tables)"] != 9 || len(after.Weight) != 2 {
		t.Errorf("weights %v", after.Weight)
	}
	for name, l := range before.Target {
		if after.Target[name] != l {
			t.Errorf("target %s: %+v became %+v", name, l, after.Target[name])
		}
	}
}

func TestIdentifyLicences(t *testing.T) {
	text, err := os.ReadFile("../LICENSE")
	must(t, err)
	if got := Identify(string(text)); got != "Apache-2.0" {
		t.Errorf("ours is %q", got)
	}
	if got := Identify("GNU GENERAL PUBLIC LICENSE Version 2"); slices.Contains(allowed, got) {
		t.Errorf("the GPL passes as %q", got)
	}
	if bad := Refused([]Module{{Path: "x", Licence: "copyleft"}, {Path: "y", Licence: "MIT"}, {Path: "z"}}); len(bad) != 2 {
		t.Errorf("refused %q", bad)
	}
}

// builder builds the router's binary, or skips where the module has none.
func builder(t *testing.T) Builder {
	t.Helper()
	root, err := filepath.Abs("..")
	must(t, err)
	if mains, _ := filepath.Glob(filepath.Join(root, "*.go")); len(mains) == 0 {
		t.Skip("needs the router's program at the module's root")
	}
	return Builder{Root: root, Program: ".", Version: "test"}
}

// all measures every target, as `make cross` does: the first time the standard library is compiled for each.
var all = flag.Bool("all", false, "hold the budget of every target, not only that of MIPS")

// TestBudget holds the flash budget: that of MIPS always, of either byte order.
func TestBudget(t *testing.T) {
	b := builder(t)
	budget, err := ReadBudget("budget.toml")
	must(t, err)
	for _, target := range Targets() {
		t.Run(target.Name, func(t *testing.T) {
			if !*all && !strings.HasPrefix(target.Name, "mips") {
				t.Skip("only MIPS is built unless -all is given: make cross holds the others")
			}
			file := filepath.Join(t.TempDir(), "spillway")
			must(t, b.Build(target, file))
			static(t, file)
			size, err := Measure(file)
			if err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			limit := budget.Target[target.Name]
			t.Logf("%d of %d octets raw, %d of %d in flash (%s)", size.Raw, limit.Raw, size.Flash, limit.Flash, size.How)
			if over := size.Over(target.Name, limit); over != "" {
				t.Errorf("over budget: %s", over)
				if target.Name == WeightTarget {
					t.Log(b.Blame(budget))
				}
			}
		})
	}
}

// static fails when a binary needs a loader or still has its symbols.
func static(t *testing.T, file string) {
	t.Helper()
	f, err := elf.Open(file)
	must(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s isn't static: it has %v", file, p.Type)
		}
	}
	if f.Section(".symtab") != nil || f.Section(".debug_info") != nil {
		t.Errorf("%s isn't stripped", file)
	}
}

func TestBuildIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("builds from a second folder: not run with -short")
	}
	b := builder(t)
	target := Targets()[0]
	dir := t.TempDir()
	copyOf := filepath.Join(dir, "elsewhere")
	must(t, os.Mkdir(copyOf, 0o755))
	out, err := exec.Command("sh", "-c", `tar -C "$1" --exclude=./.git --exclude=./build --exclude=node_modules -cf - . | tar -C "$2" -xf -`, "sh", b.Root, copyOf).CombinedOutput()
	if err != nil {
		t.Fatalf("copy: %v %s", err, out)
	}
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	must(t, b.Build(target, first))
	b.Root = copyOf
	must(t, b.Build(target, second))
	x, err := os.ReadFile(first)
	must(t, err)
	y, err := os.ReadFile(second)
	must(t, err)
	if !bytes.Equal(x, y) {
		t.Error("the same sources in another folder gave another binary")
	}
}

func TestBillOfMaterials(t *testing.T) {
	b := builder(t)
	file := filepath.Join(t.TempDir(), "spillway")
	must(t, b.Build(Targets()[0], file))
	text, err := SBOM(file, "0.1.0-r7", map[string]string{"golang.org/x/sys": "BSD-3-Clause"})
	must(t, err)
	again, err := SBOM(file, "0.1.0-r7", map[string]string{"golang.org/x/sys": "BSD-3-Clause"})
	must(t, err)
	if !bytes.Equal(text, again) {
		t.Error("two lists of one binary differ")
	}
	var bom document
	must(t, json.Unmarshal(text, &bom))
	modules, err := Modules(file)
	must(t, err)
	for _, m := range modules {
		if !slices.ContainsFunc(bom.Components, func(c component) bool { return c.Name == m && c.Version != "" && c.PURL != "" }) {
			t.Errorf("module %s isn't in the list", m)
		}
	}
	if bom.Format != "CycloneDX" || len(bom.Metadata.Component.Hashes) != 1 || len(bom.Serial) != len("urn:uuid:")+36 {
		t.Errorf("head %+v", bom)
	}
}

func TestRepositoryPackages(t *testing.T) {
	b := builder(t)
	if _, err := os.Stat(filepath.Join(b.Root, daemonFolder, "files.txt")); err != nil {
		t.Skip("needs " + daemonFolder + "/files.txt")
	}
	file := filepath.Join(t.TempDir(), "spillway")
	must(t, os.WriteFile(file, []byte("stands for the binary"), 0o755))
	p, err := DaemonPackage(b.Root, "0.1.0-r7", "mips_24kc", file, time.Unix(0, 0))
	must(t, err)
	packages := []Package{p}
	luci, ok, err := LuCIPackage(b.Root, "0.1.0-r7", time.Unix(0, 0))
	must(t, err)
	if ok {
		packages = append(packages, luci)
		for _, language := range []string{"de", "fr"} {
			path := "usr/lib/lua/luci/i18n/spillway." + language + ".lmo"
			if !slices.ContainsFunc(luci.Files, func(f File) bool { return f.Path == path && len(f.Data) > 0 }) {
				t.Errorf("luci-app-spillway has no %s", path)
			}
		}
	}
	for _, p := range packages {
		ipk, apk, err := WriteBoth(p, t.TempDir())
		must(t, err)
		for _, w := range []Written{ipk, apk} {
			how, err := CheckReal(w.File, p.Arch)
			must(t, err)
			t.Logf("%s: %d octets; checked by our reader and %q", filepath.Base(w.File), w.Size, how)
		}
	}
}

func sameFiles(t *testing.T, got, want []File) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for _, w := range want {
		i := slices.IndexFunc(got, func(f File) bool { return f.Path == w.Path })
		if i < 0 {
			t.Errorf("%s is missing", w.Path)
			continue
		}
		if got[i].Mode != w.Mode || !bytes.Equal(got[i].Data, w.Data) {
			t.Errorf("%s: mode %o and %d octets, want %o and %d", w.Path, got[i].Mode, len(got[i].Data), w.Mode, len(w.Data))
		}
	}
}

// shellAccepts checks a script's syntax.
func shellAccepts(t *testing.T, name, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(script, "#!/bin/sh\n") {
		t.Errorf("%s: %v %s\n%s", name, err, out, script)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range b {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
