// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"spillway/testbed/netns"
)

// The fixed addresses and ports.
const (
	serverAddr  = "203.0.113.10"
	otherAddr   = "203.0.113.11" // the same server, never relayed
	hagAddr     = "198.51.100.10"
	loadPort    = 7000
	convertPort = 5124
	forwardPort = 5200 // a forwarder to the server
	pairPort    = 5201 // HAProxy's other half
	socksPort   = 1080
	ssPort      = 8388
	relayPort   = 4000 // of the relay under test
)

// routerBuckets is the size of the TCP table of a router with 512 MB. This machine's own has hundreds of thousands, and whoever asks
// the kernel for all sockets has it walk through them.
const routerBuckets = 4096

// links are the devices between cpe and isp. What passes isp has left its sender's queues: the sender's own limits of what it
// queues (TCP small queues) end there, as on the Internet.
var links = [2]string{"dsl", "lte"}

// Stage is the namespaces with the far ends.
type Stage struct {
	lan, cpe, isp, hag, srv *netns.NS
	dir                     string
	bin                     Programs
	procs                   []*Proc
	spaces                  []*netns.NS
	most                    int // idle connections that descriptors allow
}

// NewStage builds it. Close takes it down. The calling goroutine must be locked to the main thread: processes end with
// the thread that started them.
func NewStage(dir string, bin Programs) (s *Stage, err error) {
	s = &Stage{dir: dir, bin: bin}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	netns.Sweep()
	if err := s.raiseFiles(); err != nil {
		return s, err
	}
	if s.cpe, err = netns.MakeSmall("cpe", routerBuckets); err != nil {
		return s, err
	}
	for name, ns := range map[string]**netns.NS{"lan": &s.lan, "cpe": &s.cpe, "isp": &s.isp, "hag": &s.hag, "srv": &s.srv} {
		if *ns == nil {
			if *ns, err = netns.Make(name); err != nil {
				return s, err
			}
		}
		s.spaces = append(s.spaces, *ns)
		if err = (*ns).KeepMPTCP(); err != nil {
			return s, err
		}
		for _, v := range []string{"net.ipv4.ip_forward=1", "net.ipv4.tcp_no_metrics_save=1",
			"net.ipv4.ip_local_port_range=1024 65535", fmt.Sprintf("net.ipv4.ip_local_reserved_ports=%d", relayPort), "net.ipv4.tcp_tw_reuse=1", "net.core.somaxconn=8192", "net.ipv4.tcp_max_syn_backlog=8192"} {
			key, value, _ := strings.Cut(v, "=")
			if err = (*ns).Sysctl(key, value); err != nil {
				return s, fmt.Errorf("sysctl %s: %w", v, err)
			}
		}
	}
	if err = s.useCubic(); err != nil {
		return s, err
	}
	if err = s.wire(); err != nil {
		return s, err
	}
	return s, s.farEnds()
}

// useCubic gives everybody the congestion control that most of the Internet has: a machine's own default may be another, and
// BBR without any delay on the way sends by twos and threes. Where cubic is a restricted one it is allowed for that moment.
func (s *Stage) useCubic() error {
	const name, allowed = "net.ipv4.tcp_congestion_control", "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
	before, err := os.ReadFile(allowed)
	if err == nil && !strings.Contains(" "+strings.TrimSpace(string(before))+" ", " cubic ") {
		if os.WriteFile(allowed, []byte(strings.TrimSpace(string(before))+" cubic"), 0o644) == nil {
			defer os.WriteFile(allowed, before, 0o644)
		}
	}
	for _, ns := range s.spaces {
		if err := ns.Sysctl(name, "cubic"); err != nil {
			return fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	return nil
}

// raiseFiles gets descriptors for ten thousand connections, two each, or as many as may be had; children inherit the limit.
func (s *Stage) raiseFiles() error {
	const want = 100_000
	var have syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &have); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	limit := syscall.Rlimit{Cur: want, Max: max(want, have.Max)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil { // no right to do that
		limit = syscall.Rlimit{Cur: min(want, have.Max), Max: have.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("raise the limit of open files to %d: %w", limit.Cur, err)
		}
	}
	s.most = min(10_000, int(limit.Cur)/2-1000) // HAProxy wants some for its pipes
	return nil
}

// Close ends all processes and removes all namespaces.
func (s *Stage) Close() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		s.procs[i].Stop()
	}
	for _, ns := range s.spaces {
		ns.Close()
	}
}

// wire joins them.
func (s *Stage) wire() error {
	for _, v := range []struct {
		a *netns.NS
		x string
		b *netns.NS
		y string
	}{
		{s.lan, "eth0", s.cpe, "lan0"}, {s.cpe, links[0], s.isp, links[0]}, {s.cpe, links[1], s.isp, links[1]},
		{s.isp, "core", s.hag, "core"}, {s.hag, "srv0", s.srv, "eth0"},
	} {
		if err := netns.Veth(v.a, v.x, v.b, v.y); err != nil {
			return err
		}
		for ns, device := range map[*netns.NS]string{v.a: v.x, v.b: v.y} {
			if err := ns.Run("ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off"); err != nil {
				return err
			}
		}
	}
	for ns, script := range map[*netns.NS]string{
		s.lan: "addr add 192.168.1.2/24 dev eth0\nroute add default via 192.168.1.1\n",
		s.cpe: `addr add 192.168.1.1/24 dev lan0
addr add 100.64.0.2/24 dev dsl
addr add 100.64.1.2/24 dev lte
route add default via 100.64.0.1 dev dsl metric 10
route add default via 100.64.1.1 dev lte metric 11
route add default via 100.64.1.1 dev lte table 900
rule add from 100.64.1.2 lookup 900 priority 900
rule add fwmark 0x900/0xf00 lookup 901 priority 901
route add local default dev lo table 901
`,
		s.isp: `addr add 100.64.0.1/24 dev dsl
addr add 100.64.1.1/24 dev lte
addr add 10.60.0.2/24 dev core
route add default via 10.60.0.1
`,
		s.hag: `addr add 10.60.0.1/24 dev core
route add 100.64.0.0/16 via 10.60.0.2
addr add 203.0.113.1/24 dev srv0
addr add ` + hagAddr + `/32 dev lo
mptcp limits set subflows 8 add_addr_accepted 8
`,
		s.srv: "addr add " + serverAddr + "/24 dev eth0\naddr add " + otherAddr + "/24 dev eth0\nroute add default via 203.0.113.1\n",
	} {
		if err := ns.Script(script); err != nil {
			return err
		}
	}
	s.hag.Sysctl("net.ipv4.tcp_fastopen", "3")
	for _, device := range []string{"all", "dsl", "lte", "lan0"} {
		s.cpe.Sysctl("net.ipv4.conf."+device+".rp_filter", "0")
	}
	return s.cpe.Run("nft", "table ip provider { chain out { type nat hook postrouting priority srcnat; oifname { dsl, lte } masquerade; }; }")
}

// farEnds starts the server and what relays talk to. They stay for the whole run and cost nothing while nobody comes.
func (s *Stage) farEnds() error {
	if _, err := s.Start(s.srv, "server", s.bin.Self, "serve", fmt.Sprintf("0.0.0.0:%d", loadPort)); err != nil {
		return err
	}
	if _, err := s.Start(s.hag, "concentrator", s.bin.Concentrator, "-listen", fmt.Sprintf("%s:%d", hagAddr, convertPort),
		"-allow-clients", "0.0.0.0/0", "-max-sessions", "60000", "-max-per-client", "60000", "-max-pending", "60000", "-log", "error"); err != nil {
		return err
	}
	if _, err := s.Start(s.hag, "forwarder", s.bin.C, "forward", "rw", fmt.Sprint(forwardPort), serverAddr, fmt.Sprint(loadPort)); err != nil {
		return err
	}
	if s.bin.find("haproxy") != "" && s.bin.find("mptcpize") != "" {
		far, err := s.haproxy("haproxy-far", haproxyFar(s.most, fmt.Sprintf("%s:%d", hagAddr, pairPort)))
		if err != nil {
			return err
		}
		if _, err := s.Start(s.hag, "haproxy-far", far...); err != nil {
			return err
		}
	}
	if p := s.bin.find("microsocks"); p != "" {
		if _, err := s.Start(s.hag, "microsocks", "mptcpize", "run", p, "-i", hagAddr, "-p", fmt.Sprint(socksPort)); err != nil {
			return err
		}
	}
	if p := s.bin.find("ss-server"); p != "" {
		if _, err := s.Start(s.hag, "ss-server", "mptcpize", "run", p, "-s", hagAddr, "-p", fmt.Sprint(ssPort), "-k", "bench",
			"-m", ssCipher, "-t", "3600"); err != nil {
			return err
		}
	}
	return await("the far ends' listeners", 10*time.Second, func() bool {
		out, _ := s.hag.Output("ss", "-Hltn", fmt.Sprintf("sport = :%d or sport = :%d", convertPort, forwardPort))
		return strings.Count(out, "LISTEN") >= 2
	})
}

// Lines says what both links carry; the zero value: as much as the machine can.
type Lines struct {
	Down, Up [2]float64    // Mbit/s
	Buffer   time.Duration // how much a link's queue takes
}

// shape makes the lines so.
func (s *Stage) shape(l Lines) error {
	for i, device := range links {
		for ns, mbit := range map[*netns.NS]float64{s.isp: l.Down[i], s.cpe: l.Up[i]} {
			ns.Run("tc", "qdisc", "del", "dev", device, "root") // an error says that there was none
			if mbit == 0 {
				continue
			}
			burst := max(3100, int(mbit*1e6/8/1000)) // a millisecond, two frames at least
			limit := max(2*burst, int(mbit*1e6/8*l.Buffer.Seconds()))
			if err := ns.Run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", fmt.Sprintf("%.0fkbit", mbit*1000),
				"burst", fmt.Sprint(burst), "limit", fmt.Sprint(limit)); err != nil {
				return err
			}
		}
	}
	return nil
}

// intercept leads the LAN's connections to the relay under test, as `tproxy` or `redirect`; "" to nobody.
func (s *Stage) intercept(how string) error {
	s.cpe.Run("nft", "delete table ip bench") // an error says that there was none
	match := fmt.Sprintf("iifname lan0 ip daddr %s tcp dport %d ", serverAddr, loadPort)
	switch how {
	case "tproxy":
		return s.cpe.Run("nft", fmt.Sprintf("table ip bench { chain in { type filter hook prerouting priority mangle; %stproxy to :%d meta mark set 0x900 accept; }; }", match, relayPort))
	case "redirect":
		return s.cpe.Run("nft", fmt.Sprintf("table ip bench { chain in { type nat hook prerouting priority dstnat; %sredirect to :%d; }; }", match, relayPort))
	}
	return nil
}

// bond has the kernel add the second link to MPTCP connections, or leaves that to the relay.
func (s *Stage) bond(on bool) error {
	if err := s.cpe.Run("ip", "mptcp", "endpoint", "flush"); err != nil {
		return err
	}
	if !on {
		return nil
	}
	return s.cpe.Script("mptcp limits set subflows 2 add_addr_accepted 2\nmptcp endpoint add 100.64.1.2 dev lte subflow\n")
}

// write makes a file of the stage's directory.
func (s *Stage) write(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}
