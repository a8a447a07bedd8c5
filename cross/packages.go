// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spillway/openwrt/luci/lmo"
)

// Folders of the OpenWrt packages, below the module's root.
const (
	daemonFolder = "openwrt/net/spillway"
	luciFolder   = "openwrt/luci/luci-app-spillway"
)

// DaemonPackage is the router's package for one architecture: the binary, and what openwrt/net/spillway/files.txt lists.
// version is that of the packages ("0.1.0-r7").
func DaemonPackage(root, version, arch, binary string, at time.Time) (Package, error) {
	r, err := ReadRecipe(filepath.Join(root, daemonFolder, "Makefile"))
	if err != nil {
		return Package{}, fmt.Errorf("package spillway: %w", err)
	}
	files, err := ReadManifest(filepath.Join(root, daemonFolder, "files.txt"), filepath.Join(root, daemonFolder, "files"))
	if err != nil {
		return Package{}, fmt.Errorf("package spillway: %w", err)
	}
	bin, err := os.ReadFile(binary)
	if err != nil {
		return Package{}, err
	}
	files = append(files, File{Path: "usr/sbin/spillway", Mode: 0o755, Data: bin})
	conf := strings.Fields(r.Block("spillway", "conffiles"))
	for i := range files {
		files[i].Conf = files[i].Conf || slices.Contains(conf, "/"+files[i].Path)
	}
	description := r.Block("spillway", "description")
	if description == "" {
		description = r.Var("TITLE")
	}
	return Package{
		Name: "spillway", Version: version, Arch: arch, Section: "net", Description: description,
		License: licence(r), Maintainer: r.Var("PKG_MAINTAINER"), Depends: r.Depends(), Files: files, Time: at,
		PostInst: strings.ReplaceAll(r.Block("spillway", "postinst"), "$$", "$"), // make's way to write a dollar
	}, nil
}

// LuCIPackage is the web interface, for every architecture; ok is false when there is none in this checkout.
func LuCIPackage(root, version string, at time.Time) (p Package, ok bool, err error) {
	folder := filepath.Join(root, luciFolder)
	r, err := ReadRecipe(filepath.Join(folder, "Makefile"))
	if errors.Is(err, fs.ErrNotExist) {
		return Package{}, false, nil
	}
	if err != nil {
		return Package{}, false, err
	}
	var files []File
	for from, to := range map[string]string{"root": "", "htdocs": "www"} {
		tree, err := ReadTree(filepath.Join(folder, from), to)
		if err != nil {
			return Package{}, false, fmt.Errorf("package luci-app-spillway: %w", err)
		}
		files = append(files, tree...)
	}
	catalogues, err := translations(folder)
	if err != nil {
		return Package{}, false, fmt.Errorf("package luci-app-spillway: %w", err)
	}
	files = append(files, catalogues...)
	depends := r.Depends()
	if !slices.Contains(depends, "luci-base") {
		depends = append(depends, "luci-base")
	}
	return Package{
		Name: "luci-app-spillway", Version: version, Arch: "all", Section: "luci", Description: r.Var("LUCI_TITLE"),
		License: licence(r), Maintainer: r.Var("PKG_MAINTAINER"), Depends: depends, Files: files, Time: at, PostInst: luciPostInst,
	}, true, nil
}

// luciPostInst is what LuCI's own build (luci.mk) gives each of its packages: without it rpcd knows neither the new pages nor the rights
// to them before the next boot.
const luciPostInst = `#!/bin/sh
[ -n "${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	/etc/init.d/rpcd reload 2>/dev/null || true
}
`

// translations compiles po/LANG/spillway.po to what LuCI reads.
func translations(folder string) ([]File, error) {
	sources, err := filepath.Glob(filepath.Join(folder, "po", "*", "spillway.po"))
	if err != nil {
		return nil, err
	}
	var files []File
	for _, source := range sources {
		po, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		data, err := lmo.FromPO(string(po))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		language := filepath.Base(filepath.Dir(source))
		files = append(files, File{Path: "usr/lib/lua/luci/i18n/spillway." + language + ".lmo", Mode: 0o644, Data: data})
	}
	return files, nil
}

// BaseVersion is the version of the recipe, "0.1.0" when it doesn't say.
func BaseVersion(root string) string {
	r, err := ReadRecipe(filepath.Join(root, daemonFolder, "Makefile"))
	v := r.Var("PKG_VERSION")
	if err != nil || v == "" || strings.Contains(v, "$") {
		return "0.1.0"
	}
	return v
}

func licence(r Recipe) string {
	if l := r.Var("PKG_LICENSE"); l != "" {
		return l
	}
	return "Apache-2.0"
}

// Written is one package file.
type Written struct {
	File string
	Size int64
}

// WriteBoth writes a package in both formats into folder, each checked by reading it back. Both formats of all
// architectures lie in one folder: apk's names lack the architecture, so theirs are in a folder of that name.
func WriteBoth(p Package, folder string) (ipk, apk Written, err error) {
	b, err := IPK(p)
	if err != nil {
		return Written{}, Written{}, err
	}
	if err := checkBack(p, b, true); err != nil {
		return Written{}, Written{}, err
	}
	if ipk, err = write(filepath.Join(folder, p.Arch, IPKName(p)), b); err != nil {
		return Written{}, Written{}, err
	}
	if b, err = APK(p); err != nil {
		return Written{}, Written{}, err
	}
	if err := checkBack(p, b, false); err != nil {
		return Written{}, Written{}, err
	}
	apk, err = write(filepath.Join(folder, p.Arch, APKName(p)), b)
	return ipk, apk, err
}

func write(file string, b []byte) (Written, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return Written{}, err
	}
	return Written{file, int64(len(b))}, os.WriteFile(file, b, 0o644)
}

// checkBack reads a package again and compares each file.
func checkBack(p Package, b []byte, ipk bool) error {
	var files []File
	if ipk {
		c, err := ReadIPK(b)
		if err != nil {
			return err
		}
		files = c.Files
	} else {
		c, err := ReadAPK(b)
		if err != nil {
			return err
		}
		files = c.Files
	}
	for _, want := range p.Files {
		i := slices.IndexFunc(files, func(f File) bool { return f.Path == want.Path })
		if i < 0 || files[i].Mode != want.Mode.Perm() || string(files[i].Data) != string(want.Data) {
			return fmt.Errorf("package %s: %s doesn't come back as it was written", p.Name, want.Path)
		}
	}
	return nil
}
