// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// APKContent is what a reader finds in an .apk.
type APKContent struct {
	Name, Version, Arch, Description, License string
	Installed                                 uint64
	Depends                                   []string
	Scripts                                   map[int]string // by field number
	Files                                     []File
}

// maxAPK bounds what is unpacked: no router has the flash for more.
const maxAPK = 256 << 20

// ReadAPK takes a package apart and checks everything that apk checks: identity, sizes, hashes, places.
func ReadAPK(b []byte) (APKContent, error) {
	plain, err := inflate(b)
	if err != nil {
		return APKContent{}, fmt.Errorf("read apk: %w", err)
	}
	if len(plain) < 8 || string(plain[:4]) != "ADB." || [4]byte(plain[4:8]) != adbSchemaPackage {
		return APKContent{}, errors.New("read apk: not a package database")
	}
	kind, db, rest, err := nextBlock(plain[8:])
	if err != nil || kind != blockADB || len(db) < 8 {
		return APKContent{}, fmt.Errorf("read apk: no database first: %w", errors.Join(err, errADB))
	}
	data := map[[2]uint32][]byte{}
	for len(rest) > 0 {
		var body []byte
		if kind, body, rest, err = nextBlock(rest); err != nil {
			return APKContent{}, fmt.Errorf("read apk: %w", err)
		}
		if kind != blockData {
			continue
		}
		if len(body) < 8 {
			return APKContent{}, fmt.Errorf("read apk: data block: %w", errADB)
		}
		le := binary.LittleEndian
		data[[2]uint32{le.Uint32(body), le.Uint32(body[4:])}] = body[8:]
	}
	return readPackage(db, data)
}

func readPackage(db []byte, data map[[2]uint32][]byte) (APKContent, error) {
	r := &adbReader{b: db}
	root := r.root()
	info := r.field(root, pkgInfo)
	c := APKContent{
		Name: r.text(r.field(info, infoName)), Version: r.text(r.field(info, infoVersion)), Arch: r.text(r.field(info, infoArch)),
		Description: r.text(r.field(info, infoDescription)), License: r.text(r.field(info, infoLicense)),
		Installed: r.number(r.field(info, infoInstalled)), Scripts: map[int]string{},
	}
	if err := checkID(db, r.field(info, infoID)); err != nil {
		return APKContent{}, err
	}
	deps := r.field(info, infoDepends)
	for i := range r.len(deps) {
		c.Depends = append(c.Depends, r.text(r.field(r.field(deps, i+1), 1)))
	}
	scripts := r.field(root, pkgScripts)
	for i := range r.len(scripts) {
		if s := r.text(r.field(scripts, i+1)); s != "" {
			c.Scripts[i+1] = s
		}
	}
	paths := r.field(root, pkgPaths)
	for i := range r.len(paths) {
		dir := r.field(paths, i+1)
		files := r.field(dir, dirFiles)
		if len(c.Files)+r.len(files) > len(db) { // arrays that share their elements would multiply without end
			return APKContent{}, fmt.Errorf("read apk: more files than the database has room for: %w", errADB)
		}
		for j := range r.len(files) {
			f := r.field(files, j+1)
			body := data[[2]uint32{uint32(i + 1), uint32(j + 1)}]
			name := path.Join(r.text(r.field(dir, dirName)), r.text(r.field(f, fileName)))
			sum := sha256.Sum256(body)
			if uint64(len(body)) != r.number(r.field(f, fileSize)) || !bytes.Equal(sum[:], r.blob(r.field(f, fileHash))) {
				return APKContent{}, fmt.Errorf("read apk: %s: size or hash differ from the database", name)
			}
			mode := fs.FileMode(r.number(r.field(r.field(f, fileACL), 1)))
			c.Files = append(c.Files, File{Path: name, Mode: mode, Data: body})
		}
	}
	return c, r.err
}

// checkID compares the identity with the hash of the database without it.
func checkID(db []byte, v adbValue) error {
	at := int(v&^adbMask) + 1
	if v&adbMask != adbBlob8 || at+idLen > len(db) || db[at-1] != idLen {
		return fmt.Errorf("read apk: identity: %w", errADB)
	}
	without := bytes.Clone(db)
	clear(without[at : at+idLen])
	sum := sha256.Sum256(without)
	if !bytes.Equal(sum[:idLen], db[at:at+idLen]) {
		return errors.New("read apk: the identity isn't the hash of the database")
	}
	return nil
}

func inflate(b []byte) ([]byte, error) {
	packed, ok := bytes.CutPrefix(b, []byte("ADBd"))
	if !ok {
		return b, nil
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxAPK+1))
	if err == nil && len(out) > maxAPK {
		err = fmt.Errorf("more than %d octets unpacked", maxAPK)
	}
	return out, err
}
