// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

const ssCipher = "chacha20-ietf-poly1305"

// Contestant is a relay, or the kernel alone.
type Contestant struct {
	Name, About string
	Kind        string // "limit", "yardstick", "spillway", "peer"
	needs       []string
	intercept   string // how connections come to it: "tproxy", "redirect", "" by itself or not at all
	own         bool   // the kernel adds no second link for it: it does so itself, or goes without
	rhythm      bool   // it does only what has a line's rhythm
	brief       bool   // it does only what makes connections
	command     func(s *Stage) ([]string, error)
}

// The names that tables compare with.
const (
	NAT      = "kernel NAT"
	CRW      = "C read/write"
	CSplice  = "C splice"
	COne     = "C on one link"
	CNap     = "C by the clock"
	Spillway = "Spillway"
	Overflow = "Spillway overflow"
	HAPair   = "HAProxy pair"
	HAOne    = "HAProxy" // to one place
)

// Contestants is everybody, in the order of tables.
func Contestants() []Contestant {
	to, port := fmt.Sprintf("%s:%d", hagAddr, convertPort), fmt.Sprint(relayPort)
	return []Contestant{
		{Name: Spillway, Kind: "spillway", About: "the daemon as it is installed, RFC 8803, links bonded", own: true,
			command: func(s *Stage) ([]string, error) { return spillway(s, "bond") }},
		{Name: Overflow, Kind: "spillway", About: "in its default mode: what is over before the first link is full has no subflow on the second", own: true, brief: true,
			command: func(s *Stage) ([]string, error) { return spillway(s, "overflow") }},
		{Name: NAT, Kind: "limit", About: "no relay, one link: what forwarding itself costs"},
		{Name: CRW, Kind: "yardstick", About: "220 lines, one thread, epoll, one buffer of 128 KiB, RFC 8803 with the request in the SYN", intercept: "tproxy",
			command: yardstick("rw")},
		{Name: COne, Kind: "yardstick", About: "C read/write without a second subflow, as Spillway overflow", intercept: "tproxy", own: true, brief: true,
			command: yardstick("rw")},
		{Name: CSplice, Kind: "yardstick", About: "the same with splice through pipes of 1 MiB", intercept: "tproxy",
			command: yardstick("splice")},
		{Name: CNap, Kind: "limit", About: "C read/write that looks at its sockets every 20 ms and is never woken: what the octets alone cost", intercept: "tproxy", rhythm: true,
			command: yardstick("nap")},
		{Name: "Go io.Copy", Kind: "yardstick", About: "two goroutines a connection, RFC 8803 with the request in the SYN", intercept: "tproxy",
			command: func(s *Stage) ([]string, error) { return []string{s.bin.Go, port, to}, nil }},
		{Name: HAPair, Kind: "peer", About: "one thread, splice, mptcpize; by the PROXY protocol, version 2, to another HAProxy, with buffers of 128 KiB, which goes where the header says", needs: []string{"haproxy", "mptcpize"}, intercept: "tproxy",
			command: func(s *Stage) ([]string, error) {
				return s.haproxy("haproxy-pair", haproxyNear(s.most, pairPort, true))
			}},
		{Name: HAOne, Kind: "limit", About: "one thread, splice, mptcpize; no protocol, to a forwarder in C: all goes to one place, so it could serve no LAN", needs: []string{"haproxy", "mptcpize"}, intercept: "tproxy",
			command: func(s *Stage) ([]string, error) { return s.haproxy("haproxy", haproxyNear(s.most, forwardPort, false)) }},
		{Name: "redsocks", Kind: "peer", About: "mptcpize; to microsocks", needs: []string{"redsocks", "microsocks", "mptcpize"}, intercept: "redirect", command: redsocks},
		{Name: "shadowsocks-libev", Kind: "peer", About: ssCipher + ", mptcpize; to its own server", needs: []string{"ss-redir", "ss-server", "mptcpize"}, intercept: "redirect",
			command: func(s *Stage) ([]string, error) {
				return []string{"mptcpize", "run", s.bin.find("ss-redir"), "-s", hagAddr, "-p", fmt.Sprint(ssPort), "-b", "0.0.0.0", "-l", port,
					"-k", "bench", "-m", ssCipher, "-t", "3600"}, nil
			}},
		{Name: "sing-box", Kind: "peer", About: "redirect, SOCKS5 with tcp_multi_path; to microsocks", needs: []string{"sing-box", "microsocks"}, intercept: "redirect", command: singBoxCommand},
		{Name: "xray", Kind: "peer", About: "dokodemo-door, SOCKS5 with tcpMptcp; to microsocks", needs: []string{"xray", "microsocks"}, intercept: "redirect", command: xrayCommand},
	}
}

// yardstick is the relay in C, which copies in one of its ways: rw, splice or nap.
func yardstick(way string) func(*Stage) ([]string, error) {
	return func(s *Stage) ([]string, error) {
		return []string{s.bin.C, "convert", way, fmt.Sprint(relayPort), hagAddr, fmt.Sprint(convertPort)}, nil
	}
}

// does tells whether a work is for this contestant.
func (c Contestant) does(w Work) bool {
	return (!c.rhythm || (w.Rate > 0 || w.Lines.Buffer > 0) && w.Ask == 0) && (!c.brief || w.Parallel > 0)
}

// Missing names what a contestant lacks on this machine; "" if nothing.
func (c Contestant) Missing(p Programs) string {
	var lacks []string
	for _, n := range c.needs {
		if p.find(n) == "" {
			lacks = append(lacks, n)
		}
	}
	if lacks == nil {
		return ""
	}
	return strings.Join(lacks, ", ") + " could not be had"
}

// Enter starts a contestant and waits until connections are served. The process is nil for the kernel.
func (s *Stage) Enter(c Contestant) (p *Proc, err error) {
	if err := s.intercept(c.intercept); err != nil {
		return nil, err
	}
	if err := s.bond(!c.own); err != nil {
		return nil, err
	}
	if err := s.forget(); err != nil {
		return nil, err
	}
	if c.command == nil {
		return nil, nil
	}
	args, err := c.command(s)
	if err != nil {
		return nil, err
	}
	before := counters(s.cpe, "MPTcpExt")["MPCapableSYNTX"]
	if p, err = s.Start(s.cpe, "relay-"+strings.NewReplacer(" ", "", "/", "").Replace(c.Name), args...); err != nil {
		return nil, err
	}
	err = await("a connection that "+c.Name+" relays over MPTCP", 20*time.Second, func() bool {
		if !p.running() {
			return true
		}
		_, e := s.load(nil, 2*time.Second, demand{Parallel: 1, For: 100 * time.Millisecond})
		return e == nil && counters(s.cpe, "MPTcpExt")["MPCapableSYNTX"] > before
	})
	if !p.running() {
		err = fmt.Errorf("%s ended", c.Name)
	}
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("%w: %s", err, p.text())
	}
	return p, nil
}

// spillway is as installed, but for three keys: the benchmark is one LAN host with ten thousand connections; it changes the
// rates of the lines from one second to the next, so in mode bond all links are used from the start (as the others do), and none is given up.
func spillway(s *Stage, mode string) ([]string, error) {
	file, err := s.write("spillway.toml", `[log]
level = "warn"
[daemon]
control = "`+filepath.Join(s.dir, "control")+`"
state = "`+filepath.Join(s.dir, "usage.json")+`"
ubus = "off"
[lan]
interfaces = ["lan0"]
[[link]]
name = "dsl"
device = "dsl"
role = "primary"
[[link]]
name = "lte"
device = "lte"
role = "overflow"
[[concentrator]]
address = "`+hagAddr+`"
port = `+fmt.Sprint(convertPort)+`
[policy]
mode = "`+mode+`"
never_worse = false
[relay]
max_sessions = 60000
max_per_host = 60000
[[rule]]
name = "other"
dst = ["`+otherAddr+`"]
action = "bypass"
`)
	return []string{s.bin.Spillway, "run", "-config", file}, err
}

func redsocks(s *Stage) ([]string, error) {
	file, err := s.write("redsocks.conf", fmt.Sprintf(`base {
  log_debug = off; log_info = off; log = stderr; daemon = off; redirector = iptables;
  redsocks_conn_max = %d;
}
redsocks {
  local_ip = 0.0.0.0; local_port = %d; ip = %s; port = %d; type = socks5;
}
`, s.most, relayPort, hagAddr, socksPort))
	return []string{"mptcpize", "run", s.bin.find("redsocks"), "-c", file}, err
}

func singBoxCommand(s *Stage) ([]string, error) {
	file, err := s.write("sing-box.json", fmt.Sprintf(`{"log": {"level": "error"},
"inbounds": [{"type": "redirect", "tag": "in", "listen": "0.0.0.0", "listen_port": %d}],
"outbounds": [{"type": "socks", "tag": "out", "server": "%s", "server_port": %d, "version": "5", "tcp_multi_path": true}]}
`, relayPort, hagAddr, socksPort))
	return []string{s.bin.find("sing-box"), "run", "-c", file}, err
}

func xrayCommand(s *Stage) ([]string, error) {
	file, err := s.write("xray.json", fmt.Sprintf(`{"log": {"loglevel": "none"},
"inbounds": [{"port": %d, "listen": "0.0.0.0", "protocol": "dokodemo-door", "settings": {"network": "tcp", "followRedirect": true}}],
"outbounds": [{"protocol": "socks", "settings": {"servers": [{"address": "%s", "port": %d}]}, "streamSettings": {"sockopt": {"tcpMptcp": true}}}]}
`, relayPort, hagAddr, socksPort))
	return []string{s.bin.find("xray"), "run", "-c", file}, err
}
