// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// The peers that come through the Go module proxy.
const (
	singBox = "github.com/sagernet/sing-box/cmd/sing-box@v1.12.12"
	xray    = "github.com/xtls/xray-core/main@v1.251202.0"
)

// Programs are where the contestants are.
type Programs struct {
	Self                   string // this program, for server and client
	Spillway, Concentrator string
	C, Go                  string // yardsticks
	root                   string // of the source
	others                 map[string]string
	versions               map[string]string
}

// find gives the path of an installed peer, "" without.
func (p Programs) find(name string) string { return p.others[name] }

// Build makes what is measured below root/build (SPILLWAY_BIN names another directory for the daemon, and for the concentrator if it is there): the two
// programs as they are in the tree now, the yardsticks, and the peers written in Go, which may take so long together. What can't be had is named when its
// turn comes.
func Build(ctx context.Context, root string, patience time.Duration, log io.Writer) (p Programs, err error) {
	p.root = root
	dir := filepath.Join(root, "build", "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, err
	}
	if p.Self, err = os.Executable(); err != nil {
		return p, err
	}
	p.C, p.Go = filepath.Join(dir, "crelay"), filepath.Join(dir, "gocopy")
	p.Spillway, p.Concentrator = filepath.Join(root, "build", "spillway"), filepath.Join(root, "build", "spillway-concentrator")
	given := os.Getenv("SPILLWAY_BIN")
	if given == "" {
		if err := command(ctx, root, nil, "make", "-s", "all"); err != nil {
			return p, err
		}
	}
	for _, c := range [][]string{
		{"cc", "-O2", "-o", p.C, "testbed/bench/yardstick/relay.c"},
		{"go", "build", "-trimpath", "-o", p.Go, "./testbed/bench/yardstick/gocopy"},
	} {
		if err := command(ctx, root, nil, c...); err != nil {
			return p, err
		}
	}
	if given != "" {
		p.Spillway = filepath.Join(given, "spillway")
		if far := filepath.Join(given, "spillway-concentrator"); exists(far) {
			p.Concentrator = far
		}
	}
	for _, path := range []string{p.Spillway, p.Concentrator} {
		if _, err := os.Stat(path); err != nil {
			return p, fmt.Errorf("%w (make all builds it)", err)
		}
	}
	p.others = map[string]string{}
	for _, name := range []string{"haproxy", "redsocks", "microsocks", "ss-redir", "ss-server", "mptcpize"} {
		p.others[name], _ = exec.LookPath(name)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for name, source := range map[string]string{"sing-box": singBox, "xray": xray} {
		path := filepath.Join(dir, name)
		if err := install(ctx, path, source); err != nil {
			fmt.Fprintf(log, "%s: %v\n", name, firstLine(err))
			continue
		}
		p.others[name] = path
	}
	p.versions = p.ask()
	return p, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// install builds a program of a module, once.
func install(ctx context.Context, path, source string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	tmp, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := command(ctx, tmp, append(os.Environ(), "GOBIN="+tmp, "CGO_ENABLED=0", "GOFLAGS="), "go", "install", "-trimpath", source); err != nil {
		return err
	}
	made, err := filepath.Glob(tmp + "/*")
	if err != nil || len(made) != 1 {
		return fmt.Errorf("install %s: no program came of it", source)
	}
	b, err := os.ReadFile(made[0])
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o755)
}

// ask finds the versions of what is there.
func (p Programs) ask() map[string]string {
	all := map[string]string{}
	number := regexp.MustCompile(`\d+\.\d+[\w.+~-]*`)
	for name, c := range map[string][]string{
		"HAProxy": {p.others["haproxy"], "-v"}, "sing-box": {p.others["sing-box"], "version"}, "xray": {p.others["xray"], "version"},
		"C compiler": {"cc", "--version"}, "Go": {"go", "version"}, "Spillway": {p.Spillway, "version"},
		"redsocks":          {"dpkg-query", "-W", "-f", "${Version}", "redsocks"},
		"microsocks":        {"dpkg-query", "-W", "-f", "${Version}", "microsocks"},
		"shadowsocks-libev": {"dpkg-query", "-W", "-f", "${Version}", "shadowsocks-libev"},
	} {
		if c[0] == "" {
			continue
		}
		out, err := exec.Command(c[0], c[1:]...).CombinedOutput()
		line, _, _ := strings.Cut(string(out), "\n")
		switch {
		case err != nil:
		case name == "Spillway":
			all[name] = line
		case name == "sing-box": // built without the stamp
			all[name] = singBox[strings.LastIndexByte(singBox, '@')+1:]
		default:
			all[name] = number.FindString(line)
		}
	}
	return all
}

func command(ctx context.Context, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
