// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"fmt"
	"os"

	"spillway/openwrt/luci/lmo"
)

// readCatalogue reads a .po file as msgid -> msgstr.
func readCatalogue(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	all, err := lmo.ReadPO(string(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := map[string]string{}
	for _, m := range all {
		out[m.ID] = m.Text
	}
	return out, nil
}
