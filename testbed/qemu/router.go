// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/linkemu"
	"spillway/testbed/netns"
	"spillway/testbed/qemu/guest"
	"spillway/testbed/world"
)

// Slot makes a guest the router of a world: its method On goes into world.Config.
type Slot struct {
	Guest   Guest
	Image   Image
	Memory  int           // MB; 0: the guest's usual
	Limit   time.Duration // for all that the machine does; 0: ten minutes
	Capture bool          // what passes its devices is written beside its console's file, as net0.pcap (the LAN's) and so on
	Machine *Machine      // once the world stands

	world *world.World
	lan   *os.File
	links []*os.File
	wrap  string // lines of shell before the daemon
	later string // lines of ip arguments for the time when the machine runs

	mu     sync.Mutex
	spent  time.Duration // processor time of the daemon
	asked  time.Time     // when spent was
	asking bool
}

// On is what world.Config.On wants.
func (s *Slot) On(w *world.World) (world.Machine, error) {
	s.world = w
	for _, l := range w.Links {
		if l.Kind != linkemu.Ethernet {
			return world.Machine{}, fmt.Errorf("link %s: emulated machines have Ethernet devices only", l.Name)
		}
	}
	w.AtClose(s.close)
	return world.Machine{Home: s.home, Port: s.port, Ready: s.ready, Script: s.script, Shell: s.shell, Read: s.read, Wrap: func(lines string) { s.wrap = lines }, Router: s.router()}, nil
}

// home makes the LAN host's eth0 a TAP that the guest holds.
func (s *Slot) home() (err error) {
	err = s.world.LAN.Do(func() (err error) {
		s.lan, err = lanTAP("eth0")
		return err
	})
	if err != nil {
		return err
	}
	return s.world.LAN.Script("link set dev eth0 up\n")
}

// port makes one end of a socket pair the router's end of a link; QEMU holds the other.
func (s *Slot) port(_ *netns.NS, device string, _ linkemu.Kind) (*linkemu.Port, error) {
	if s.Machine != nil {
		return nil, errors.New("an emulated machine gets no new devices while it runs")
	}
	i := len(s.links)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for _, fd := range fds { // a burst that waits for the emulator, which is slow
		for _, option := range []int{unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE} {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 4<<20)
		}
	}
	s.links = append(s.links, os.NewFile(uintptr(fds[1]), device))
	p, err := linkemu.Descriptor(device, fds[0], linkemu.Ethernet)
	if err != nil {
		return nil, err
	}
	p.Carrier = func(on bool) error { return s.Machine.Plug(i, on) }
	return p, nil
}

// ready boots the machine and makes it a router without Spillway.
func (s *Slot) ready(sysctls []string, nft string) (err error) {
	memory, limit := s.Memory, s.Limit
	if memory == 0 {
		memory = s.Guest.Memory
	}
	if limit == 0 {
		limit = 10 * time.Minute
	}
	lan, links := s.lan, s.links
	s.lan, s.links = nil, nil
	if s.Machine, err = boot(s.Guest, s.Image, memory, lan, links, filepath.Join(s.world.Dir, "console.log"), s.Capture, limit); err != nil {
		return err
	}
	names := map[string]string{hardware(0): world.LANDevice}
	for i, l := range s.world.Links {
		names[hardware(i+1)] = l.Device
	}
	for _, r := range []guest.Request{
		{Do: guest.Name, Names: names},
		{Do: guest.Sysctl, Text: strings.Join(append(sysctls, tracked), "\n")},
		{Do: guest.NFT, Text: nft},
		{Do: guest.IP, Text: s.later},
	} {
		if err := s.Machine.Ask(r, nil); err != nil {
			return fmt.Errorf("%w\nthe console's end:\n%s", err, s.Machine.Console(2000))
		}
	}
	return nil
}

// tracked is the limit of tracked connections that OpenWrt has had for long. The kernel's own is 1024 with 128 MB: a relayed
// connection takes two or three, and beyond the limit packets are dropped.
const tracked = "net.netfilter.nf_conntrack_max=16384"

// script has the guest do lines of ip arguments, once it runs.
func (s *Slot) script(lines string) error {
	if s.Machine == nil {
		s.later += lines
		return nil
	}
	return s.Machine.Ask(guest.Request{Do: guest.IP, Text: lines}, nil)
}

// shell has the guest do lines of shell.
func (s *Slot) shell(lines string) error {
	return s.Machine.Ask(guest.Request{Do: guest.Shell, Text: lines}, nil)
}

// read is the content of a file of the guest's.
func (s *Slot) read(path string) (text string, err error) {
	err = s.Machine.Ask(guest.Request{Do: guest.Read, Path: path}, &text)
	return text, err
}

func (s *Slot) close() {
	for _, f := range append(s.links, s.lan) {
		if f != nil {
			f.Close()
		}
	}
	if s.Machine != nil {
		s.Machine.End()
	}
}

// router is the daemon in the guest.
func (s *Slot) router() world.Router {
	config, socket := filepath.Join(s.world.Dir, "spillway.toml"), filepath.Join(s.world.Dir, "control")
	r := world.Router{Control: func(method string, args any) (json.RawMessage, error) { return s.control(socket, method, args) }}
	signal := func(sig syscall.Signal) error {
		return s.Machine.Ask(guest.Request{Do: guest.Signal, Signal: int(sig)}, nil)
	}
	r.Start = func(text string) error {
		request := guest.Request{Do: guest.Start, Path: config, Text: text}
		if s.wrap != "" {
			request.Script = filepath.Join(s.world.Dir, "spillway.sh")
			wrapper := "set -e\n" + s.wrap + "\nexec /bin/spillway \"$@\"\n"
			if err := s.Machine.Ask(guest.Request{Do: guest.Write, Path: request.Script, Text: wrapper}, nil); err != nil {
				return err
			}
		}
		if err := s.Machine.Ask(request, nil); err != nil {
			return err
		}
		if err := s.awaitDoor(r); err != nil {
			return fmt.Errorf("%w\nthe console's end:\n%s", err, s.Machine.Console(3000))
		}
		return nil
	}
	r.Stop = func() error {
		if err := signal(syscall.SIGTERM); err != nil {
			return err
		}
		return world.WaitFor("the daemon's end", 2*time.Minute, func() bool {
			ended := ""
			err := s.Machine.Ask(guest.Request{Do: guest.Ended}, &ended)
			return err != nil || ended != ""
		})
	}
	r.Kill = func() error { return signal(syscall.SIGKILL) }
	r.Freeze = func(on bool) error {
		if on {
			return signal(syscall.SIGSTOP)
		}
		return signal(syscall.SIGCONT)
	}
	r.Reload = func(text string) error {
		if err := s.Machine.Ask(guest.Request{Do: guest.Write, Path: config, Text: text}, nil); err != nil {
			return err
		}
		return signal(syscall.SIGHUP)
	}
	r.CPU = s.cpu
	r.Usage = func() (world.Usage, error) { return s.held(r) }
	r.Log = func() string { return s.Machine.Console(64 << 10) }
	return r
}

// cpu is the daemon's processor time, two seconds old or so: it is asked for fifty times in each by one who counts octets
// meanwhile and can't wait for a guest that has its hands full.
func (s *Slot) cpu() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asking && time.Since(s.asked) > 2*time.Second {
		s.asking = true
		go func() {
			var u guest.Usage
			err := s.Machine.Ask(guest.Request{Do: guest.Measure, Text: guest.Brief}, &u)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.asking, s.asked = false, time.Now(); err == nil {
				s.spent = u.CPU
			}
		}()
	}
	return s.spent
}

// held is what the daemon holds of the guest: its memory, descriptors and sessions.
func (s *Slot) held(r world.Router) (u world.Usage, err error) {
	var g guest.Usage
	if err := s.Machine.Ask(guest.Request{Do: guest.Measure}, &g); err != nil {
		return u, err
	}
	status, err := r.Status()
	return world.Usage{RSS: g.RSS, Descriptors: g.Files, Sessions: status.Sessions, Goroutines: status.Goroutines}, err
}

// awaitDoor waits until LAN connections are relayed: the daemon's door is open and the rules lead there.
func (s *Slot) awaitDoor(r world.Router) error {
	ended, asked := "", error(nil)
	err := world.WaitFor("the daemon's control socket, its door and the rules that lead there", 4*time.Minute, func() bool {
		if status, err := r.Status(); err == nil && status.Doors.Open {
			rules := ""
			asked = s.Machine.Ask(guest.Request{Do: guest.NFT}, &rules)
			if asked != nil || strings.Contains(rules, "tproxy ip to") && strings.Contains(rules, "tproxy ip6 to") {
				return true
			}
		}
		asked = s.Machine.Ask(guest.Request{Do: guest.Ended}, &ended)
		time.Sleep(50 * time.Millisecond)
		return asked != nil || ended != ""
	})
	if ended != "" {
		err = fmt.Errorf("the daemon ended: %s", ended)
	}
	return errors.Join(asked, err)
}

// control asks the daemon's control socket.
func (s *Slot) control(socket, method string, args any) (json.RawMessage, error) {
	if args == nil {
		args = struct{}{}
	}
	line, err := json.Marshal(map[string]any{"method": method, "args": args})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	if err := s.Machine.Ask(guest.Request{Do: guest.Control, Path: socket, Text: string(line)}, &answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("control socket: %s: %s", method, answer.Error)
	}
	return answer.Result, nil
}
