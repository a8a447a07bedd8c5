// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"spillway/testbed/world"
)

// Debian fetches packages of any architecture by name into a cache, without touching the system's own packages: apt works
// in a directory of its own for each suite and architecture. What has been unpacked once needs no network again.
type Debian struct {
	Dir string                        // the cache
	Log func(format string, a ...any) // hears what takes long
}

// Kernel unpacks a kernel with its modules and returns the directory.
func (d Debian) Kernel(k Kernel) (string, error) {
	if k.Built != "" {
		dir := filepath.Join(d.Dir, k.Built)
		if _, err := os.Stat(filepath.Join(dir, "boot")); err != nil {
			return "", fmt.Errorf("a kernel of our own is needed (make qemu-be builds it): %w", err)
		}
		return dir, nil
	}
	return d.once(filepath.Join(d.Dir, "kernel", k.Arch+"-"+k.Suite), func(dir string) error {
		apt, err := d.apt(k.Arch, k.Suite)
		if err != nil {
			return err
		}
		return apt.unpackKernel(k.Package, dir)
	})
}

// unpackKernel unpacks a package and those parts of a kernel that it depends on: the image, the modules.
func (a apt) unpackKernel(pkg, dir string) error {
	deb, err := a.download(pkg)
	if err != nil {
		return err
	}
	if _, err := output("dpkg-deb", "-x", deb, dir); err != nil {
		return err
	}
	depends, err := output("dpkg-deb", "-f", deb, "Depends")
	if err != nil {
		return err
	}
	for part := range strings.SplitSeq(depends, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), " ")
		if strings.HasPrefix(name, "linux-image-") || strings.HasPrefix(name, "linux-modules-") || strings.HasPrefix(name, "linux-binary-") {
			if err := a.unpackKernel(name, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// Userland unpacks busybox and nft with all libraries and returns the directory.
func (d Debian) Userland(arch string) (string, error) {
	return d.once(filepath.Join(d.Dir, "userland", arch), func(dir string) error {
		apt, err := d.apt(arch, stable)
		if err != nil {
			return err
		}
		d.log("fetching busybox and nft for %s", arch)
		return apt.unpackWithLibraries(dir, "busybox-static", "nftables")
	})
}

// Tools unpacks ip with all libraries, for those who break a guest's network by hand, and returns the directory.
func (d Debian) Tools(arch string) (string, error) {
	return d.once(filepath.Join(d.Dir, "tools", arch), func(dir string) error {
		apt, err := d.apt(arch, stable)
		if err != nil {
			return err
		}
		d.log("fetching iproute2 for %s", arch)
		return apt.unpackWithLibraries(dir, "iproute2")
	})
}

// unpackWithLibraries unpacks packages and all that they depend on.
func (a apt) unpackWithLibraries(dir string, packages ...string) error {
	install := append([]string{"-qq", "-y", "--no-install-recommends", "--download-only", "install"}, packages...)
	if err := a.run("", "apt-get", install...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "cache", "archives", "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if strings.HasPrefix(filepath.Base(deb), "linux-") {
			continue
		}
		if _, err := output("dpkg-deb", "-x", deb, dir); err != nil {
			return err
		}
	}
	return nil
}

// once lets fn fill a directory, all of it or not at all.
func (d Debian) once(dir string, fn func(string) error) (string, error) {
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := dir + ".part"
	os.RemoveAll(part)
	if err := os.MkdirAll(part, 0o755); err != nil {
		return "", err
	}
	if err := fn(part); err != nil {
		return "", err
	}
	return dir, os.Rename(part, dir)
}

func (d Debian) log(format string, a ...any) {
	if d.Log != nil {
		d.Log(format, a...)
	}
}

// apt is apt's own world for one suite and architecture.
type apt struct {
	Debian
	dir string
}

// apt prepares it and reads the suite's list of packages, unless that was done within the last day.
func (d Debian) apt(arch, suite string) (apt, error) {
	a := apt{d, filepath.Join(d.Dir, "apt", arch+"-"+suite)}
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial", "parts"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return a, err
		}
	}
	mirror, err := mirror()
	if err != nil {
		return a, err
	}
	conf := fmt.Sprintf(`Dir::State "%[1]s/state"; Dir::State::status "%[1]s/status"; Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/sources.list"; Dir::Etc::sourceparts "%[1]s/parts";
APT::Architecture "%[2]s"; APT::Architectures { "%[2]s"; }; APT::Sandbox::User "root"; Acquire::Languages "none";
DPkg::Lock::Timeout "300"; Acquire::Retries "3"; Acquire::http::Timeout "60"; Acquire::https::Timeout "60";
`, a.dir, arch)
	for name, text := range map[string]string{
		"apt.conf": conf, "status": "",
		"sources.list": "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + mirror + " " + suite + " main\n",
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return a, err
		}
	}
	fresh := filepath.Join(a.dir, "updated")
	if s, err := os.Stat(fresh); err == nil && time.Since(s.ModTime()) < 24*time.Hour {
		return a, nil
	}
	d.log("reading the package list of %s for %s", suite, arch)
	if err := a.run("", "apt-get", "-qq", "update", "--error-on=any"); err != nil {
		return a, err
	}
	return a, os.WriteFile(fresh, nil, 0o644)
}

// download fetches one package and returns its file.
func (a apt) download(pkg string) (string, error) {
	pattern := filepath.Join(a.dir, "cache", "archives", pkg+"_*.deb")
	if found, _ := filepath.Glob(pattern); len(found) > 0 {
		return found[len(found)-1], nil
	}
	a.log("fetching %s", pkg)
	if err := a.run(filepath.Join(a.dir, "cache", "archives"), "apt-get", "-qq", "download", pkg); err != nil {
		return "", fmt.Errorf("fetch package %s: %w", pkg, err)
	}
	found, _ := filepath.Glob(pattern)
	if len(found) == 0 {
		return "", fmt.Errorf("fetch package %s: apt-get left no file", pkg)
	}
	return found[len(found)-1], nil
}

// fetchLimit is how long one command of apt may take; a list of packages is 10 MB, a kernel 100 MB.
const fetchLimit = 5 * time.Minute

// run has apt do something in a directory ("": ours). What a mirror could not give is asked for twice more, after a while.
func (a apt) run(dir, name string, args ...string) (err error) {
	for pause := 10 * time.Second; pause <= time.Minute; pause *= 2 {
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env, cmd.WaitDelay = dir, a.env(), 10*time.Second
		out, failed := cmd.CombinedOutput()
		cancel()
		if failed == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), failed, out)
		a.log("again in %v: %v", pause, err)
		time.Sleep(pause)
	}
	return err
}

// mirror is the address of the archive that the machine's own apt uses.
func mirror() (string, error) {
	root, err := world.Root()
	if err != nil {
		return "", err
	}
	out, err := output("sh", filepath.Join(root, "testbed/qemu/mirror"))
	return strings.TrimSpace(out), err
}

func (a apt) env() []string {
	return append(os.Environ(), "APT_CONFIG="+filepath.Join(a.dir, "apt.conf"), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
}

// output runs a command and returns what it printed.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if exit, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
