// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/testbed/world"
)

// TestManyPrefixesAndDomains loads 10,000 prefixes and 1,000 names, and prints what they cost: time, memory, and the
// set-up of a connection against none.
func TestManyPrefixesAndDomains(t *testing.T) {
	h, must := atHome(t, world.Config{Links: wide()})
	const prefixes, names = 10_000, 1_000
	hosts, domain, dst := "", "", ""
	for i := range names {
		name := fmt.Sprintf("n%d.test", i)
		hosts += fmt.Sprintf("100.%d.%d.9 %s\n", 70+i>>8, i&255, name)
		domain += fmt.Sprintf("%q, ", name)
	}
	hosts += world.Server4 + " last.test\n"
	for i := range prefixes {
		dst += fmt.Sprintf("\"11.%d.%d.0/24\", \"2001:db8:%x::/48\", ", i>>8, i&255, 0x1000+i)
	}
	remove, err := h.Hosts(hosts)
	must(err)
	t.Cleanup(remove)
	must(h.Serve(9000))
	must(h.StartConcentrator())
	must(h.Router.Start(h.TOML()))
	none, memory := h.setUp(t), h.memory(t)

	began := time.Now()
	must(h.Router.Reload(h.TOML() + fmt.Sprintf(`[[rule]]
name = "prefixes"
dst = [%s]
action = "block"
[[rule]]
name = "names"
domain = [%s"last.test"]
action = "primary"
`, dst, domain)))
	must(world.WaitFor("the names' rule", 60*time.Second, func() bool {
		talk, err := h.Dial(Server("4", 9000), 0)
		if err != nil {
			return false
		}
		defer talk.Close()
		f, err := h.FlowOf(talk)
		return err == nil && f != nil && f.Rule == "names"
	}))
	took := time.Since(began)
	with := h.setUp(t)
	t.Logf("%d prefixes (each in IPv4 and IPv6) and %d names: in force after %v; the daemon has %d KiB, %d before; a set-up takes %v, %v before",
		prefixes, names, took.Round(time.Millisecond), h.memory(t), memory, with.Round(10*time.Microsecond), none.Round(10*time.Microsecond))
}

// setUp is the median time until the server's greeting.
func (h Home) setUp(t *testing.T) time.Duration {
	t.Helper()
	var all []time.Duration
	for range 15 {
		began := time.Now()
		talk, err := h.Dial(Server("4", 9000), 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(began))
		talk.Close()
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// memory is what the daemon holds, in KiB.
func (h Home) memory(t *testing.T) (kib int) {
	t.Helper()
	out, err := h.CPE.Output("sh", "-c", "ip netns pids "+h.CPE.Name)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(out) {
		text, _ := os.ReadFile("/proc/" + pid + "/status")
		if _, rest, ok := strings.Cut(string(text), "VmRSS:"); ok && strings.HasPrefix(string(text), "Name:\tspillway") {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}
