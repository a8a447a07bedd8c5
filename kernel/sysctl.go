// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
)

// SysctlOptions choose the sysctls to ask for.
type SysctlOptions struct {
	Devices          []string // the links' devices, for rp_filter
	FastOpenNoCookie bool     // also tcp_fastopen bit 0x4: where the socket option TCP_FASTOPEN_NO_COOKIE is missing
	ReceiveMax       int      // octets, least maximum of tcp_rmem; 0: as it is
	AcceptMark       bool     // accepted sockets inherit the mark of their SYN: TableRule.Number needs it
	UserManager      bool     // connections to come belong to the userspace path manager, those of other programs too
	StaleLossCount   int      // net.mptcp.stale_loss_cnt; 0: as it is
}

const (
	sysctlFastOpen = "net/ipv4/tcp_fastopen"
	sysctlReceive  = "net/ipv4/tcp_rmem"
)

// Sysctls is State.Sysctls for these options: bits and maxima are added to what was there before us, names that this
// kernel does not have are left out.
func (r *Reconciler) Sysctls(o SysctlOptions) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := func(key string) (string, bool) {
		value, err := readSysctl(key)
		if earlier, ok := r.before.Sysctls[key]; ok {
			value = earlier
		}
		return value, err == nil
	}
	return wantSysctls(o, was)
}

// wantSysctls is Sysctls with what was before us as a function.
func wantSysctls(o SysctlOptions, was func(key string) (string, bool)) map[string]string {
	want := map[string]string{}
	set := func(key, value string) {
		if _, ok := was(key); ok {
			want[key] = value
		}
	}
	set("net/mptcp/enabled", "1")
	if o.AcceptMark {
		set("net/ipv4/tcp_fwmark_accept", "1") // of IPv6 as well
	}
	// One unlucky connection would else keep the whole router from MPTCP for an hour.
	set("net/mptcp/blackhole_timeout", "0")
	if o.UserManager {
		set("net/mptcp/pm_type", "1") // since 6.15 a number for path_manager = "userspace"
	}
	if o.StaleLossCount > 0 {
		set("net/mptcp/stale_loss_cnt", strconv.Itoa(o.StaleLossCount))
	}
	// The answers to a link that is not the main table's default route must not count as spoofed. The kernel takes the
	// stricter of the device's value and that of "all", and 2, loose, is the highest: the device's own is enough.
	for _, device := range o.Devices {
		set("net/ipv4/conf/"+device+"/rp_filter", "2")
	}
	repeatSooner(was, want)
	if value, ok := was(sysctlFastOpen); ok {
		if bits, err := strconv.ParseUint(value, 0, 32); err == nil {
			bits |= 1
			if o.FastOpenNoCookie {
				bits |= 4
			}
			want[sysctlFastOpen] = strconv.FormatUint(bits, 10)
		}
	}
	if value, ok := was(sysctlReceive); ok && o.ReceiveMax > 0 {
		if f := strings.Fields(value); len(f) == 3 {
			if highest, err := strconv.Atoi(f[2]); err == nil {
				f[2] = strconv.Itoa(max(highest, o.ReceiveMax))
				want[sysctlReceive] = strings.Join(f, " ")
			}
		}
	}
	return want
}

// repeatSooner wants settings by which what was lost, or sent just before a line was cut, is repeated before long. TCP doubles the distance each
// time, up to two minutes, so that a request waited for as long again as the cut had taken. A connection with no more than three packets
// under way repeats them six times without doubling (net/ipv4/tcp_timer.c, tcp_retransmit_timer; net/tcp.h, tcp_stream_is_thin); all others
// at most mptcp.RTOMax apart, where the kernel knows that (6.15).
func repeatSooner(was func(key string) (string, bool), want map[string]string) {
	if _, ok := was("net/ipv4/tcp_thin_linear_timeouts"); ok {
		want["net/ipv4/tcp_thin_linear_timeouts"] = "1"
	}
	most, ok := was("net/ipv4/tcp_rto_max_ms")
	if !ok || number(most) <= mptcp.RTOMax {
		return
	}
	want["net/ipv4/tcp_rto_max_ms"] = strconv.Itoa(mptcp.RTOMax)
	for _, s := range [...]struct {
		key   string
		least int
	}{{"tcp_retries2", mptcp.Retries}, {"tcp_syn_retries", mptcp.SYNRetries}, {"tcp_orphan_retries", mptcp.OrphanRetries}} {
		key := "net/ipv4/" + s.key
		if value, ok := was(key); ok {
			want[key] = strconv.Itoa(max(number(value), s.least))
		}
	}
}

// number is a sysctl's value; 0 for what is none.
func number(value string) int {
	n, _ := strconv.Atoi(value)
	return n
}

// checkSysctl keeps keys, which may come from a file, under /proc/sys/net.
func checkSysctl(key string) error {
	if !strings.HasPrefix(key, "net/") || filepath.Clean(key) != key {
		return fmt.Errorf("sysctl %q: not a path below net/", key)
	}
	return nil
}

// openSysctl opens without package os, whose poller would take the file in: it can always be read and written, so that a second thread woke
// to hear of it.
func openSysctl(key string, mode int) (fd int, err error) {
	if err := checkSysctl(key); err != nil {
		return -1, err
	}
	name := "/proc/sys/" + key
	if fd, err = unix.Open(name, mode|unix.O_CLOEXEC, 0); err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// readSysctl is a value with single spaces between its words.
func readSysctl(key string) (string, error) {
	fd, err := openSysctl(key, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var raw []byte
	for part := make([]byte, 512); ; {
		n, err := unix.Read(fd, part)
		if err != nil {
			return "", fmt.Errorf("read sysctl %s: %w", key, err)
		}
		if n == 0 {
			return strings.Join(strings.Fields(string(raw)), " "), nil
		}
		raw = append(raw, part[:n]...)
	}
}

func writeSysctl(key, value string) error {
	fd, err := openSysctl(key, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return fmt.Errorf("write sysctl %s: %w", key, err)
	}
	return nil
}

// HasConntrack tells whether connection tracking is there, as on every router that translates addresses.
func HasConntrack() bool {
	_, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	return err == nil
}
