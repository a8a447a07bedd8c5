// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestSocketsBelongToTheNamespace(t *testing.T) {
	a, b := New(t, "a"), New(t, "b")
	if err := Veth(a, "toB", b, "toA"); err != nil {
		t.Fatal(err)
	}
	if err := a.Script("addr add 10.0.0.1/24 dev toB\n"); err != nil {
		t.Fatal(err)
	}
	err := a.Do(func() error {
		l, err := net.Listen("tcp4", "10.0.0.1:0")
		if err == nil {
			l.Close()
		}
		return err
	})
	if err != nil {
		t.Errorf("listen on the namespace's address: %v", err)
	}
	if l, err := net.Listen("tcp4", "10.0.0.1:0"); err == nil {
		l.Close()
		t.Error("the address can be bound outside its namespace")
	}
	if out, err := b.Output("ip", "-o", "link", "show", "toA"); err != nil || !strings.Contains(out, "toA") {
		t.Errorf("veth end in b: %q, %v", out, err)
	}
}

func TestSysctlIsTheNamespacesOwn(t *testing.T) {
	ns := New(t, "s")
	if err := ns.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	ns.Do(func() error {
		got, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
		if err != nil || strings.TrimSpace(string(got)) != "1" {
			t.Errorf("ip_forward = %q, %v", got, err)
		}
		return nil
	})
}
