// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount mounts a file system, and makes the directory.
func Mount(kind, source, target string, flags uintptr, options string) error {
	os.MkdirAll(target, 0o755)
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// Begin shows what a bare kernel tells of itself, and makes the console the standard streams.
func Begin() error {
	for _, m := range []struct{ kind, target string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := Mount(m.kind, m.kind, m.target, 0, ""); err != nil {
			return err
		}
	}
	if console, err := os.OpenFile("/dev/console", os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			unix.Dup3(int(console.Fd()), fd, 0)
		}
	}
	return nil
}

// SwitchOff ends the machine.
func SwitchOff() {
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU ends: -no-reboot
	select {}
}

// LoadModules loads the kernel modules in dir, in the order that the file of that name in it has, and removes dir, since an initramfs
// lives in memory. A module that the kernel refuses is named on standard error: the machine may do without.
func LoadModules(dir string) error {
	list, err := os.ReadFile(filepath.Join(dir, "order"))
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		if err := load(filepath.Join(dir, name)); err != nil {
			fmt.Fprintf(os.Stderr, "init: module %s: %v\n", name, err)
		}
	}
	return os.RemoveAll(dir)
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}
