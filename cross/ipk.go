// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// IPK makes a package for opkg (OpenWrt up to 24.10): a gzipped tar of debian-binary, data.tar.gz and control.tar.gz.
// The same Package gives the same octets.
func IPK(p Package) ([]byte, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	var entries []entry
	for _, d := range folders(p.Files)[1:] {
		entries = append(entries, entry{name: d + "/", mode: 0o755})
	}
	for _, f := range p.Files {
		entries = append(entries, entry{f.Path, int64(f.Mode), f.Data})
	}
	data, err := tarball(p.Time, entries, true)
	if err != nil {
		return nil, err
	}
	packed, err := zip(data)
	if err != nil {
		return nil, err
	}
	control, err := ipkControl(p, len(data))
	if err != nil {
		return nil, err
	}
	outer, err := tarball(p.Time, []entry{
		{"debian-binary", 0o644, []byte("2.0\n")},
		{"data.tar.gz", 0o644, packed},
		{"control.tar.gz", 0o644, control},
	}, false)
	if err != nil {
		return nil, err
	}
	return zip(outer)
}

// IPKName is the file name that opkg's index wants.
func IPKName(p Package) string { return p.Name + "_" + p.Version + "_" + p.Arch + ".ipk" }

// ipkControl makes control.tar.gz. installed is the size of the uncompressed data archive.
func ipkControl(p Package, installed int) ([]byte, error) {
	entries := []entry{{"control", 0o644, []byte(ipkStanza(p, installed))}}
	if conf := p.confFiles(); len(conf) > 0 {
		entries = append(entries, entry{"conffiles", 0o644, []byte(strings.Join(conf, "\n") + "\n")})
	}
	entries = append(entries, entry{"postinst", 0o755, []byte(ipkPostinst)}, entry{"prerm", 0o755, []byte(ipkPrerm)})
	if p.PostInst != "" {
		entries = append(entries, entry{"postinst-pkg", 0o755, []byte(p.PostInst)})
	}
	b, err := tarball(p.Time, entries, true)
	if err != nil {
		return nil, err
	}
	return zip(b)
}

func ipkStanza(p Package, installed int) string {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	field("Package", p.Name)
	field("Version", p.Version)
	field("Depends", strings.Join(p.Depends, ", "))
	field("License", p.License)
	field("Section", p.Section)
	field("SourceDateEpoch", strconv.FormatInt(p.Time.Unix(), 10))
	field("Maintainer", p.Maintainer)
	field("Architecture", p.Arch)
	field("Installed-Size", strconv.Itoa(installed))
	field("Description", strings.ReplaceAll(strings.TrimSpace(p.Description), "\n", "\n "))
	return b.String()
}

// The scripts call OpenWrt's own functions, which enable and start the services of the package, run its uci-defaults
// and reload what must be; on a machine that isn't OpenWrt they do nothing.
const (
	ipkPostinst = `#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_postinst $0 $@
`
	ipkPrerm = `#!/bin/sh
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_prerm $0 $@
`
)

// entry is one member of a tar; a folder's name ends with a slash.
type entry struct {
	name string
	mode int64
	data []byte
}

// tarball writes a GNU tar with numeric owner 0 and one time for all. root adds "./" itself, as opkg's own archives have.
func tarball(at time.Time, entries []entry, root bool) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if root {
		entries = append([]entry{{name: "", mode: 0o755}}, entries...)
	}
	for _, e := range entries {
		h := tar.Header{Format: tar.FormatGNU, Name: "./" + e.name, Mode: e.mode, Size: int64(len(e.data)), ModTime: at, Typeflag: tar.TypeReg}
		if e.name == "" || strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("tar %s: %w", e.name, err)
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, fmt.Errorf("tar %s: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// zip packs with gzip, without name and time.
func zip(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w.Header.OS = 3 // Unix, whoever builds
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
