// SPDX-License-Identifier: Apache-2.0

package mptcp

// What golang.org/x/sys/unix lacks, in the kernel's spelling without its prefixes.
const (
	tcpIsMPTCP = 43 // TCP_IS_MPTCP, include/uapi/linux/tcp.h

	mptcpInfo     = 1 // MPTCP_INFO, include/uapi/linux/mptcp.h
	mptcpFullInfo = 4 // MPTCP_FULL_INFO

	infoFallback  = 1 // MPTCP_INFO_FLAG_FALLBACK
	infoRemoteKey = 2 // MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED
)

// The path manager's generic netlink family (include/uapi/linux/mptcp_pm.h).
const (
	pmFamily = "mptcp_pm"
	pmEvents = "mptcp_pm_events"

	cmdAddAddr        = 1
	cmdDelAddr        = 2
	cmdGetAddr        = 3
	cmdFlushAddrs     = 4
	cmdSetLimits      = 5
	cmdGetLimits      = 6
	cmdSetFlags       = 7
	cmdAnnounce       = 8
	cmdRemove         = 9
	cmdSubflowCreate  = 10
	cmdSubflowDestroy = 11

	attrAddr        = 1 // nest
	attrRcvAddAddrs = 2 // u32
	attrSubflows    = 3 // u32
	attrToken       = 4 // u32
	attrLocID       = 5 // u8
	attrAddrRemote  = 6 // nest

	addrAttrFamily  = 1 // u16
	addrAttrID      = 2 // u8
	addrAttrAddr4   = 3 // be32
	addrAttrAddr6   = 4 // 16 octets
	addrAttrPort    = 5 // u16 in host order, whatever the kernel's YAML says
	addrAttrFlags   = 6 // u32
	addrAttrIfIndex = 7 // s32

	eventToken       = 1 // u32, host order
	eventFamily      = 2
	eventLocID       = 3
	eventRemID       = 4
	eventSAddr4      = 5
	eventSAddr6      = 6
	eventDAddr4      = 7
	eventDAddr6      = 8
	eventSPort       = 9  // be16
	eventDPort       = 10 // be16
	eventBackup      = 11 // u8
	eventError       = 12 // u8
	eventFlags       = 13 // u16
	eventTimeout     = 14 // u32, seconds
	eventIfIndex     = 15 // s32
	eventResetReason = 16 // u32
	eventResetFlags  = 17 // u32
	eventServerSide  = 18 // u8: the value counts, kernels up to 6.12 send 0 on clients

	eventFlagDenyJoinID0 = 1
	eventFlagServerSide  = 2 // 6.18
)

// sock_diag (include/uapi/linux/inet_diag.h).
const (
	diagByFamily    = 20 // SOCK_DIAG_BY_FAMILY
	diagReqProtocol = 3  // INET_DIAG_REQ_PROTOCOL, of requests
	diagInfo        = 2  // INET_DIAG_INFO
	diagMark        = 15 // INET_DIAG_MARK
	diagULP         = 19 // INET_DIAG_ULP_INFO, nest

	ulpName  = 1 // INET_ULP_INFO_NAME
	ulpMPTCP = 3 // INET_ULP_INFO_MPTCP, nest

	subTokenLoc = 2  // MPTCP_SUBFLOW_ATTR_TOKEN_LOC: the connection's token
	subFlags    = 8  // u32
	subIDRem    = 9  // u8
	subIDLoc    = 10 // u8

	subFlagCapableRem = 1 << 0
	subFlagConnected  = 1 << 7
	subFlagJoinRem    = 1 << 2
	subFlagJoinLoc    = 1 << 3
	subFlagBackupRem  = 1 << 4
	subFlagBackupLoc  = 1 << 5
	subFlagFullyEst   = 1 << 6
)
