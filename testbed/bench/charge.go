// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
)

// charges are where a group of processes and the kernel memory that it is charged with are found: control groups of version 1, then 2.
var charges = []struct{ root, file, field string }{
	{"/sys/fs/cgroup/memory", "memory.kmem.usage_in_bytes", ""},
	{"/sys/fs/cgroup", "memory.stat", "kernel "},
}

// group puts the process into a control group of its own, which ends with it, so that charged can tell its part of the kernel's memory from
// all other.
func (p *Proc) group() {
	for _, c := range charges {
		dir := filepath.Join(c.root, fmt.Sprintf("spillway-bench-%d", p.cmd.Process.Pid))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		_, err := os.Stat(filepath.Join(dir, c.file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, p.cmd.Process.Pid), 0)
		}
		if err != nil {
			os.Remove(dir)
			continue
		}
		p.account, p.field, p.grouped = filepath.Join(dir, c.file), c.field, dir
		return
	}
}

// charged is the octets of kernel memory that the process is charged with since it has a group: its sockets, their places in epoll
// sets, descriptors, pipes, page tables. ok is false where the kernel does not tell.
func (p *Proc) charged() (octets int64, ok bool) {
	if p == nil || p.account == "" {
		return 0, false
	}
	return field(p.account, p.field), true
}
