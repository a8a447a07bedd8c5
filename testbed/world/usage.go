// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"os"
	"strings"

	"spillway/mptcp"
)

// Usage is what a daemon holds of its machine at an instant.
type Usage struct {
	Pid         int
	RSS         int64 // octets
	Goroutines  int
	Threads     int
	Descriptors int
	Pipes       int // among the descriptors
	Sessions    int
	NFT         int // objects in the table: chains, sets, counters, rules
	Rules       int // of ours, both families
	Routes      int // in our tables, both families
	Endpoints   int
	Lost        int // MPTCP sockets of the router that its kernel will never free
}

// usage reads it of a daemon in the namespace cpe.
func (w *World) usage(p *Process, r Router) (u Usage, err error) {
	u.Pid = p.Pid()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "VmRSS":
			fmt.Sscan(value, &u.RSS)
			u.RSS <<= 10
		case "Threads":
			fmt.Sscan(value, &u.Threads)
		}
	}
	dir := fmt.Sprintf("/proc/%d/fd", p.Pid())
	files, err := os.ReadDir(dir)
	if err != nil {
		return u, err
	}
	u.Descriptors = len(files)
	for _, f := range files {
		if to, _ := os.Readlink(dir + "/" + f.Name()); strings.HasPrefix(to, "pipe:") {
			u.Pipes++
		}
	}
	s, err := r.Status()
	if err != nil {
		return u, err
	}
	u.Sessions, u.Goroutines = s.Sessions, s.Goroutines
	count := func(sep string, of ...string) int {
		out, _ := w.CPE.Output(of[0], of[1:]...)
		return strings.Count(out, sep)
	}
	u.NFT = count("# handle", "nft", "-a", "list", "table", "inet", "spillway")
	u.Endpoints = count("id ", "ip", "mptcp", "endpoint", "show")
	if err := w.CPE.Do(func() (err error) { u.Lost, err = lost(); return err }); err != nil {
		return u, err
	}
	for _, family := range []string{"-4", "-6"} {
		u.Rules += count("proto 213", "ip", family, "-d", "rule", "show")
		u.Routes += count("proto 213", "ip", family, "route", "show", "table", "all")
	}
	return u, nil
}

// lost counts the namespace's MPTCP sockets that have ended and are not freed.
func lost() (int, error) {
	d, err := mptcp.OpenDiag()
	if err != nil {
		return 0, err
	}
	defer d.Close()
	all, _, err := d.Forgotten()
	return len(all), err
}
