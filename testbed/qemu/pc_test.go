// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A command runs as root on Debian's kernel with this machine's files: what it writes is gone, but for what it keeps, and its end is
// told.
func TestCommandInAPC(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine: not run with -short (make held runs it)")
	}
	g, store := hosted(t, "amd64-6.12")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	kept, gone, output := t.TempDir(), filepath.Join(t.TempDir(), "gone"), new(strings.Builder)
	pc := PC{Guest: g, CPUs: 2, Memory: 1024, Kept: kept, Output: output}
	script := "uname -r; pwd; id -u; unshare -n nft add table inet x; echo stays >/kept/file; echo goes >" + gone + "; cat " + gone + "; exit 7"
	code, err := store.Run(ctx, pc, []string{"sh", "-ec", script})
	if err != nil || code != 7 {
		t.Fatalf("ended with %d, %v, want 7; said:\n%s", code, err, output)
	}
	here, _ := os.Getwd()
	lines := strings.Split(strings.TrimSpace(output.String()), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "6.12.") || lines[1] != here || lines[2] != "0" || lines[3] != "goes" {
		t.Errorf("said:\n%s\nwant a release 6.12, %s, 0, goes", output, here)
	}
	if b, err := os.ReadFile(filepath.Join(kept, "file")); err != nil || string(b) != "stays\n" {
		t.Errorf("kept %q, %v", b, err)
	}
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("%s is here: %v", gone, err)
	}
	if code, err := store.Run(ctx, pc, []string{"/nowhere"}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("no program: %d, %v", code, err)
	}
	pc.Guest.Userland = "armhf"
	if _, err := store.Run(ctx, pc, []string{"true"}); err == nil || !strings.Contains(err.Error(), "x86") {
		t.Errorf("on ARM: %v", err)
	}
}
