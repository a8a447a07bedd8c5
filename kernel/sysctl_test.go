// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spillway/mptcp"
)

func TestWantSysctls(t *testing.T) {
	all := map[string]string{
		"net/mptcp/enabled": "1", "net/mptcp/blackhole_timeout": "3600", "net/mptcp/stale_loss_cnt": "4",
		"net/ipv4/conf/eth0.2/rp_filter": "1", sysctlFastOpen: "1538", sysctlReceive: "4096 131072 6291456",
	}
	for _, tt := range []struct {
		name string
		was  map[string]string
		o    SysctlOptions
		want string
	}{
		{"everything", all, SysctlOptions{Devices: []string{"eth0.2", "gone"}, FastOpenNoCookie: true, ReceiveMax: 16 << 20, StaleLossCount: 2}, `
net/ipv4/conf/eth0.2/rp_filter=2
net/ipv4/tcp_fastopen=1543
net/ipv4/tcp_rmem=4096 131072 16777216
net/mptcp/blackhole_timeout=0
net/mptcp/enabled=1
net/mptcp/stale_loss_cnt=2
`},
		{"what must be", all, SysctlOptions{}, `
net/ipv4/tcp_fastopen=1539
net/mptcp/blackhole_timeout=0
net/mptcp/enabled=1
`},
		{"a maximum is never lowered", map[string]string{sysctlReceive: "4096 131072 33554432"}, SysctlOptions{ReceiveMax: 1 << 20}, `
net/ipv4/tcp_rmem=4096 131072 33554432
`},
		{"repetitions: sooner, and so more of them", map[string]string{"net/ipv4/tcp_thin_linear_timeouts": "0", "net/ipv4/tcp_rto_max_ms": "120000", "net/ipv4/tcp_retries2": "15",
			"net/ipv4/tcp_syn_retries": "60", "net/ipv4/tcp_orphan_retries": "0"}, SysctlOptions{}, `
net/ipv4/tcp_orphan_retries=36
net/ipv4/tcp_retries2=255
net/ipv4/tcp_rto_max_ms=3000
net/ipv4/tcp_syn_retries=60
net/ipv4/tcp_thin_linear_timeouts=1
`},
		{"a kernel before 6.15, and one that repeats oftener still", map[string]string{"net/ipv4/tcp_thin_linear_timeouts": "1", "net/ipv4/tcp_retries2": "15"}, SysctlOptions{}, `
net/ipv4/tcp_thin_linear_timeouts=1
`},
		{"repetitions closer than ours", map[string]string{"net/ipv4/tcp_rto_max_ms": "2000", "net/ipv4/tcp_retries2": "15"}, SysctlOptions{}, "\n"},
		{"a kernel without MPTCP, and values nobody expects", map[string]string{sysctlFastOpen: "x", sysctlReceive: "1 2"}, SysctlOptions{ReceiveMax: 1}, "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := wantSysctls(tt.o, func(key string) (string, bool) { v, ok := tt.was[key]; return v, ok })
			var b strings.Builder
			for _, key := range slices.Sorted(maps.Keys(got)) {
				fmt.Fprintf(&b, "%s=%s\n", key, got[key])
			}
			if b.String() != tt.want[1:] {
				t.Errorf("got:\n%swant:%s", b.String(), tt.want)
			}
		})
	}
}

func TestSavedFile(t *testing.T) {
	f := savedFile(filepath.Join(t.TempDir(), "saved"))
	b, err := f.load()
	if err != nil || !b.empty() || b.Boot != bootID() {
		t.Fatalf("no file: %+v, %v", b, err)
	}
	b.Sysctls = map[string]string{"net/mptcp/enabled": "0"}
	b.Limits = &mptcp.Limits{Subflows: 2}
	if err := f.store(b); err != nil {
		t.Fatal(err)
	}
	got, err := f.load()
	if err != nil || !maps.Equal(got.Sysctls, b.Sysctls) || *got.Limits != *b.Limits {
		t.Errorf("stored %+v, loaded %+v, %v", b, got, err)
	}
	b.Boot = "another"
	if err := f.store(b); err != nil {
		t.Fatal(err)
	}
	if got, err := f.load(); err != nil || !got.empty() {
		t.Errorf("of another boot: %+v, %v", got, err)
	}
	os.WriteFile(string(f), []byte(`{"boot":"`+bootID()+`","sysctls":{"../../etc/passwd":"x","kernel/core_pattern":"|x","net/../kernel/x":"1"}}`), 0o600)
	if got, err := f.load(); err != nil || !got.empty() {
		t.Errorf("keys outside net/: %+v, %v", got, err)
	}
	os.WriteFile(string(f), []byte(`{"boot":`), 0o600)
	if _, err := f.load(); err == nil {
		t.Error("half a file is no error")
	}
	if err := f.store(before{}); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(string(f) + "*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
