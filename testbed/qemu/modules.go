// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// wanted are the modules that a router with Spillway needs, those of the emulated hardware first. The kernel's own request
// for a module comes to nothing in a guest, so all are loaded at boot. What a kernel has built in or does not know is left out.
var wanted = strings.Fields(`
	virtio_pci virtio_mmio virtio_console virtio_net
	crc32c_generic crc32c libcrc32c ipv6
	nf_tables nfnetlink nf_conntrack nft_ct nft_nat nft_chain_nat nft_masq nft_fib nft_fib_inet nft_fib_ipv4 nft_fib_ipv6
	nf_tproxy_ipv4 nf_tproxy_ipv6 nft_tproxy nft_socket nft_limit nft_counter nft_log nft_reject nft_reject_inet
	nft_reject_ipv4 nft_reject_ipv6 nft_objref nft_quota nfnetlink_queue nft_queue
	inet_diag tcp_diag mptcp_diag sch_fq_codel sch_fq`)

// wantedByPC are those that the testbed needs beside them in an emulated PC, where it makes links and faults of its own.
var wantedByPC = strings.Fields(`
	9p 9pnet_virtio overlay
	veth tun ppp_generic pppoe sch_netem sch_tbf
	nft_compat nft_redir nf_log_syslog nfnetlink_log nf_conntrack_netlink
	ip_tables ip6_tables xt_tcpudp xt_mark xt_connmark xt_conntrack xt_REDIRECT xt_nat xt_MASQUERADE xt_TPROXY xt_socket xt_addrtype`)

// module is one file below lib/modules/RELEASE.
type module struct{ name, path string }

// modules lists the wanted modules of an unpacked kernel in an order in which they can be loaded: after what they depend on.
func modules(kernel string, wanted []string) ([]module, error) {
	found, err := filepath.Glob(filepath.Join(kernel, "lib/modules/*"))
	if usr, _ := filepath.Glob(filepath.Join(kernel, "usr/lib/modules/*")); len(found) == 0 {
		found = usr
	}
	if err != nil || len(found) == 0 {
		return nil, err // all built in
	}
	dir := found[0]
	files, depends, err := dependencies(dir, wanted)
	if err != nil {
		return nil, err
	}
	var all []module
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if seen[name] || files[name] == "" {
			return
		}
		seen[name] = true
		for _, d := range depends[name] {
			add(d)
		}
		all = append(all, module{name, filepath.Join(dir, files[name])})
	}
	for _, name := range wanted {
		add(name)
	}
	return all, nil
}

// dependencies gives each module's file and what must be loaded before it. Debian's packages have no modules.dep (depmod
// writes it on the target), so that the modules themselves are asked: .modinfo has "depends=a,b".
func dependencies(dir string, wanted []string) (files map[string]string, depends map[string][]string, err error) {
	files, depends = map[string]string{}, map[string][]string{}
	err = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		base, _, ok := strings.Cut(entry.Name(), ".ko")
		if ok {
			files[moduleName(base)], err = filepath.Rel(dir, path)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var ask func(name string) error
	ask = func(name string) error {
		if _, ok := depends[name]; ok || files[name] == "" {
			return nil
		}
		depends[name] = nil
		content, err := readModule(filepath.Join(dir, files[name]))
		if err != nil {
			return err
		}
		for _, mark := range []string{"\x00depends=", "\x00softdep=pre: "} {
			_, rest, ok := bytes.Cut(content, []byte(mark))
			if !ok {
				continue
			}
			list, _, _ := bytes.Cut(rest, []byte{0})
			for _, d := range strings.FieldsFunc(string(list), func(r rune) bool { return r == ',' || r == ' ' }) {
				depends[name] = append(depends[name], moduleName(d))
				if err := ask(moduleName(d)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, name := range wanted {
		if err := ask(name); err != nil {
			return nil, nil, err
		}
	}
	return files, depends, nil
}

func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// readModule reads a module, unpacked: finit_module takes no compressed one from us.
func readModule(path string) ([]byte, error) {
	switch filepath.Ext(path) {
	case ".xz":
		text, err := output("xz", "-dc", path)
		return []byte(text), err
	case ".zst":
		text, err := output("zstd", "-dc", path)
		return []byte(text), err
	}
	return os.ReadFile(path)
}
