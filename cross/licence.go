// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Module is one module of others that something of ours is compiled with.
type Module struct {
	Path, Version, Licence string
	Linked                 bool // into the router's binary; else only in the concentrator, tools or tests
}

// allowed are the licences that a router's firmware may contain without further duties than a notice.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}

// Audit finds the licence of every module that the packages and tests of root are compiled with.
func Audit(root string) ([]Module, error) {
	linked, err := list(root, false, ".")
	if err != nil {
		return nil, err
	}
	all, err := list(root, true, "./...")
	if err != nil {
		return nil, err
	}
	var out []Module
	for path, m := range all {
		id, err := licenceOfFolder(m.Dir)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", path, m.Version, err)
		}
		_, in := linked[path]
		out = append(out, Module{path, m.Version, id, in})
	}
	slices.SortFunc(out, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// Refused lists the modules whose licence isn't allowed.
func Refused(ms []Module) []string {
	var out []string
	for _, m := range ms {
		if !slices.Contains(allowed, m.Licence) {
			out = append(out, fmt.Sprintf("%s %s: licence %q isn't one of %s", m.Path, m.Version, m.Licence, strings.Join(allowed, ", ")))
		}
	}
	return out
}

type listedModule struct {
	Path, Version, Dir string
	Main               bool
}

// list asks Go for the modules behind packages.
func list(root string, tests bool, pattern string) (map[string]listedModule, error) {
	args := []string{"list", "-deps", "-json=Module"}
	if tests {
		args = append(args, "-test")
	}
	cmd := exec.Command("go", append(args, pattern)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.Bytes())
	}
	out := map[string]listedModule{}
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var p struct{ Module *listedModule }
		err := d.Decode(&p)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		if p.Module != nil && !p.Module.Main {
			out[p.Module.Path] = *p.Module
		}
	}
}

// licenceOfFolder reads the licence file of a module.
func licenceOfFolder(dir string) (string, error) {
	for _, name := range []string{"LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING", "LICENCE"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			return Identify(string(b)), nil
		}
	}
	return "", errors.New("no licence file in the module")
}

// Identify tells a licence by the sentences that only it has; "" when it is none that we know.
func Identify(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("GNU GENERAL PUBLIC LICENSE"), has("GNU LESSER GENERAL PUBLIC LICENSE"), has("GNU AFFERO"), has("Mozilla Public License"):
		return "copyleft"
	case has("Apache License Version 2.0"), has("Apache License, Version 2.0"):
		return "Apache-2.0"
	case has("Permission is hereby granted, free of charge, to any person obtaining a copy"):
		return "MIT"
	case has("Redistribution and use in source and binary forms") && (has("endorse or promote products")):
		return "BSD-3-Clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	case has("Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"):
		return "ISC"
	}
	return ""
}
