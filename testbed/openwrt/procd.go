// SPDX-License-Identifier: Apache-2.0

package openwrt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"spillway/ubus"
)

// procd is the service manager: the object `service`. Its rules are procd's (service/instance.c): a service that is set again with
// the same parameters and files goes on; with others it gets its reload signal, if it has one, and is started anew otherwise; one without an
// instance is stopped; a trigger runs the script a second after the event.
type procd struct {
	log func(severity, ident, line string)

	mu       sync.Mutex
	services map[string]*service
}

type service struct {
	script   string
	triggers []string
	want     *instance // nil: none
	running  *exec.Cmd
	command  *instance // that runs
	halting  bool
	pids     []int // of all that were started
}

// instance is what an init script said, and the sums of its files.
type instance struct {
	params map[string][]string
	sums   string
}

func (a *instance) same(b *instance) bool {
	if a.sums != b.sums || len(a.params) != len(b.params) {
		return false
	}
	for k, v := range a.params {
		if !slices.Equal(v, b.params[k]) {
			return false
		}
	}
	return true
}

// triggerAfter is procd's delay of a reload trigger.
const triggerAfter = time.Second

func (p *procd) object() ubus.Object {
	method := func(name string, fn func(ubus.Msg) (any, ubus.Status)) ubus.Method {
		return ubus.Method{Name: name, Handle: func(args ubus.Msg) (any, ubus.Status) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return fn(args)
		}}
	}
	return ubus.Object{Name: "service", Methods: []ubus.Method{method("set", p.set), method("delete", p.delete), method("list", p.list), method("event", p.event)}}
}

func (p *procd) service(name string) *service {
	s := p.services[name]
	if s == nil {
		s = &service{}
		p.services[name] = s
	}
	return s
}

func (p *procd) set(args ubus.Msg) (any, ubus.Status) {
	s := p.service(args.Text("name"))
	s.script = args.Text("script")
	s.triggers, s.want = nil, nil
	var in *instance
	for name, values := range said(args.Text("text")) {
		switch name {
		case "instance":
			in = &instance{params: map[string][]string{}}
			s.want = in
		case "trigger":
			s.triggers = append(s.triggers, values...)
		default:
			if in == nil {
				return nil, ubus.InvalidArgument
			}
			in.params[name] = append(in.params[name], values...)
		}
	}
	if in != nil {
		for _, f := range in.params["file"] {
			raw, _ := os.ReadFile(f)
			in.sums += hash(raw)
		}
	}
	p.settle(args.Text("name"), s)
	return nil, ubus.OK
}

// said reads procd.sh's lines, in their order.
func said(text string) func(func(string, []string) bool) {
	return func(yield func(string, []string) bool) {
		name, values := "", []string(nil)
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if value, ok := strings.CutPrefix(line, "="); ok {
				values = append(values, value)
				continue
			}
			if name != "" && !yield(name, values) {
				return
			}
			name, values = line, nil
		}
		if name != "" {
			yield(name, values)
		}
	}
}

// settle makes a service run what it should.
func (p *procd) settle(name string, s *service) {
	switch {
	case s.want == nil && s.running != nil:
		p.halt(s)
	case s.want == nil:
	case s.running == nil:
		p.start(name, s)
	case s.halting || s.want.same(s.command):
	case len(s.want.params["reload_signal"]) > 0:
		s.command = s.want
		n, _ := strconv.Atoi(s.want.params["reload_signal"][0])
		s.running.Process.Signal(syscall.Signal(n))
	default:
		p.halt(s)
	}
}

func (p *procd) halt(s *service) {
	if s.halting {
		return
	}
	s.halting = true
	cmd := s.running
	cmd.Process.Signal(syscall.SIGTERM)
	if len(s.command.params["jail"]) > 0 {
		return // procd leaves the end of a jail to itself
	}
	wait := 5
	if t := s.command.params["term_timeout"]; len(t) > 0 {
		wait, _ = strconv.Atoi(t[0])
	}
	time.AfterFunc(time.Duration(wait)*time.Second, func() { cmd.Process.Kill() }) // after its end: no harm
}

func (p *procd) start(name string, s *service) {
	in := s.want
	args := in.params["command"]
	if jail := in.params["jail"]; len(jail) > 0 {
		args = append(jailArgs(in.params), args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, in.params["env"]...)
	stdout, err := cmd.StdoutPipe()
	stderr, err2 := cmd.StderrPipe()
	if err = errors.Join(err, err2); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.log("err", "procd", err.Error())
		return
	}
	for _, l := range in.params["limits"] {
		var soft, hard uint64
		if _, err := fmt.Sscanf(l, "nofile=%d %d", &soft, &hard); err == nil {
			unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: soft, Max: hard}, nil)
		}
	}
	s.running, s.command, s.halting = cmd, in, false
	s.pids = append(s.pids, cmd.Process.Pid)
	go p.follow(name, s, cmd, stdout, stderr)
}

// jailArgs are ujail's arguments, as procd makes them (service/instance.c).
func jailArgs(params map[string][]string) []string {
	args := []string{"/sbin/ujail", "-n", params["jail"][0]}
	flags := map[string]string{"procfs": "-p", "sysfs": "-s", "ubus": "-u", "log": "-l", "ronly": "-o", "requirejail": "-E"}
	for _, f := range params["jail"][1:] {
		if flags[f] != "" {
			args = append(args, flags[f])
		}
	}
	if v := params["no_new_privs"]; len(v) > 0 && v[0] == "1" {
		args = append(args, "-c")
	}
	for _, m := range params["jail_mount"] {
		args = append(args, "-r", m)
	}
	for _, m := range params["jail_mount_rw"] {
		args = append(args, "-w", m)
	}
	return append(args, "--")
}

// follow logs what an instance says, and starts it again when it ends unasked.
func (p *procd) follow(name string, s *service, cmd *exec.Cmd, stdout, stderr io.Reader) {
	ident := fmt.Sprintf("%s[%d]", name, cmd.Process.Pid)
	var both sync.WaitGroup
	read := func(severity string, r io.Reader) {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			p.log(severity, ident, lines.Text())
		}
	}
	both.Go(func() { read("info", stdout) })
	both.Go(func() { read("err", stderr) })
	both.Wait()
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, in := s.halting, s.command
	s.running, s.command, s.halting = nil, nil, false
	if !asked {
		p.log("err", "procd", fmt.Sprintf("%s ended: %v", ident, err))
	}
	respawn := in.params["respawn"] // threshold, delay, retries
	if asked || len(respawn) < 2 {
		if s.want != nil && asked {
			p.start(name, s)
		}
		return
	}
	delay, _ := strconv.Atoi(respawn[1])
	time.AfterFunc(time.Duration(delay)*time.Second, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.settle(name, s)
	})
}

func (p *procd) delete(args ubus.Msg) (any, ubus.Status) {
	s := p.service(args.Text("name"))
	s.want, s.triggers = nil, nil
	p.settle(args.Text("name"), s)
	return nil, ubus.OK
}

func (p *procd) list(args ubus.Msg) (any, ubus.Status) {
	out := ubus.Msg{}
	for name, s := range p.services {
		if only := args.Text("name"); only != "" && only != name {
			continue
		}
		pid := 0
		if s.running != nil {
			pid = s.running.Process.Pid
		}
		out = append(out, ubus.Field{Name: name, Value: ubus.Msg{
			{Name: "wanted", Value: s.want != nil}, {Name: "running", Value: s.running != nil}, {Name: "pid", Value: pid}, {Name: "started", Value: len(s.pids)}, {Name: "triggers", Value: s.triggers},
		}})
	}
	return out, ubus.OK
}

func (p *procd) event(args ubus.Msg) (any, ubus.Status) {
	if args.Text("type") != "config.change" {
		return nil, ubus.OK
	}
	for _, s := range p.services {
		if slices.Contains(s.triggers, args.Table("data").Text("package")) {
			time.AfterFunc(triggerAfter, func() {
				if out, err := exec.Command(s.script, "reload").CombinedOutput(); err != nil {
					p.log("err", "procd", fmt.Sprintf("%s reload: %v: %s", s.script, err, out))
				}
			})
		}
	}
	return nil, ubus.OK
}
