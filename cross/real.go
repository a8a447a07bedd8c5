// SPDX-License-Identifier: Apache-2.0

package cross

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CheckReal lets the real package manager look at a package, where one is on PATH: apk verifies it, opkg installs it into an empty
// root. how names what was used; "" means that there was none and only our own reader has seen the file.
func CheckReal(file, arch string) (how string, err error) {
	if strings.HasSuffix(file, ".apk") {
		apk, err := exec.LookPath("apk")
		if err != nil {
			return "", nil
		}
		return "apk verify", run(apk, "verify", "--allow-untrusted", file)
	}
	opkg, err := exec.LookPath("opkg")
	if err != nil {
		return "", nil
	}
	root, err := os.MkdirTemp("", "opkg")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(root)
	conf := filepath.Join(root, "opkg.conf")
	lines := fmt.Sprintf("dest root /\narch all 1\narch %s 10\n", arch)
	if err := os.WriteFile(conf, []byte(lines), 0o644); err != nil {
		return "", err
	}
	return "opkg install", run(opkg, "--conf", conf, "--offline-root", root, "--nodeps", "--noaction", "install", file)
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
