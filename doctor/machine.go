// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	leastSpace  = 64 << 10 // octets that the state files and their new versions need, with room
	leastMemory = 8 << 20  // octets still available; below, the kernel soon kills somebody
	leastYear   = 2025     // a clock before this program was written has not been set
)

// machine checks what does not depend on any link.
func machine() []Node {
	return []Node{
		{"machine/configuration", "", checkConfiguration},
		{"machine/clock", "", checkClock},
		{"machine/memory", "", checkMemory},
		{"machine/flash", "", checkFlash},
		{"machine/quota counters", "", checkSaved},
		{"machine/conntrack", "", checkConntrack},
		{"machine/mptcp", "", checkMPTCP},
		{"machine/mptcp tokens", "machine/mptcp", checkTokens},
		{"machine/path manager", "machine/mptcp", checkPathManager},
		{"machine/kernel features", "machine/mptcp", checkFeatures},
		{"machine/sysctl blackhole_timeout", "machine/mptcp", checkBlackhole},
		{"machine/sysctl tcp_fastopen", "", checkFastOpen},
		{"machine/sysctl ip_forward", "", checkForward},
		{"machine/sysctl ipv6 forwarding", "", checkForward6},
		{"machine/nft", "", checkNft},
		{"machine/tproxy", "machine/nft", checkTproxy},
		{"machine/queue", "machine/nft", checkQueue},
	}
}

func checkConfiguration(w *World) Result {
	if w.Good == nil {
		return skip("the daemon does not run")
	}
	if err := w.Good(); err != nil {
		return fail(fmt.Sprintf("what is configured is refused, and the daemon goes on with what was before: %v", err), "Mend what is named, and apply it again.", "spillway check")
	}
	return ok("what is configured can be read")
}

func checkClock(w *World) Result {
	what := "the clock says " + w.Now.UTC().Format("2006-01-02 15:04 MST")
	if w.Now.Year() < leastYear {
		return fail(what, "Set the clock: quotas are counted by the day of the month. Routers without a battery learn the time by NTP, so the time server must be reachable outside the relay.",
			"ntpd -n -q -p pool.ntp.org")
	}
	return ok("%s", what)
}

func checkMemory(w *World) Result {
	kib, err := meminfo(w, "MemAvailable:")
	if err != nil {
		return skip("the available memory is not known: %v", err)
	}
	what := fmt.Sprintf("%d KiB of memory available", kib)
	if kib<<10 < leastMemory {
		return fail(what, "Stop what is not needed, or lower the limits of connections and buffers; the kernel ends processes when memory is gone.", "free; top -b -n 1 | head -20")
	}
	return ok("%s", what)
}

// meminfo reads one line of /proc/meminfo, in KiB.
func meminfo(w *World, key string) (uint64, error) {
	b, err := w.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == key {
			return strconv.ParseUint(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no %s", key)
}

func checkFlash(w *World) Result {
	if w.StateDir == "" || w.Space == nil {
		return skip("no directory for state is configured")
	}
	s, err := w.Space(w.StateDir)
	switch {
	case err != nil:
		return fail(fmt.Sprintf("%s can't be examined: %v", w.StateDir, err), "Make the directory: quota counters are kept there.", "mkdir -p "+w.StateDir)
	case s.ReadOnly:
		return fail(w.StateDir+" is on a file system mounted read-only", "Quota counters are lost at the next restart. Look for flash errors in the kernel's log and mount it writable.", "dmesg | tail; mount")
	case s.Free < leastSpace:
		return fail(fmt.Sprintf("%s has %d KiB free of %d", w.StateDir, s.Free>>10, s.Total>>10), "Make room: quota counters can't be saved.", "df "+w.StateDir)
	}
	return ok("%s has %d KiB free", w.StateDir, s.Free>>10)
}

func checkSaved(w *World) Result {
	if w.Saved == nil {
		return skip("the daemon does not run")
	}
	if err := w.Saved(); err != nil {
		return fail(fmt.Sprintf("the quota counters are not saved: %v", err),
			"What was used since is forgotten at the next power cut. Mend what the error names; it is tried again at least every 5 minutes.", "df "+w.StateDir+"; mount; dmesg | tail")
	}
	return ok("nothing of the quota counters waits to be saved")
}

// conntrackFull and conntrackMuch are the shares of the table, in percent, from which new connections fail now and then, and soon.
const conntrackFull, conntrackMuch = 98, 80

func checkConntrack(w *World) Result {
	n, err := number(w, "net/netfilter/nf_conntrack_count")
	most, err2 := number(w, "net/netfilter/nf_conntrack_max")
	if err != nil || err2 != nil || most == 0 {
		return ok("the kernel tracks no connections")
	}
	what := fmt.Sprintf("%d of %d tracked connections", n, most)
	const command = "sysctl net.netfilter.nf_conntrack_max; conntrack -C; conntrack -L | awk '{print $5}' | sort | uniq -c | sort -n | tail"
	switch share := n * 100 / most; {
	case share >= conntrackFull:
		return fail(what+": the kernel drops new connections, relayed or not", "Raise net.netfilter.nf_conntrack_max (some 320 octets each), or find the host that has so many.", command)
	case share >= conntrackMuch:
		return warn(what+": nearly full", "When it is full the kernel drops new connections, relayed or not. Raise net.netfilter.nf_conntrack_max, or find the host that has so many.", command)
	}
	return ok("%s", what)
}

// number reads a sysctl that is one.
func number(w *World, path string) (uint64, error) {
	v, err := sysctl(w, path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(v, 10, 32)
}

func checkMPTCP(w *World) Result {
	v, err := sysctl(w, "net/mptcp/enabled")
	switch {
	case err != nil:
		return fail("this kernel has no MPTCP", "Use a build whose kernel has CONFIG_MPTCP (OpenWrt: all but the smallest targets); docs/OPENWRT.md has a table.", "cat /proc/sys/net/mptcp/enabled")
	case v != "1":
		return fail("MPTCP is switched off (net.mptcp.enabled = "+v+")", "Switch it on, and start Spillway again.", "sysctl -w net.mptcp.enabled=1")
	case !w.Features.MPTCP:
		return fail("MPTCP is on, but was off when Spillway started", "Start Spillway again.", "/etc/init.d/spillway restart")
	}
	return ok("the kernel has MPTCP and it is on")
}

// tokensFew is from how many connections without a token on they are told of: one in a hundred, and 50 at least.
const tokensFew = 50

// checkTokens finds a kernel whose table of MPTCP tokens is full of sockets that it has lost (parting.go in relay/engine tells how it does that).
func checkTokens(w *World) Result {
	if w.Counter == nil {
		return skip("the kernel's counters can't be read")
	}
	none := w.Counter("MPFallbackTokenInit")
	all := w.Counter("MPCapableSYNTX") + none
	what := fmt.Sprintf("%d of %d connections found no MPTCP token since the machine started", none, all)
	const remedy = "They go by one link alone. The kernel keeps the tokens of connections that it has lost until the machine restarts: restart it, or upgrade the kernel if that does not last."
	const command = "grep MPTcpExt: /proc/net/netstat"
	switch {
	case none < tokensFew || none*100 < all:
		return ok("%s", what)
	case none*4 < all:
		return warn(what, remedy, command)
	}
	return fail(what, remedy, command)
}

func checkPathManager(w *World) Result {
	if !w.Features.PathManager {
		return fail("the kernel's MPTCP path manager does not answer", "Run Spillway as root or with CAP_NET_ADMIN. Without the path manager no second link can join.", "ip mptcp limits show")
	}
	kind, err := sysctl(w, "net/mptcp/pm_type")
	switch {
	case w.PathManager == "user" && !w.Features.Apart:
		return warn("policy.path_manager is user, and this kernel can't treat connections apart: all use the same links", "Linux 6.12 can. Or set it to auto.", "uname -r")
	case w.Apart && err == nil && kind != "1":
		return fail("net.mptcp.pm_type = "+kind+": connections that begin now get no second link", "Spillway sets it to 1 at its start (policy.path_manager); somebody else has changed it since.", "sysctl -w net.mptcp.pm_type=1")
	case !w.Apart && err == nil && kind != "0":
		return fail("net.mptcp.pm_type = "+kind+": the kernel makes no subflows, so no second link joins", "Another program, such as mptcpd, may have set it, or a configuration file. Set it to 0, or policy.path_manager to user.", "sysctl -w net.mptcp.pm_type=0")
	case w.Apart && w.Strangers > 0:
		return ok("subflows are made for each connection apart; MPTCP connections of other programs (%d now) get no second link", w.Strangers)
	case w.Apart:
		return ok("subflows are made for each connection apart")
	}
	return ok("the path manager answers")
}

func checkFeatures(w *World) Result {
	f := w.Features
	var missing []string
	for _, x := range []struct {
		have bool
		name string
	}{
		{f.FastOpenClient, "data in the SYN of an MPTCP connection (one round trip more per connection)"},
		{f.FastOpenNoCookie, "data in the SYN without a cookie, per socket (the sysctl is used instead)"},
		{f.IsMPTCP, "TCP_IS_MPTCP (fallback is found a little later)"},
		{f.FullInfo, "MPTCP_FULL_INFO (more calls per statistics)"},
		{f.UserspacePM && f.Apart, "a userspace path manager that honours flags and devices (all connections use the same links)"},
		{f.Diag, "MPTCP sock_diag (no figures per flow and link; blackholes are found by probes only)"},
	} {
		if !x.have {
			missing = append(missing, x.name)
		}
	}
	if len(missing) > 0 {
		return warn("this kernel lacks "+strings.Join(missing, "; "), "Bonding works without. A newer kernel, or the module mptcp_diag, brings what is missing.", "uname -r")
	}
	return ok("all that is used is there")
}

func checkBlackhole(w *World) Result {
	v, err := sysctl(w, "net/mptcp/blackhole_timeout")
	if err != nil {
		return ok("this kernel does not switch MPTCP off by itself")
	}
	switch {
	case v != "0" && w.Door == nil:
		return skip("net.mptcp.blackhole_timeout = %s; the daemon, which does not run, sets it to 0 at its start", v)
	case v != "0":
		return fail("net.mptcp.blackhole_timeout = "+v+": one unlucky connection switches MPTCP off for all", "Set it to 0; Spillway does so at its start, somebody else has changed it since.", "sysctl -w net.mptcp.blackhole_timeout=0")
	}
	return ok("MPTCP is not switched off by one unlucky connection")
}

func checkFastOpen(w *World) Result {
	v, err := sysctl(w, "net/ipv4/tcp_fastopen")
	n, numErr := strconv.ParseUint(v, 0, 32)
	if err != nil || numErr != nil {
		return skip("net.ipv4.tcp_fastopen is not known: %q", v)
	}
	if n&1 == 0 {
		return warn("net.ipv4.tcp_fastopen = "+v+": no data in a SYN", "Set bit 0, else each connection costs one round trip more.", fmt.Sprintf("sysctl -w net.ipv4.tcp_fastopen=%d", n|1))
	}
	return ok("net.ipv4.tcp_fastopen = %s", v)
}

func checkForward(w *World) Result {
	v, err := sysctl(w, "net/ipv4/ip_forward")
	if err != nil || v != "1" {
		return fail("net.ipv4.ip_forward = "+v+": traffic that is not relayed goes nowhere", "Switch forwarding on: UDP, bypassed traffic and everything while the relay's door is closed needs it.", "sysctl -w net.ipv4.ip_forward=1")
	}
	return ok("the kernel forwards what is not relayed")
}

func checkForward6(w *World) Result {
	if !slices.ContainsFunc(w.Links, func(l Link) bool { return l.Addr6.IsValid() }) {
		return ok("no link has an IPv6 address")
	}
	if v, err := sysctl(w, "net/ipv6/conf/all/forwarding"); err != nil || v != "1" {
		return warn("net.ipv6.conf.all.forwarding = "+v+": IPv6 that is not relayed goes nowhere", "Switch it on if the LAN is to have IPv6. An interface that learns its route from router advertisements then needs accept_ra 2.", "sysctl -w net.ipv6.conf.all.forwarding=1")
	}
	return ok("the kernel forwards IPv6 that is not relayed")
}

func checkNft(w *World) Result {
	if w.LookPath == nil || !w.LookPath("nft") {
		return fail("the command nft is not there", "Install it: interception is one nft table.", "opkg install nftables || apk add nftables || apt-get install nftables")
	}
	return ok("nft is there")
}

// tproxyRuleset uses each nft expression that the table of the relay needs, in a table that is only checked.
const tproxyRuleset = `table inet spillway_doctor {
	chain c {
		type filter hook prerouting priority mangle;
		meta l4proto tcp fib daddr type local return
		meta l4proto tcp tcp option mptcp subtype 0 return
		meta l4proto tcp socket transparent 1 accept
		meta nfproto ipv4 meta l4proto tcp limit rate 8/second burst 1 packets tproxy ip to 127.0.0.1:1
		meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:1
	}
}
`

func checkTproxy(w *World) Result {
	if w.NftCheck == nil {
		return skip("nft is not asked in this run")
	}
	err := w.NftCheck(tproxyRuleset)
	if r, late := tooLate(err); late {
		return r
	}
	if err != nil {
		return fail(fmt.Sprintf("the kernel refuses a rule with tproxy, socket, fib, limit or the MPTCP option: %v", err),
			"Install the kernel modules for nft's tproxy, socket and fib.", "opkg install kmod-nft-tproxy kmod-nft-socket kmod-nft-fib || apk add kmod-nft-tproxy kmod-nft-socket kmod-nft-fib")
	}
	return ok("the kernel takes tproxy rules")
}

// queueRuleset is what relay.faithful needs besides.
const queueRuleset = `table inet spillway_doctor {
	chain c {
		type filter hook prerouting priority mangle + 1;
		meta l4proto tcp queue num 1 bypass
	}
}
`

func checkQueue(w *World) Result {
	if w.NftCheck == nil {
		return skip("nft is not asked in this run")
	}
	err := w.NftCheck(queueRuleset)
	if r, late := tooLate(err); late {
		return r
	}
	switch {
	case err == nil:
		return ok("the kernel can hold a SYN until its server has answered (relay.faithful)")
	case !w.Faithful:
		return ok("the kernel has no packet queue; only relay.faithful needs one")
	}
	return fail("relay.faithful is on, and the kernel refuses a rule with queue", "Install the kernel module for nft's queue, or switch relay.faithful off: connections are accepted before their servers have answered.",
		"opkg install kmod-nft-queue || apk add kmod-nft-queue")
}

// sysctl reads a value under /proc/sys.
func sysctl(w *World, path string) (string, error) {
	b, err := w.ReadFile("/proc/sys/" + path)
	return strings.TrimSpace(string(b)), err
}
