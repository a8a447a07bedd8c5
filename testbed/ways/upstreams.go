// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"spillway/testbed/world"
)

// Upstream is a server of one of the protocols, and what the router's configuration says of it.
type Upstream struct {
	Name  string // unique; also its process's log
	Needs string // a program of a Debian package that may be missing; "": none
	Keys  map[string]string
	Start func(h Home) error
	V6    bool // takes IPv6 destinations
}

func keys(protocol string, port int, more ...string) map[string]string {
	k := map[string]string{"protocol": fmt.Sprintf("%q", protocol), "port": fmt.Sprint(port)}
	for i := 0; i+1 < len(more); i += 2 {
		k[more[i]] = more[i+1]
	}
	return k
}

// Upstreams are all protocols against real servers: microsocks and Dante, which mptcpize makes speak MPTCP.
func Upstreams() []Upstream {
	microsocks := func(name, port string, more ...string) func(Home) error {
		return func(h Home) error {
			args := append([]string{"mptcpize", "run", "microsocks", "-i", world.Concentrator4, "-p", port}, more...)
			return h.background(name, port, args...)
		}
	}
	dante := func(h Home) error { return h.dante("dante", "1082") }
	return []Upstream{
		{Name: "convert", Keys: keys("convert", world.Port), V6: true, Start: func(h Home) error { return h.StartConcentrator() }},
		{Name: "socks5", Needs: "microsocks", Keys: keys("socks5", 1080), V6: true, Start: microsocks("socks5", "1080")},
		{Name: "socks5-password", Needs: "microsocks", Keys: keys("socks5", 1081, "user", `"me"`, "password", `"secret"`), V6: true,
			Start: microsocks("socks5-password", "1081", "-u", "me", "-P", "secret")},
		{Name: "socks5-dante", Needs: "danted", Keys: keys("socks5", 1082), V6: true, Start: dante},
		{Name: "socks5-pipelined", Needs: "danted", Keys: keys("socks5", 1082, "pipeline", "true"), V6: true, Start: func(Home) error { return nil }}, // the same server; microsocks loses the request
		{Name: "socks4a", Needs: "danted", Keys: keys("socks4a", 1082), Start: func(Home) error { return nil }},                                       // the same server
		{Name: "transparent", Keys: map[string]string{"protocol": `"transparent"`}, V6: true, Start: Home.onPath},
	}
}

// Missing names the program that an upstream lacks on this machine.
func (u Upstream) Missing() string {
	if u.Needs == "" {
		return ""
	}
	for _, p := range []string{u.Needs, "mptcpize"} {
		if _, err := exec.LookPath(p); err != nil {
			return p
		}
	}
	return ""
}

// TOML is the router's configuration with this upstream.
func (u Upstream) TOML(h Home) string {
	h.Settings.Concentrator = u.Keys
	text := h.World.TOML()
	if strings.Contains(u.Keys["protocol"], "transparent") {
		text = strings.Replace(text, fmt.Sprintf("port = %d\n", world.Port), "", 1)
	}
	return strings.Replace(text, `name = "hag"`, fmt.Sprintf("name = %q", u.Name), 1)
}

// background starts a server at the concentrator's place and waits until it listens.
func (h Home) background(name, port string, args ...string) error {
	p, err := h.Start(h.HAG, name, args...)
	if err != nil {
		return err
	}
	return world.WaitFor(name+" on port "+port, time.Minute, func() bool {
		out, _ := h.HAG.Output("ss", "-Hltn", "sport = :"+port)
		return !p.Running() || strings.Contains(out, "LISTEN")
	})
}

func (h Home) dante(name, port string) error {
	file := filepath.Join(h.Dir, name+".conf")
	text := fmt.Sprintf(`logoutput: stderr
internal: %s port = %s
external: srv0
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0/0 to: 0/0 }
socks pass { from: 0/0 to: 0/0 }
`, world.Concentrator4, port)
	if err := writeFile(file, text); err != nil {
		return err
	}
	return h.background(name, port, "mptcpize", "run", "danted", "-f", file, "-p", filepath.Join(h.Dir, name+".pid"))
}

// onPath builds and starts the concentrator in the path: MPTCP from the links ends there, what is not MPTCP passes.
func (h Home) onPath() error {
	root, err := world.Root()
	if err != nil {
		return err
	}
	program := filepath.Join(h.Dir, "onpath")
	build := exec.Command("go", "build", "-o", program, "./testbed/cmd/onpath")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build onpath: %w\n%s", err, out)
	}
	var devices []string
	for _, l := range h.Links {
		devices = append(devices, `"to-`+l.Name+`"`)
	}
	if err := h.HAG.Run("nft", fmt.Sprintf(`table inet onpath { chain pre { type filter hook prerouting priority mangle;
iifname != { %s } return; fib daddr type local return
tcp flags & (syn | ack) != syn meta l4proto tcp socket transparent 1 meta mark set 1 accept
tcp option mptcp exists meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:6000 meta mark set 1 accept
tcp option mptcp exists meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:6000 meta mark set 1 accept
}; }`, strings.Join(devices, ", "))); err != nil {
		return err
	}
	if err := h.HAG.Script("rule add fwmark 1 lookup 100\nroute add local 0.0.0.0/0 dev lo table 100\nroute add local ::/0 dev lo table 100\n"); err != nil {
		return err
	}
	if err := h.HAG.Run("ip", "-6", "rule", "add", "fwmark", "1", "lookup", "100"); err != nil {
		return err
	}
	return h.background("onpath", "6000", program)
}

// Concentrators tells which concentrators the router has, by name: up, down or waiting.
func (h Home) Concentrators() (map[string]string, error) {
	s, err := h.status()
	states := map[string]string{}
	for _, c := range s.Concentrators {
		states[c.Name] = c.State
	}
	return states, err
}
