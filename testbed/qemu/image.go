// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"spillway/testbed/world"
)

// Image is what a guest boots: a kernel and an initramfs.
type Image struct {
	Kernel, Initramfs string // paths
	Bin               string // directory of the programs built for the guest
	Tools             string // directory of ip and its libraries; "": none
}

// Prepare fetches, builds and packs what a guest needs, in the cache. tools has it bring ip along, for faults that
// somebody at the console makes.
func (d Debian) Prepare(g Guest, tools bool) (Image, error) {
	kernel, err := d.Kernel(g.Kernel)
	if err != nil {
		return Image{}, fmt.Errorf("guest %s: %w", g.Name, err)
	}
	userland := "" // no Debian release has any
	programs := map[string]string{"spillway": ".", "init": "./testbed/qemu/guest/init"}
	if g.Userland == "" {
		programs["nft"] = "./testbed/qemu/guest/nft"
	} else {
		if userland, err = d.Userland(g.Userland); err != nil {
			return Image{}, fmt.Errorf("guest %s: %w", g.Name, err)
		}
	}
	dir := filepath.Join(d.Dir, "guest", g.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Image{}, err
	}
	image := Image{Bin: dir, Initramfs: filepath.Join(dir, "initramfs")}
	if tools && g.Userland != "" {
		if image.Tools, err = d.Tools(g.Userland); err != nil {
			return Image{}, fmt.Errorf("guest %s: %w", g.Name, err)
		}
		image.Initramfs += "-ip" // one who wants none may pack at the same time
	}
	if image.Kernel, err = kernelImage(kernel); err != nil {
		return image, fmt.Errorf("guest %s: %w", g.Name, err)
	}
	for program, source := range programs {
		if err := build(filepath.Join(dir, program), source, g.Build); err != nil {
			return image, err
		}
	}
	return image, image.pack(kernel, userland)
}

// kernelImage is the file that boots, of an unpacked kernel.
func kernelImage(kernel string) (string, error) {
	images, _ := filepath.Glob(filepath.Join(kernel, "boot/vmlinu*"))
	if len(images) == 0 { // as kernels are packed since 2026
		images, _ = filepath.Glob(filepath.Join(kernel, "usr/lib/modules/*/vmlinu*"))
	}
	if len(images) != 1 {
		return "", fmt.Errorf("%d kernels in %s", len(images), kernel)
	}
	return images[0], nil
}

// build compiles a program for a guest. An image of the same programs is the same octets.
func build(path, source string, env []string) error {
	root, err := world.Root()
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, source)
	cmd.Dir, cmd.Env = root, append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for %s: %w\n%s", source, strings.Join(env, " "), err, out)
	}
	return nil
}

// pack writes the initramfs.
func (i Image) pack(kernel, userland string) error {
	return pack(i.Initramfs,
		func(a *Archive) error { return i.programs(a, userland == "") },
		func(a *Archive) error { return i.system(a, userland) },
		func(a *Archive) error { return drivers(a, kernel, wanted) })
}

// pack writes what steps add as an initramfs, under another name until it is whole: two may want the same guest.
func pack(path string, steps ...func(*Archive) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "initramfs.*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	a := NewArchive(z)
	for _, step := range steps {
		if err := step(a); err != nil {
			return err
		}
	}
	return errors.Join(a.Close(), z.Close())
}

// programs adds those that were built for the guest.
func (i Image) programs(a *Archive, nft bool) error {
	if err := i.add(a, "spillway", "bin/spillway"); err != nil {
		return err
	}
	if nft {
		if err := i.add(a, "nft", "usr/sbin/nft"); err != nil {
			return err
		}
	}
	return i.first(a)
}

// first adds the first process, and the console that the kernel opens for it.
func (i Image) first(a *Archive) error {
	a.Device("dev/console", 5, 1)
	return i.add(a, "init", "init")
}

func (i Image) add(a *Archive, name, to string) error {
	content, err := os.ReadFile(filepath.Join(i.Bin, name))
	if err == nil {
		a.File(to, 0o755, content)
	}
	return err
}

// drivers adds the modules and the order in which they are loaded.
func drivers(a *Archive, kernel string, wanted []string) error {
	all, err := modules(kernel, wanted)
	if err != nil {
		return err
	}
	order := ""
	for _, m := range all {
		content, err := readModule(m.path)
		if err != nil {
			return err
		}
		a.File("modules/"+m.name+".ko", 0o644, content)
		order += m.name + ".ko\n"
	}
	a.File("modules/order", 0o644, []byte(order))
	return nil
}

// system adds busybox, for a person at the console, and nft with its libraries.
func (i Image) system(a *Archive, userland string) error {
	if userland == "" {
		return nil
	}
	if content, err := os.ReadFile(filepath.Join(userland, "bin/busybox")); err == nil {
		a.File("bin/busybox", 0o755, content)
		a.Symlink("bin/sh", "busybox")
	}
	done := map[string]bool{}
	if err := program(a, done, userland, "usr/sbin/nft", "usr/sbin/nft"); err != nil {
		return err
	}
	if i.Tools == "" {
		return nil
	}
	return program(a, done, i.Tools, "bin/ip", "usr/sbin/ip")
}

// program adds a program as to, with its libraries, those in done left out.
func program(a *Archive, done map[string]bool, userland, from, to string) error {
	content, err := os.ReadFile(filepath.Join(userland, from))
	if err != nil {
		return err
	}
	a.File(to, 0o755, content)
	return libraries(a, done, userland, filepath.Join(userland, from))
}

// libraries adds the interpreter of a program and all libraries that it needs, directly or not, to those in done.
func libraries(a *Archive, done map[string]bool, userland, program string) error {
	files := map[string]string{}
	err := filepath.WalkDir(userland, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(d.Name(), ".so") && !strings.Contains(path, "gconv") {
			files[d.Name()] = path
		}
		return err
	})
	if err != nil {
		return err
	}
	var add func(path string) error
	add = func(path string) error {
		f, err := elf.Open(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		defer f.Close()
		needs, err := f.ImportedLibraries()
		if err != nil {
			return err
		}
		for _, name := range needs {
			if done[name] {
				continue
			}
			done[name] = true
			from, ok := files[name]
			if !ok {
				return fmt.Errorf("library %s, which %s needs, is in no package that was fetched", name, filepath.Base(path))
			}
			if err := addLibrary(a, userland, from); err != nil {
				return err
			}
			if err := add(from); err != nil {
				return err
			}
		}
		return nil
	}
	if interpreter := interpreterOf(program); interpreter != "" && !done[filepath.Base(interpreter)] {
		from, ok := files[filepath.Base(interpreter)]
		if !ok {
			return fmt.Errorf("interpreter %s is in no package that was fetched", interpreter)
		}
		content, err := os.ReadFile(resolve(userland, from))
		if err != nil {
			return err
		}
		done[filepath.Base(interpreter)] = true
		a.File(strings.TrimPrefix(interpreter, "/"), 0o755, content)
	}
	return add(program)
}

// addLibrary adds a library under the name by which programs ask for it, where the interpreter looks for it.
func addLibrary(a *Archive, userland, path string) error {
	content, err := os.ReadFile(resolve(userland, path))
	if err != nil {
		return err
	}
	name, err := filepath.Rel(userland, path)
	a.File(name, 0o755, content)
	return err
}

// resolve follows a symbolic link, which may be absolute in the guest's tree.
func resolve(userland, path string) string {
	for range 8 {
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if filepath.IsAbs(target) {
			path = filepath.Join(userland, target)
		} else {
			path = filepath.Join(filepath.Dir(path), target)
		}
	}
	return path
}

// interpreterOf is the program that the kernel starts in place of a dynamically linked one; "": static.
func interpreterOf(program string) string {
	f, err := elf.Open(program)
	if err != nil {
		return ""
	}
	defer f.Close()
	if s := f.Section(".interp"); s != nil {
		content, _ := s.Data()
		return strings.TrimRight(string(content), "\x00")
	}
	return ""
}
