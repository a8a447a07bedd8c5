// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// IPKContent is what a reader finds in an .ipk.
type IPKContent struct {
	Control map[string]string
	Scripts map[string]string // conffiles too
	Files   []File
}

// ReadIPK takes a package apart, in the order and form in which opkg reads it.
func ReadIPK(b []byte) (IPKContent, error) {
	outer, err := untar(b)
	if err != nil {
		return IPKContent{}, fmt.Errorf("read ipk: %w", err)
	}
	if len(outer) != 3 || outer[0].name != "debian-binary" || string(outer[0].data) != "2.0\n" ||
		outer[1].name != "data.tar.gz" || outer[2].name != "control.tar.gz" {
		return IPKContent{}, errors.New("read ipk: members aren't debian-binary, data.tar.gz, control.tar.gz")
	}
	data, err := untar(outer[1].data)
	if err != nil {
		return IPKContent{}, fmt.Errorf("read data.tar.gz: %w", err)
	}
	control, err := untar(outer[2].data)
	if err != nil {
		return IPKContent{}, fmt.Errorf("read control.tar.gz: %w", err)
	}
	c := IPKContent{Control: map[string]string{}, Scripts: map[string]string{}}
	for _, e := range control {
		if e.name != "control" {
			c.Scripts[e.name] = string(e.data)
			continue
		}
		key := ""
		for line := range strings.Lines(string(e.data)) {
			line = strings.TrimSuffix(line, "\n")
			if more, ok := strings.CutPrefix(line, " "); ok {
				c.Control[key] += "\n" + more
				continue
			}
			var value string
			key, value, _ = strings.Cut(line, ": ")
			c.Control[key] = value
		}
	}
	conf := "\n" + c.Scripts["conffiles"]
	for _, e := range data {
		c.Files = append(c.Files, File{e.name, fs.FileMode(e.mode), e.data, strings.Contains(conf, "\n/"+e.name+"\n")})
	}
	return c, nil
}

// untar reads the regular files of a gzipped tar.
func untar(b []byte) ([]entry, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var out []entry
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		out = append(out, entry{strings.TrimPrefix(h.Name, "./"), h.Mode, data})
	}
}
