// SPDX-License-Identifier: Apache-2.0

package mptcp

// Features is what the running kernel can do, found by trying in the current network namespace.
type Features struct {
	MPTCP            bool     // IPPROTO_MPTCP sockets, and net.mptcp.enabled
	FastOpenClient   bool     // TCP_FASTOPEN_CONNECT on MPTCP sockets (6.1)
	FastOpenServer   bool     // TCP_FASTOPEN on MPTCP sockets (6.2)
	FastOpenNoCookie bool     // TCP_FASTOPEN_NO_COOKIE on MPTCP sockets (6.2); else net.ipv4.tcp_fastopen bit 0x4 does it
	IsMPTCP          bool     // TCP_IS_MPTCP (6.10)
	FullInfo         bool     // MPTCP_FULL_INFO (6.5)
	PathManager      bool     // generic netlink family mptcp_pm
	UserspacePM      bool     // net.mptcp.pm_type is there (5.19)
	Diag             bool     // sock_diag tells subflows' tokens
	InfoLen          int      // octets of MPTCP_INFO: 48, 80, 96, ...; 0: none
	Missing          []string // what of the above isn't there, each with what it costs, for people
}

// Probe finds the features.
func Probe() Features { return Features{} }
