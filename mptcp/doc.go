// SPDX-License-Identifier: Apache-2.0

// Package mptcp speaks to the kernel's Multipath TCP (RFC 8684): it dials and listens with fast open, tells what
// became of a connection, dumps the subflows of all connections, and drives the path manager over generic netlink.
//
// It decides nothing. Values go in and out; whoever calls knows why. All sockets and netlink conversations belong
// to the network namespace of the thread that opened them.
//
// Numbers follow include/uapi/linux/mptcp.h, mptcp_pm.h, inet_diag.h and tcp.h of Linux, which only ever grow at
// the end: longer answers of newer kernels and shorter ones of older kernels are both read.
package mptcp
