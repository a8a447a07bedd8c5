// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// readCatalogue reads a .po file of plain msgid and msgstr, each on one line or continued on the next ones.
func readCatalogue(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	var id, text string
	var into *string
	keep := func() {
		if id != "" {
			out[id] = text
		}
		id, text = "", ""
	}
	for n, line := range strings.Split(string(raw), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "msgid "):
			keep()
			into, line = &id, line[len("msgid "):]
		case strings.HasPrefix(line, "msgstr "):
			into, line = &text, line[len("msgstr "):]
		}
		part, err := strconv.Unquote(line)
		if err != nil || into == nil {
			return nil, fmt.Errorf("%s:%d: not understood: %s", path, n+1, line)
		}
		*into += part
	}
	keep()
	return out, nil
}
