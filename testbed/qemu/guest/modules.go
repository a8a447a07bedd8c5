// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

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
