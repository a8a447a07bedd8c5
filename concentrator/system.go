// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"spillway/mptcp"
)

// subflowLimit is how many subflows beside the first a connection may have, and announced addresses it takes up: the kernel
// refuses joins above it. 8 is the most that kernels before 7 know.
const subflowLimit = 8

// wmemMax is the least upper limit of a connection's send buffer, octets: a bonded download of 60 Mbit/s over 100 ms needs
// 750 kB in flight, as much again unsent, and the kernel counts twice what it holds.
const wmemMax = 4 << 20

// notSent is how much of a connection may wait unsent, octets. A line that joins is given all that waits at once, up to 64 KiB, and what other lines
// bring meanwhile waits for it at the other end. It begins with 10 segments and then 20: more than 42 KiB would take a line far away a round trip more.
const notSent = 40 << 10

const largestBuffer = "net.core.wmem_max"

// setting is one kernel setting and what it should become. want returns "" when the value found is good.
type setting struct {
	name  string
	want  func(have string) string
	why   string
	spare bool // good without: a container may not have it, which is the whole machine's
}

func settings() []setting {
	return []setting{
		{name: "net.mptcp.enabled", want: func(have string) string { return unless(have == "1", "1") }, why: "no Multipath TCP without it"},
		{name: "net.ipv4.tcp_fastopen", want: fastOpenServer, why: "no data in the SYN without bit 0x2: each connection would cost a round trip more and lose Multipath TCP"},
		{name: "net.ipv4.tcp_wmem", want: largerWmem, why: "downloads over long paths would be slow"},
		{name: "net.ipv4.tcp_thin_linear_timeouts", want: atLeast(1), why: "short answers would wait for long after a line was cut or lost packets"},
		{name: largestBuffer, want: atLeast(wmemMax), why: "a line far away would hold up others when it joins them", spare: true},
	}
}

// repetitions are the settings that go with mptcp.RTOMax, in the order in which they must come: the numbers before the distance.
func repetitions() []setting {
	const slow = "connections would stand still for long after a line was cut or lost packets"
	return []setting{
		{"net.ipv4.tcp_retries2", atLeast(mptcp.Retries), slow, false},
		{"net.ipv4.tcp_syn_retries", atLeast(mptcp.SYNRetries), slow, false},
		{"net.ipv4.tcp_synack_retries", atLeast(mptcp.SYNACKRetries), slow, false},
		{"net.ipv4.tcp_orphan_retries", atLeast(mptcp.OrphanRetries), slow, false},
		{"net.ipv4.tcp_rto_max_ms", atMost(mptcp.RTOMax), slow, false},
	}
}

// atLeast raises a number.
func atLeast(least int) func(string) string {
	return func(have string) string {
		n, err := strconv.Atoi(have)
		return unless(err != nil || n >= least, strconv.Itoa(least))
	}
}

// atMost lowers a number.
func atMost(most int) func(string) string {
	return func(have string) string {
		n, err := strconv.Atoi(have)
		return unless(err != nil || n <= most, strconv.Itoa(most))
	}
}

func unless(good bool, want string) string {
	if good {
		return ""
	}
	return want
}

// fastOpenServer adds bit 0x2: the server side of fast open.
func fastOpenServer(have string) string {
	n, err := strconv.ParseInt(have, 0, 32)
	if err != nil {
		return "3"
	}
	return unless(n&2 != 0, strconv.FormatInt(n|2, 10))
}

// largerWmem raises the third of the three numbers.
func largerWmem(have string) string {
	f := strings.Fields(have)
	if len(f) != 3 {
		return ""
	}
	if n, err := strconv.Atoi(f[2]); err != nil || n >= wmemMax {
		return ""
	}
	return fmt.Sprintf("%s %s %d", f[0], f[1], wmemMax)
}

// sendMost is what the engine may ask for a connection's send buffer, octets. 0: not known.
func sendMost() int {
	raw, _ := os.ReadFile(procOf(largestBuffer))
	n, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	return n
}

func procOf(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// Prepare puts the kernel's settings in place where this process may, and says in one line each what it may not, with the
// command to type. Nothing is put back at the end: these are a host's settings, and others may have come to rely on them.
// It reports whether all are right.
func Prepare(log *slog.Logger) (good bool) {
	good = true
	all := settings()
	if _, err := os.Stat("/proc/sys/net/ipv4/tcp_rto_max_ms"); err == nil {
		all = append(all, repetitions()...)
	}
	for _, s := range all {
		good = s.apply(log) && good
	}
	if err := raiseLimits(); err != nil {
		log.Warn("concentrator: clients' further subflows may be refused", "err", err,
			"remedy", fmt.Sprintf("ip mptcp limits set subflows %d add_addr_accepted %d", subflowLimit, subflowLimit))
		return false
	}
	return good
}

func (s setting) apply(log *slog.Logger) (good bool) {
	path := procOf(s.name)
	raw, err := os.ReadFile(path)
	have := strings.TrimSpace(string(raw))
	want := s.want(have)
	if err == nil {
		if want == "" {
			return true
		}
		if err = os.WriteFile(path, []byte(want), 0o644); err == nil {
			log.Info("concentrator: kernel setting changed", "name", s.name, "from", have, "to", want)
			return true
		}
	}
	if s.spare && errors.Is(err, os.ErrNotExist) {
		return true
	}
	remedy := fmt.Sprintf("sysctl -w '%s=%s'", s.name, want)
	if errors.Is(err, os.ErrNotExist) {
		remedy = "a kernel with this setting"
	}
	log.Warn("concentrator: kernel setting is not right: "+s.why, "name", s.name, "err", err, "remedy", remedy)
	return s.spare
}

func raiseLimits() error {
	pm, ok, err := mptcp.OpenPathManager()
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("this kernel has no MPTCP path manager")
	}
	defer pm.Close()
	have, err := pm.Limits()
	if err != nil {
		return err
	}
	want := mptcp.Limits{Subflows: max(have.Subflows, subflowLimit), AddAddrs: max(have.AddAddrs, subflowLimit)}
	if want == have {
		return nil
	}
	return pm.SetLimits(want)
}
