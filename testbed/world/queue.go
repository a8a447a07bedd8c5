// SPDX-License-Identifier: Apache-2.0

package world

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrLacks: this machine's kernel has not what a scenario is about.
var ErrLacks = errors.New("this kernel lacks it")

// standIn takes the queue out of the rules that nft loads: the chain then ends where it would have sent the SYN into the queue,
// and the next in line is iptables' chain, whose rule sends it there.
const standIn = `#!/bin/sh
case "$*" in
*"-f -") sed 's/queue num [0-9]* bypass/accept/' | exec %[1]s "$@" ;;
*) exec %[1]s "$@" ;;
esac
`

// Queue sees to it that the router's firewall can hold packets (relay.faithful). Where the kernel of this machine has the
// queue but not nft's statement for it (NFT_QUEUE), iptables' NFQUEUE, which has the same verdicts, stands in. An emulated machine's kernel has
// it. The numbers are those of kernel.MarkDial and kernel.QueueNumber.
func (w *World) Queue() error {
	if w.machine != nil {
		return nil
	}
	const with = "table inet check { chain c { type filter hook prerouting priority 0; meta l4proto tcp queue num 1 bypass; }; }"
	if w.CPE.Run("nft", "-c", with) == nil {
		return nil
	}
	nft, err := exec.LookPath("nft")
	if err != nil {
		return fmt.Errorf("%w: nft", ErrLacks)
	}
	for _, tool := range []string{"iptables-legacy", "ip6tables-legacy"} {
		if err := w.CPE.Run(tool, "-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "-m", "mark", "--mark", "0x20000000/0x20000000",
			"-j", "NFQUEUE", "--queue-num", "7700", "--queue-bypass"); err != nil {
			return fmt.Errorf("%w: nft's statement queue (module nft_queue), and iptables' NFQUEUE in its place: %w", ErrLacks, err)
		}
	}
	w.path = filepath.Join(w.Dir, "stand-in")
	if err := os.MkdirAll(w.path, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.path, "nft"), fmt.Appendf(nil, standIn, nft), 0o755)
}

// router is the command line of the daemon.
func (w *World) router(args ...string) []string {
	all := append([]string{w.Bin.Spillway}, args...)
	if w.path != "" {
		all = append([]string{"env", "PATH=" + w.path + ":" + os.Getenv("PATH")}, all...)
	}
	return all
}
