// SPDX-License-Identifier: Apache-2.0

package lmo

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
)

// find looks a string up as LuCI's lmo.c does: binary search in the index.
func find(t *testing.T, file []byte, id string) string {
	t.Helper()
	word := func(at int) int { return int(binary.BigEndian.Uint32(file[at:])) }
	start := word(len(file) - 4)
	low, high := 0, (len(file)-4-start)/16-1
	for low <= high {
		m := (low + high) / 2
		at := start + 16*m
		switch key := uint32(word(at)); {
		case key == hash(id):
			return string(file[word(at+8) : word(at+8)+word(at+12)])
		case key > hash(id):
			high = m - 1
		default:
			low = m + 1
		}
	}
	return ""
}

func TestEveryTranslationIsFound(t *testing.T) {
	for _, lang := range []string{"de", "fr"} {
		po, err := os.ReadFile("../luci-app-spillway/po/" + lang + "/spillway.po")
		if err != nil {
			t.Fatal(err)
		}
		file, err := FromPO(string(po))
		if err != nil {
			t.Fatal(err)
		}
		all, _ := ReadPO(string(po))
		if len(all) < 100 {
			t.Errorf("%s: %d messages", lang, len(all))
		}
		for _, m := range all {
			if got := find(t, file, m.ID); got != m.Text && m.ID != m.Text {
				t.Errorf("%s: %q gives %q, want %q", lang, m.ID, got, m.Text)
			}
		}
		if find(t, file, "no such string") != "" {
			t.Error("a string that isn't there was found")
		}
	}
}

func TestBrokenPO(t *testing.T) {
	for _, po := range []string{"msgid x", "\"loose\"", "msgid \"a\"\nmsgstr \"b"} {
		if _, err := ReadPO(po); err == nil || !strings.Contains(err.Error(), "line") {
			t.Errorf("%q: %v", po, err)
		}
	}
}

// TestHash has values that a C program with the same arithmetic printed.
func TestHash(t *testing.T) {
	for s, want := range map[string]uint32{"": 0, "a": 0x115ea782, "ab": 0x516b8b44, "abc": 0xd2be198a, "Settings": 0x60cc7d18, "Überlauf": 0x601abe7d, "ü": 0x787e0cc7} {
		if got := hash(s); got != want {
			t.Errorf("%q: %#08x, want %#08x", s, got, want)
		}
	}
}
