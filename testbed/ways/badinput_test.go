// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"spillway/testbed/world"
)

// TestBadInput gives the daemon what is wrong in the configuration, or turns out wrong in use: one line of the log names it, and LAN
// hosts are served on, by the last good configuration where the new one is refused.
func TestBadInput(t *testing.T) {
	h, must := atHome(t, world.Config{Links: wide()})
	must(h.Serve(9000))
	token := h.Dir + "/token"
	must(writeFile(token, "let me in\n"))
	must(h.StartConcentrator())
	_, err := h.Start(h.HAG, "strict", h.Bin.Concentrator, "-listen", world.Concentrator4+":5125", "-token", token)
	must(err)
	must(h.faulty(t, 1089, func(c *net.TCPConn) { // a SOCKS server that knows another password
		io.ReadFull(c, make([]byte, 3))
		c.Write([]byte{5, 2})
		io.ReadFull(c, make([]byte, 2+len("me")+1+len("wrong")))
		c.Write([]byte{1, 1})
	}))
	must(h.Router.Start(h.TOML()))
	const behind = "[[concentrator]]\nname = \"behind\"\naddress = \"%s\"\nport = %d\npriority = 1\n"
	good := h.TOML()
	first := func(keys map[string]string) string { // before the world's own concentrator
		return Upstream{Name: "first", Keys: keys}.TOML(h) + fmt.Sprintf(behind, world.Concentrator4, world.Port)
	}
	rule := func(keys string) string { return good + "[[rule]]\nname = \"bad\"\n" + keys + "\n" }
	for _, c := range []struct {
		name, text string
		line       []string // words of the line
		by         string   // who serves afterwards
	}{
		{"unknown action", rule("dst_port = [\"80\"]\naction = \"fly\""), []string{"not good", `rule[0].action`, "fly"}, "hag"},
		{"impossible range", rule("dst_port = [\"90-80\"]\naction = \"block\""), []string{"not good", `rule[0].dst_port`, "90-80"}, "hag"},
		{"unresolvable name in a rule", rule("domain = [\"nowhere.invalid\"]\naction = \"block\""), []string{"WARN", "rule=bad", "nowhere.invalid"}, "hag"},
		{"unresolvable concentrator", first(map[string]string{"address": `"nowhere.invalid"`}), []string{"WARN", "nowhere.invalid", "concentrator"}, "behind"},
		{"wrong cookie", first(keys("convert", 5125, "cookie", `"let us in"`)), []string{"WARN", "cookie", "upstream=first"}, "behind"},
		{"wrong password", first(keys("socks5", 1089, "user", `"me"`, "password", `"wrong"`)), []string{"WARN", "upstream is out", "first", "password"}, "behind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(h.Router.Log())
			must(h.Router.Reload(c.text))
			var named []string
			must(world.WaitFor("a line that names it, and service", 30*time.Second, func() bool {
				talk, err := h.Dial(Server("4", 9000), 0)
				if err != nil {
					return false
				}
				defer talk.Close()
				f, err := h.FlowOf(talk)
				named = linesWith(h.Router.Log()[before:], c.line)
				return err == nil && f != nil && f.Upstream == c.by && len(named) > 0
			}))
			time.Sleep(time.Second) // for a second line
			if named = linesWith(h.Router.Log()[before:], c.line); len(named) != 1 {
				t.Errorf("%d lines, want one:\n%s", len(named), strings.Join(named, ""))
			}
			t.Log(strings.TrimSpace(named[0]))
		})
	}
}

// linesWith are the lines that have all of the words.
func linesWith(log string, words []string) (found []string) {
	for line := range strings.Lines(log) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			found = append(found, line)
		}
	}
	return found
}
