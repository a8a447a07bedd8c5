// SPDX-License-Identifier: Apache-2.0

package mptcp

// Counters returns the counters MPTcpExt and TcpExt of /proc/net/netstat of the current thread's network namespace by
// name, both without prefix ("MPCapableSYNTX", "TCPFastOpenActiveFail"). Which ones are there depends on the kernel.
func Counters() (map[string]uint64, error) { return nil, errTODO }
