// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"spillway/sockopt"
)

// Features is what the running kernel can do, found by trying in the current network namespace.
type Features struct {
	MPTCP            bool // IPPROTO_MPTCP sockets, which net.mptcp.enabled = 0 takes away
	FastOpenClient   bool // TCP_FASTOPEN_CONNECT on MPTCP sockets (6.1)
	FastOpenServer   bool // TCP_FASTOPEN on MPTCP sockets (6.2)
	FastOpenNoCookie bool // TCP_FASTOPEN_NO_COOKIE on MPTCP sockets (6.2); else net.ipv4.tcp_fastopen bit 0x4 does it
	IsMPTCP          bool // TCP_IS_MPTCP (6.10)
	FullInfo         bool // MPTCP_FULL_INFO (6.5)
	PathManager      bool // generic netlink family mptcp_pm
	UserspacePM      bool // net.mptcp.pm_type is there (5.19)
	// Apart: a subflow that the userspace path manager makes can be silent from the first and bound to a device (6.12). It is
	// told by net.mptcp.blackhole_timeout, which came with the same release: to try it would take a connection.
	Apart   bool
	Diag    bool // sock_diag dumps TCP sockets (kernel option INET_DIAG, module tcp_diag)
	InfoLen int  // octets of MPTCP_INFO: 48, 80, 96, ...; 0: none
}

// Missing names what isn't there, each with its cost, for people.
func (f Features) Missing() []string {
	var out []string
	for _, m := range []struct {
		have bool
		text string
	}{
		{f.MPTCP, "MPTCP sockets (kernel option MPTCP, sysctl net.mptcp.enabled): nothing can be bonded"},
		{f.PathManager, "the MPTCP path manager (netlink family mptcp_pm): connections stay on their first link"},
		{f.Diag, "socket statistics (kernel option INET_DIAG, OpenWrt package kmod-inet-diag): no figures per subflow, so dead links are seen late"},
		{f.FastOpenClient, "fast open on MPTCP sockets (Linux 6.1): a connection costs one more round trip"},
		{f.FastOpenNoCookie, "cookie-less fast open on MPTCP sockets (Linux 6.2): sysctl net.ipv4.tcp_fastopen needs bit 0x4"},
		{f.InfoLen > 0, "MPTCP_INFO (Linux 5.16): no figures per connection"},
		{f.UserspacePM, "the userspace path manager (Linux 5.19): connections can't be treated apart"},
	} {
		if !m.have {
			out = append(out, m.text)
		}
	}
	return out
}

// Probe finds the features.
func Probe() Features {
	var f Features
	f.probeSocket()
	if pm, ok, err := OpenPathManager(); err == nil && ok {
		f.PathManager = true
		pm.Close()
	}
	if d, err := OpenDiag(); err == nil {
		f.Diag = d.probe() == nil
		d.Close()
	}
	_, err := os.Stat("/proc/sys/net/mptcp/pm_type")
	f.UserspacePM = err == nil
	_, err = os.Stat("/proc/sys/net/mptcp/blackhole_timeout")
	f.Apart = f.UserspacePM && err == nil
	return f
}

// probeSocket tries the options on an MPTCP socket that never connects.
func (f *Features) probeSocket() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	f.MPTCP = true
	can := func(name, value int) bool { return sockopt.SetInt(fd, unix.SOL_TCP, name, value) == nil }
	f.FastOpenClient = can(unix.TCP_FASTOPEN_CONNECT, 1)
	f.FastOpenNoCookie = can(unix.TCP_FASTOPEN_NO_COOKIE, 1)
	f.FastOpenServer = can(unix.TCP_FASTOPEN, 1)
	_, err = sockopt.Int(fd, unix.SOL_TCP, tcpIsMPTCP)
	f.IsMPTCP = err == nil
	var b [256]byte
	if n, err := sockopt.Bytes(fd, unix.SOL_MPTCP, mptcpInfo, b[:]); err == nil {
		f.InfoLen = n
	}
	// An impossible length is refused as such by a kernel that knows the option.
	_, err = sockopt.Bytes(fd, unix.SOL_MPTCP, mptcpFullInfo, b[:1])
	f.FullInfo = !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOPROTOOPT)
}
