// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Flash is how many octets a file takes in a router's flash: as an image of squashfs with xz in blocks of 256 KiB, as
// OpenWrt packs its root. Without mksquashfs (Debian package squashfs-tools) xz in blocks of the same size stands in,
// which comes out within a few per cent; how says which it was.
func Flash(file string) (octets int64, how string, err error) {
	dir, err := os.MkdirTemp("", "flash")
	if err != nil {
		return 0, "", err
	}
	defer os.RemoveAll(dir)
	if _, err := exec.LookPath("mksquashfs"); err == nil {
		return squash(file, filepath.Join(dir, "image"))
	}
	if _, err := exec.LookPath("xz"); err == nil {
		return xz(file)
	}
	return 0, "", fmt.Errorf("measure %s in flash: neither mksquashfs nor xz is here: apt-get install squashfs-tools", file)
}

func squash(file, image string) (int64, string, error) {
	cmd := exec.Command("mksquashfs", file, image, "-comp", "xz", "-b", "256k", "-noappend", "-all-root",
		"-no-xattrs", "-quiet", "-no-progress", "-all-time", "0", "-mkfs-time", "0")
	cmd.Env = withoutEpoch(os.Environ())
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, "", fmt.Errorf("mksquashfs %s: %w\n%s", file, err, out)
	}
	st, err := os.Stat(image)
	if err != nil {
		return 0, "", err
	}
	return st.Size(), "squashfs", nil
}

// withoutEpoch drops SOURCE_DATE_EPOCH, which mksquashfs refuses together with times of its own.
func withoutEpoch(env []string) []string {
	var out []string
	for _, e := range env {
		if len(e) < 18 || e[:18] != "SOURCE_DATE_EPOCH=" {
			out = append(out, e)
		}
	}
	return out
}

func xz(file string) (int64, string, error) {
	out, err := exec.Command("xz", "-9", "--block-size=262144", "--stdout", "--threads=1", file).Output()
	if err != nil {
		return 0, "", fmt.Errorf("xz %s: %w", file, err)
	}
	return int64(len(out)), "xz", nil
}
