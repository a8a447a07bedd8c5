// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/world"
)

// second is a concentrator of lower priority with two addresses, of which the first is dead, beside the world's own,
// which wants a token.
const second = `[[concentrator]]
name = "second"
learn = "%s"
port = 5125
priority = 1
`

// TestConcentratorsFail plays the deaths of concentrators: the next one serves, what is established on a healthy one goes
// on, and with all of them silent the door closes and opens again by itself.
func TestConcentratorsFail(t *testing.T) {
	netns.Require(t)
	h := Home{world.New(t, world.Config{Links: wide(), Settings: world.Settings{
		Concentrator: map[string]string{"name": `"hag"`, "cookie": `"let me in"`}}})}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.Serve(9000))
	token := h.Dir + "/token"
	must(writeFile(token, "let me in\n"))
	must(h.StartConcentrator("-token", token))
	p2, err := h.Start(h.HAG, "second", h.Bin.Concentrator, "-listen", world.Concentrator4+":5125", "-allow-clients", "0.0.0.0/0")
	must(err)
	// nobody listens at 203.0.113.1, at 198.51.100.10 the second does: as a DHCP client's script has it.
	file := h.Dir + "/dhcp"
	must(writeFile(file, fmt.Sprintf("interface=dsl\nopt224=08%x%x\n", addr4("203.0.113.1"), addr4(world.Concentrator4))))
	must(h.Router.Start(h.TOML() + fmt.Sprintf(second, file)))

	via := func(what, upstream string) *Talk {
		t.Helper()
		var talk *Talk
		must(world.WaitFor(what, 30*time.Second, func() bool {
			c, err := h.Dial(Server("4", 9000), 0)
			if err != nil {
				return false
			}
			if f, err := h.FlowOf(c); err == nil && (f == nil && upstream == "" || f != nil && f.Upstream == upstream) {
				talk = c
				t.Cleanup(func() { c.Close() })
				return true
			}
			c.Close()
			return false
		}))
		return talk
	}
	alive := func(when string, talk *Talk) {
		t.Helper()
		talk.SetDeadline(time.Now().Add(20 * time.Second))
		if err := talk.Echo(50_000); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	via("a connection by the first, with its token", "hag")
	h.KillConcentrator()
	onSecond := via("a connection by the second, at its second address", "second")
	must(h.StartConcentrator("-token", token))
	onFirst := via("a connection by the first again", "hag")
	alive("second's connection after the first's death and return", onSecond)

	// The second dies: nothing on the first notices.
	must(p2.Signal(syscall.SIGKILL))
	alive("first's connection after the second's death", onFirst)

	// The first freezes: it still accepts, and says nothing.
	must(h.FreezeConcentrator(true))
	began := time.Now()
	go h.Dial(Server("4", 9000), 0) // the one that finds out
	must(world.WaitFor("the door closed", 20*time.Second, func() bool {
		s, err := h.status()
		return err == nil && !s.Doors.Open
	}))
	t.Logf("concentrator frozen: the door closed after %v (aim 3 s)", time.Since(began).Round(10*time.Millisecond))
	via("a native connection meanwhile", "")
	must(h.FreezeConcentrator(false))
	began = time.Now()
	via("a relayed connection after the thaw", "hag")
	t.Logf("thawed: relayed again after %v", time.Since(began).Round(10*time.Millisecond))
	alive("first's connection after the thaw", onFirst)
	if !strings.Contains(h.Router.Log(), "upstream is back") {
		t.Error("the log does not tell of the return")
	}
}

func addr4(s string) []byte {
	b := netip.MustParseAddr(s).As4()
	return b[:]
}
