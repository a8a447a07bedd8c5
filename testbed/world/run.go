// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"os/exec"
	"strings"
	"time"

	"spillway/testbed/netns"
	"spillway/testbed/traffic"
)

// StartServer starts the server and the file server on both families and waits for them.
func (w *World) StartServer(files string) (err error) {
	list := func(port int) string { return fmt.Sprintf("%s:%d,[%s]:%d", Server4, port, Server6, port) }
	w.server, err = w.Start(w.SRV, "server", w.Bin.Traffic, "serve", "-mptcp", "-listen", list(ServerPort), "-http", list(FilesPort), "-files", files)
	if err != nil {
		return err
	}
	return w.awaitPort(w.server, w.SRV, ServerPort)
}

// StartConcentrator starts it, with others where the settings have several, and waits until all listen.
func (w *World) StartConcentrator(more ...string) (err error) {
	for i := range max(1, w.Settings.Concentrators) {
		p, err := w.startConcentrator(Port+i, more...)
		if err != nil {
			return err
		}
		if i == 0 {
			w.concentrator = p
		}
	}
	return nil
}

func (w *World) startConcentrator(port int, more ...string) (*Process, error) {
	args := append([]string{w.Bin.Concentrator,
		"-listen", fmt.Sprintf("%s:%d,[%s]:%d", Concentrator4, port, Concentrator6, port),
		"-allow-clients", "0.0.0.0/0,::/0"}, more...)
	p, err := w.Start(w.HAG, "concentrator", args...)
	if err != nil {
		return nil, err
	}
	return p, w.awaitPort(p, w.HAG, port)
}

// KillConcentrator ends it at once: its host answers with resets from then on.
func (w *World) KillConcentrator() { w.concentrator.Kill() }

// Concentrator is its process.
func (w *World) Concentrator() *Process { return w.concentrator }

// FreezeConcentrator stops it without closing anything; thaw lets it go on.
func (w *World) FreezeConcentrator(freeze bool) error {
	return w.concentrator.Signal(stopOrGo(freeze))
}

func (w *World) awaitPort(p *Process, ns *netns.NS, port int) error {
	err := WaitFor(fmt.Sprintf("a listener on port %d", port), time.Minute, func() bool {
		out, _ := ns.Output("ss", "-Hltn", fmt.Sprintf("sport = :%d", port))
		return !p.Running() || strings.Count(out, "LISTEN") >= 2
	})
	if !p.Running() {
		err = fmt.Errorf("it ended: %v", p.err)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, p.Text())
	}
	return nil
}

// Demand runs a demand as a process of the LAN host and returns what it saw.
func (w *World) Demand(d traffic.Demand) (r traffic.Result, err error) {
	if d.To == "" {
		d.To = To("4")
	}
	return r, ask(w.LAN.Command(w.Bin.Traffic, "run"), d, &r)
}

// Curl prepares curl on the LAN host: quiet, failing on HTTP errors.
func (w *World) Curl(args ...string) *exec.Cmd {
	return w.LAN.Command("curl", append([]string{"-sS", "-f", "--noproxy", "*"}, args...)...)
}
