// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"spillway/config"
)

func TestLearnt(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"ip=192.168.8.100\nopt224=08c0000201c000020204c6336401\nsubnet=255.255.255.0\n", "[192.0.2.1 192.0.2.2 198.51.100.1]"},
		{"export OPTION_224='20010db8000000000000000000000001 00000000000000000000ffffc0000201'\n", "[2001:db8::1 192.0.2.1]"},
		{"opt224=04c0000201\nOPTION_224=20010db8000000000000000000000001", "[192.0.2.1 2001:db8::1]"},
		{"opt225=04c0000201\n", "error"}, {"opt224=xyz\n", "error"}, {"opt224=03c00002\n", "error"}, {"", "error"},
	} {
		got := "error"
		if addrs, err := learnt(tt.text, 224); err == nil {
			got = fmt.Sprint(addrs)
		}
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestResolveLearns(t *testing.T) {
	c := config.Concentrator{Protocol: "convert", Port: 5124, Learn: filepath.Join(t.TempDir(), "dhcp"), LearnCode: 230}
	if _, err := resolve(context.Background(), c, lookup{}); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := os.WriteFile(c.Learn, []byte("opt230=04c0000201\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := resolve(context.Background(), c, lookup{})
	if err != nil || fmt.Sprint(got) != "[192.0.2.1:5124]" {
		t.Errorf("%v, %v", got, err)
	}
	if !named([]config.Concentrator{c}) {
		t.Error("the file would not be read again")
	}
}
