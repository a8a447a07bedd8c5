// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"spillway/testbed/netns"
)

// childArgs makes the test binary the command itself, so that it can run in a namespace.
const childArgs = "SPILLWAY_TEST_CONCENTRATOR"

func TestMain(m *testing.M) {
	if os.Getenv(childArgs) != "" {
		main()
	}
	os.Exit(m.Run())
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExitCodes(t *testing.T) {
	good, short, empty := write(t, "0123456789abcdef\n"), write(t, "short"), write(t, " \n")
	for _, c := range []struct {
		args string
		code int
		says string // on either output
	}{
		{"-help", 0, "Usage: spillway-concentrator"},
		{"-version", 0, "dev"},
		{"-check -allow-clients 0.0.0.0/0,::/0", 0, ""},
		{"-check -allow-clients 192.0.2.1 -allow-clients 2001:db8::/32 -listen :5124,192.0.2.9:1", 0, ""},
		{"-check -allow-clients ::/0 -cookie-secret " + good, 0, ""},
		{"-check -token " + good, 0, ""},
		{"", 2, "nobody may connect"},
		{"-check -allow-clients 192.0.2.1/24", 2, "192.0.2.0/24 was meant"},
		{"-check -allow-clients house", 2, `"house" is neither an address nor a prefix`},
		{"-check -allow-clients ::/0 -listen 5124", 2, `"5124" is not ADDRESS:PORT`},
		{"-check -allow-clients ::/0 -idle-timeout 1h", 2, "at least 2h4m"},
		{"-check -allow-clients ::/0 -cookie-secret " + short, 2, "at least 16"},
		{"-check -allow-clients ::/0 -cookie-secret " + empty, 2, "is empty"},
		{"-check -allow-clients ::/0 -cookie-secret /nowhere/at/all", 2, "no such file"},
		{"-check -allow-clients ::/0 -log loud", 2, "write debug, info, warn or error"},
		{"-check -allow-clients ::/0 -dial-timeout 5", 2, "75s"},
		{"-check -allow-clients ::/0 -max-sessions 0", 2, "-max-sessions 0"},
		{"-check -allow-clients ::/0 -max-sessions many", 2, "a whole number"},
		{"-check -allow-clients ::/0 -client-prefix 56", 0, ""},
		{"-check -allow-clients ::/0 -client-prefix 24", 2, "32 to 64"},
		{"-check -allow-clients ::/0 stray", 2, `"stray" is not an option`},
		{"-nonsense", 2, "-nonsense"},
	} {
		var out, errs strings.Builder
		if got := run(context.Background(), strings.Fields(c.args), &out, &errs); got != c.code {
			t.Errorf("%s: exit code %d, want %d (%s)", c.args, got, c.code, errs.String())
		}
		if text := out.String() + errs.String(); !strings.Contains(text, c.says) {
			t.Errorf("%s: says %q, want %q", c.args, text, c.says)
		}
	}
}

// TestPageTellsEveryOptionAndItsDefault reads docs/CONCENTRATOR.md's table against -help.
func TestPageTellsEveryOptionAndItsDefault(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/CONCENTRATOR.md")
	if err != nil {
		t.Fatal(err)
	}
	var help, errs strings.Builder
	run(context.Background(), []string{"-help"}, &help, &errs)
	n, name := 0, ""
	for line := range strings.Lines(help.String()) {
		if option, ok := strings.CutPrefix(line, "  -"); ok {
			n++
			name = strings.Fields(option)[0]
			if !strings.Contains(string(doc), "\n| `-"+name+"` |") {
				t.Errorf("docs/CONCENTRATOR.md says nothing of `-%s`", name)
			}
		}
		if _, rest, ok := strings.Cut(line, "(default "); ok {
			value, _, _ := strings.Cut(rest, ")")
			_, cell, _ := strings.Cut(string(doc), "\n| `-"+name+"` | ")
			cell, _, _ = strings.Cut(cell, " |")
			if !strings.EqualFold(strings.Trim(cell, "`"), value) {
				t.Errorf("the default of -%s is %s; docs/CONCENTRATOR.md says %q", name, value, cell)
			}
		}
	}
	if n < 15 {
		t.Errorf("-help lists %d options", n)
	}
}

func TestServesCountersAndStopsOnSIGTERM(t *testing.T) {
	ns := netns.New(t, "conc")
	cmd := ns.Command(os.Args[0], "-allow-clients", "127.0.0.1", "-listen", "127.0.0.1:5124", "-stats", "127.0.0.1:9124")
	cmd.Env = append(os.Environ(), childArgs+"=1")
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop() // then what is read below ends
	lines := bufio.NewReader(pipe)
	waitLine(t, lines, "listening")
	text := get(t, ns)
	if !strings.Contains(text, "spillway_concentrator_accepted_total 0\n") {
		t.Errorf("counters: %s", text)
	}
	if err := ns.Do(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:5124")
		if err == nil {
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			c.Write([]byte("\x01\x02\x22\x63\x7f\x01\x00\x00"))
			_, err = c.Read(make([]byte, 100))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if text := get(t, ns); !strings.Contains(text, "spillway_concentrator_errors_total{code=\"2\"} 1\n") {
		t.Errorf("counters: %s", text)
	}
	cmd.Process.Signal(syscall.SIGUSR1)
	waitLine(t, lines, "accepted_total 1")
	cmd.Process.Signal(syscall.SIGTERM)
	io.Copy(io.Discard, lines)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func waitLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if strings.HasPrefix(line, "time=") {
			t.Errorf("log line with time: %s", line)
		}
		if strings.Contains(line, want) {
			return
		}
	}
}

// get reads the counters from within the namespace.
func get(t *testing.T, ns *netns.NS) string {
	t.Helper()
	var text string
	err := ns.Do(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:9124")
		if err != nil {
			return err
		}
		web := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
		r, err := web.Get("http://127.0.0.1:9124/metrics")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		text = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// An IPv4 network is the same, mapped to IPv6 or not: else -deny-destinations would close nothing.
func TestMappedPrefixes(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.0/24": "192.0.2.0/24", "::ffff:192.0.2.0/120": "192.0.2.0/24", "::ffff:0:0/96": "0.0.0.0/0", "::ffff:192.0.2.1": "192.0.2.1/32",
		"2001:db8::/32": "2001:db8::/32", "::/0": "::/0",
	} {
		if p, err := parsePrefix(text); err != nil || p.String() != want {
			t.Errorf("%s: %v, not %s; %v", text, p, want, err)
		}
	}
}
