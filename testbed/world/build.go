// SPDX-License-Identifier: Apache-2.0

package world

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Binaries are the paths of the programs of a world.
type Binaries struct{ Spillway, Concentrator, Traffic string }

// ErrNotYet: a program does not exist in this tree.
var ErrNotYet = errors.New("not in this tree yet")

// Build builds the programs, once per process, into a directory that the build cache makes cheap to fill. SPILLWAY_BIN
// names a directory with spillway and spillway-concentrator built already. With ErrNotYet the other programs are there.
var Build = sync.OnceValues(func() (b Binaries, err error) {
	root, err := Root()
	if err != nil {
		return b, err
	}
	dir := filepath.Join(root, "build", "testbed")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return b, err
	}
	given := os.Getenv("SPILLWAY_BIN")
	var missing error
	for _, p := range []struct {
		path    *string
		name    string
		source  string
		ofGiven bool
	}{
		{&b.Spillway, "spillway", ".", true},
		{&b.Concentrator, "spillway-concentrator", "./concentrator/cmd/spillway-concentrator", true},
		{&b.Traffic, "traffic", "./testbed/cmd/traffic", false},
	} {
		if p.ofGiven && given != "" {
			*p.path = filepath.Join(given, p.name)
			continue
		}
		*p.path = filepath.Join(dir, p.name)
		if files, _ := filepath.Glob(filepath.Join(root, p.source, "*.go")); len(files) == 0 {
			missing = fmt.Errorf("program %s: %w", p.name, ErrNotYet)
			continue
		}
		cmd := exec.Command("go", "build", "-trimpath", "-o", *p.path, p.source)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("build %s: %w\n%s", p.name, err, out)
		}
	}
	return b, missing
})

// Root is the directory of the module.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module's directory: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("this is no directory of the source tree: run it there")
	}
	return filepath.Dir(mod), nil
}
