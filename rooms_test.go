// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"

	"spillway/config"
	"spillway/convert"
	"spillway/socks"
)

// TestLongestWords: config imports no room, so that it has the rooms' numbers a second time.
func TestLongestWords(t *testing.T) {
	for _, tt := range []struct {
		text string
		most int
	}{
		{"cookie = \"%s\"", convert.MaxCookie},
		{"protocol = \"socks5\"\nuser = \"%s\"", socks.MaxPassword},
		{"protocol = \"socks5\"\nuser = \"u\"\npassword = \"%s\"", socks.MaxPassword},
	} {
		for more := range 2 {
			_, err := config.Parse("test.toml", "[[link]]\nname = \"dsl\"\ndevice = \"eth1\"\n[lan]\ninterfaces = [\"br-lan\"]\n[[concentrator]]\nname = \"home\"\naddress = \"192.0.2.1\"\nport = 5124\n"+
				fmt.Sprintf(tt.text, strings.Repeat("x", tt.most+more))+"\n")
			if (err == nil) != (more == 0) {
				t.Errorf("%s of %d octets: %v", tt.text, tt.most+more, err)
			}
		}
	}
}
