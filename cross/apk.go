// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Fields of a package's database (apk-tools: src/apk_adb.h).
const (
	pkgInfo, pkgPaths, pkgScripts = 1, 2, 3

	infoName, infoVersion, infoID, infoDescription, infoArch, infoLicense = 1, 2, 3, 4, 5, 6
	infoMaintainer, infoBuildTime, infoInstalled, infoDepends             = 8, 0xb, 0xc, 0xf

	dirName, dirACL, dirFiles                            = 1, 2, 3
	fileName, fileACL, fileSize, fileTime, fileHash      = 1, 2, 3, 4, 5
	scriptPostInstall, scriptPreDeinstall, scriptUpgrade = 3, 4, 7

	idLen = 20
)

// APK makes a package for apk 3 (OpenWrt from 25.12): a database of what is in it, then the files' contents, unsigned
// as the packages of a feed are. The same Package gives the same octets.
func APK(p Package) ([]byte, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	p.Files = append(p.Files, apkLists(p)...)
	if err := p.validate(); err != nil {
		return nil, err
	}
	b := append([]byte("ADB."), adbSchemaPackage[:]...)
	b = appendBlock(b, blockADB, apkDatabase(p))
	for i, d := range folders(p.Files) {
		for j, f := range filesIn(p.Files, d) {
			if len(f.Data) > 0 { // an empty file has no block
				index := binary.LittleEndian.AppendUint32(nil, uint32(i+1))
				b = appendBlock(b, blockData, binary.LittleEndian.AppendUint32(index, uint32(j+1)), f.Data)
			}
		}
	}
	return deflate(b)
}

// APKName is the file name that apk wants.
func APKName(p Package) string { return p.Name + "-" + p.Version + ".apk" }

// apkLists are the files that OpenWrt's scripts read on the router.
func apkLists(p Package) []File {
	var list, static strings.Builder
	for _, f := range p.Files {
		fmt.Fprintf(&list, "/%s\n", f.Path)
		if f.Conf {
			sum := sha256.Sum256(f.Data)
			fmt.Fprintf(&static, "/%s %s\n", f.Path, hex.EncodeToString(sum[:]))
		}
	}
	base := "lib/apk/packages/" + p.Name
	out := []File{{Path: base + ".list", Mode: 0o644, Data: []byte(list.String())}}
	if conf := p.confFiles(); len(conf) > 0 {
		out = append(out,
			File{Path: base + ".conffiles", Mode: 0o644, Data: []byte(strings.Join(conf, "\n") + "\n")},
			File{Path: base + ".conffiles_static", Mode: 0o644, Data: []byte(static.String())})
	}
	return out
}

// apkDatabase writes the package object. The package's identity is the hash of the database with its own place empty.
func apkDatabase(p Package) []byte {
	w := newADB()
	id := w.append(1, append([]byte{idLen}, make([]byte, idLen)...)) // never shared with an equal blob
	info := apkInfo(w, p, adbBlob8|adbValue(id))
	paths := apkPaths(w, p)
	install := apkScript(p.Name, "", "default_postinst") + p.PostInst
	scripts := make([]adbValue, scriptUpgrade)
	scripts[scriptPostInstall-1] = w.text(install)
	scripts[scriptPreDeinstall-1] = w.text(apkScript(p.Name, "", "default_prerm"))
	scripts[scriptUpgrade-1] = w.text(apkScript(p.Name, "export PKG_UPGRADE=1\n", "default_postinst") + p.PostInst)
	b := w.finish(w.object(info, paths, w.object(scripts...)))
	sum := sha256.Sum256(b)
	copy(b[id+1:], sum[:idLen])
	return b
}

func apkInfo(w *adbWriter, p Package, id adbValue) adbValue {
	var installed int
	for _, f := range p.Files {
		installed += len(f.Data)
	}
	arch := p.Arch
	if arch == "all" {
		arch = "noarch"
	}
	var depends []adbValue
	for _, d := range slices.Compact(slices.Sorted(slices.Values(p.Depends))) {
		depends = append(depends, w.object(w.text(d)))
	}
	info := make([]adbValue, infoDepends)
	info[infoID-1] = id
	info[infoDepends-1] = w.array(depends)
	info[infoName-1] = w.text(p.Name)
	info[infoVersion-1] = w.text(p.Version)
	info[infoDescription-1] = w.text(strings.TrimSpace(p.Description))
	info[infoArch-1] = w.text(arch)
	info[infoLicense-1] = w.text(p.License)
	info[infoMaintainer-1] = w.text(p.Maintainer)
	info[infoBuildTime-1] = w.number(uint64(p.Time.Unix()))
	info[infoInstalled-1] = w.number(uint64(installed))
	return w.object(info...)
}

// apkPaths writes the folders and their files, both sorted by name.
func apkPaths(w *adbWriter, p Package) adbValue {
	acl := func(mode uint64) adbValue { return w.object(w.number(mode), w.text("root"), w.text("root")) }
	var dirs []adbValue
	for _, d := range folders(p.Files) {
		var files []adbValue
		for _, f := range filesIn(p.Files, d) {
			sum := sha256.Sum256(f.Data)
			files = append(files, w.object(w.text(path.Base(f.Path)), acl(uint64(f.Mode.Perm())),
				w.number(uint64(len(f.Data))), w.number(uint64(p.Time.Unix())), w.blob(sum[:])))
		}
		dirs = append(dirs, w.object(w.text(d), acl(0o755), w.array(files)))
	}
	return w.array(dirs)
}

// filesIn lists the files directly in a folder, sorted by name.
func filesIn(files []File, folder string) []File {
	var out []File
	for _, f := range files {
		d := path.Dir(f.Path)
		if d == "." {
			d = ""
		}
		if d == folder {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// apkScript is what OpenWrt's own build writes: it hands over to the functions of /lib/functions.sh.
func apkScript(name, before, call string) string {
	s := "#!/bin/sh\n"
	if call == "default_postinst" {
		s += "[ \"${IPKG_NO_SCRIPT}\" = \"1\" ] && exit 0\n"
	}
	s += "[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n" +
		". ${IPKG_INSTROOT}/lib/functions.sh\n" + before +
		"export root=\"${IPKG_INSTROOT}\"\n" +
		"export pkgname=\"" + name + "\"\n"
	if call == "default_postinst" {
		s += "add_group_and_user\n"
	}
	return s + call + "\n"
}

// deflate packs a whole file the way apk marks with "ADBd".
func deflate(b []byte) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("ADBd")
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
