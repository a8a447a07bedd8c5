// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/testbed/pages"
)

// TestWhatIsConfiguredIsReadAnew, as what a daemon goes on with may be older than its file: on OpenWrt that is UCI's.
func TestWhatIsConfiguredIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spillway")
	for _, c := range []struct{ read, text, says string }{
		{file, pages.Read(t, "config/reference.toml"), ""},
		{file, "[log]\nlevel = \"loud\"\n", `log.level: "loud"`},
		{renderedFile, pages.Read(t, "openwrt/uci/testdata/spillway"), ""},
		{renderedFile, "config link 'lte'\n\toption quote '50GB'\n", "spillway.lte.quote: unknown option"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := good(c.read, file); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.says)
		}
	}
	if init := pages.Read(t, "openwrt/net/spillway/files/spillway.init"); !strings.Contains(init, `RUN_DIR=`+filepath.Dir(renderedFile)+"\n") || !strings.Contains(init, `TOML="$RUN_DIR/`+filepath.Base(renderedFile)+`"`) {
		t.Error("the init script makes another file than " + renderedFile)
	}
}
