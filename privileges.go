// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kept are the capabilities that the daemon works with, and the commands that it runs (nft) with it.
var kept = []uint{
	unix.CAP_NET_ADMIN,        // routes, rules, endpoints, nft, sysctls under net/, transparent sockets, sock_diag's tokens
	unix.CAP_NET_RAW,          // binding a socket to a device before 5.7
	unix.CAP_NET_BIND_SERVICE, // a LAN host's own source port under 1024, for the transparent protocol
}

// dropPrivileges gives up, for every thread and for good, every capability but the kept ones, and forbids gaining any by exec: with no_new_privs
// a program of root's gets what we have and no more (security/commoncap.c, cap_bprm_creds_from_file). The bounding set, which would say the
// same, takes a call on every thread for each capability. The user stays root: files and /proc/sys are root's.
func dropPrivileges() error {
	keep := uint64(0)
	for _, c := range kept {
		keep |= 1 << c
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	if err := unix.Capget(&header, &now[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	var data [2]unix.CapUserData
	for i := range data {
		mask := now[i].Permitted & uint32(keep>>(32*i))
		data[i] = unix.CapUserData{Effective: mask, Permitted: mask}
	}
	if errno := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0]))); errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	if errno := allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); errno != 0 {
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	return nil
}

// allThreads makes a system call on every thread of the process: capabilities are a thread's own.
func allThreads(trap, a, b uintptr) syscall.Errno {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a, b, 0, 0, 0, 0)
	return errno
}
