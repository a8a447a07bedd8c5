// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// SBOM lists what a binary is made of, in CycloneDX 1.5 JSON: the modules from its own build information with their
// licences, and the Go that built it. It holds no time and no random number, so that the same binary gives the same list.
func SBOM(binary, version string, licences map[string]string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read build information of %s: %w", binary, err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	main := component{
		Type: "application", Ref: "spillway", Name: "spillway", Version: version,
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}, Licences: licenceOf("Apache-2.0"),
	}
	std := component{Type: "library", Ref: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"), Name: "std", Version: info.GoVersion, Licences: licenceOf("BSD-3-Clause")}
	std.PURL = std.Ref
	bom := document{
		Format: "CycloneDX", Spec: "1.5", Version: 1,
		Serial:   "urn:uuid:" + uuid(sum),
		Metadata: metadata{main},
	}
	bom.Components = append(bom.Components, std)
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		purl := "pkg:golang/" + d.Path + "@" + d.Version
		bom.Components = append(bom.Components, component{
			Type: "library", Ref: purl, PURL: purl, Name: d.Path, Version: d.Version, Licences: licenceOf(licences[d.Path]),
			Properties: []property{{"go:sum", d.Sum}},
		})
	}
	var refs []string
	for _, c := range bom.Components {
		refs = append(refs, c.Ref)
	}
	slices.Sort(refs)
	bom.Dependencies = []dependency{{"spillway", refs}}
	out, err := json.MarshalIndent(bom, "", "  ")
	return append(out, '\n'), err
}

// uuid makes a name-based UUID of a hash (RFC 9562 version 8).
func uuid(sum [32]byte) string {
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	h := hex.EncodeToString(u)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func licenceOf(id string) []licenceEntry {
	if id == "" {
		return nil
	}
	return []licenceEntry{{licenceID{id}}}
}

// The part of CycloneDX that we write (https://cyclonedx.org/docs/1.5/json).
type (
	document struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type       string         `json:"type"`
		Ref        string         `json:"bom-ref"`
		Name       string         `json:"name"`
		Version    string         `json:"version"`
		PURL       string         `json:"purl,omitempty"`
		Hashes     []hash         `json:"hashes,omitempty"`
		Licences   []licenceEntry `json:"licenses,omitempty"`
		Properties []property     `json:"properties,omitempty"`
	}
	hash struct {
		Alg     string `json:"alg"`
		Content string `json:"content"`
	}
	licenceEntry struct {
		Licence licenceID `json:"license"`
	}
	licenceID struct {
		ID string `json:"id"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	}
)

// Sums writes SHA256SUMS for all files below folder, in the form of sha256sum(1).
func Sums(folder string) (string, error) {
	var out strings.Builder
	err := eachFile(folder, func(name string, data []byte) {
		if path.Base(name) != "SHA256SUMS" {
			fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(data), name)
		}
	})
	if err != nil {
		return "", err
	}
	return out.String(), os.WriteFile(filepath.Join(folder, "SHA256SUMS"), []byte(out.String()), 0o644)
}
