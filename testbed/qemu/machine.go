// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"spillway/testbed/qemu/guest"
)

// Machine is an emulated computer that runs.
type Machine struct {
	About guest.About
	Took  time.Duration // from the emulator's start to the guest's first answer, on the host's clock

	console string // file
	cmd     *exec.Cmd
	done    chan struct{} // closed when the emulator has ended
	err     error
	timer   *time.Timer

	mu     sync.Mutex // one request at a time
	agent  *lineConn
	qmp    *lineConn
	qmpMu  sync.Mutex
	beyond bool // the time limit ended it
}

// lineConn speaks JSON, a line each way.
type lineConn struct {
	net.Conn
	r *bufio.Reader
}

// bootLimit is how long a guest may take until its first answer; on an idle machine it takes less than a thirtieth of it.
const bootLimit = 6 * time.Minute

// ErrMachine: the emulator or the guest as a whole failed, not what runs in it.
var ErrMachine = errors.New("the emulated machine fails")

// boot starts a machine whose network devices are descriptors that QEMU takes frames from, the first the LAN's TAP, the
// others sockets. It owns them. limit is when the machine is ended however it fares. capture: what passes each device is written beside the
// console's file.
func boot(g Guest, image Image, memory int, lan *os.File, links []*os.File, console string, capture bool, limit time.Duration) (*Machine, error) {
	begin := time.Now()
	m := &Machine{console: console, done: make(chan struct{})}
	agentHost, agentGuest, err := pair("agent")
	if err != nil {
		return nil, err
	}
	qmpHost, qmpGuest, err := pair("qmp")
	if err != nil {
		return nil, err
	}
	files := append([]*os.File{agentGuest, qmpGuest, lan}, links...)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	m.agent, m.qmp = agentHost, qmpHost
	args := arguments(g, image, memory, len(links), console)
	if capture {
		args = append(args, dumps(filepath.Dir(console), len(links))...)
	}
	m.cmd = exec.Command(g.QEMU, args...)
	m.cmd.ExtraFiles = files // descriptor 3 on
	m.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	said := &strings.Builder{}
	m.cmd.Stdout, m.cmd.Stderr = said, said
	started := make(chan error)
	go m.run(started, said)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s (Debian package %s): %w", g.QEMU, g.Package, err)
	}
	m.timer = time.AfterFunc(limit, func() {
		m.beyond = true
		m.cmd.Process.Kill()
	})
	if err := errors.Join(m.askQMP(nil), m.askQMP(map[string]any{"execute": "qmp_capabilities"})); err != nil {
		return nil, errors.Join(err, m.fell())
	}
	if err := m.ask(guest.Request{Do: guest.Hello}, &m.About, bootLimit); err != nil {
		return nil, fmt.Errorf("%w: %w\nthe console's end:\n%s", ErrMachine, errors.Join(err, m.fell()), m.Console(3000))
	}
	m.Took = time.Since(begin)
	return m, nil
}

// run starts the emulator and waits for its end, on a thread of its own: should this process be killed, the emulator is
// killed too (Pdeathsig), and what counts is the thread that started it.
func (m *Machine) run(started chan<- error, said *strings.Builder) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := m.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	m.err = m.cmd.Wait()
	if said.Len() > 0 {
		m.err = errors.Join(m.err, errors.New(strings.TrimSpace(said.String())))
	}
	m.agent.Close() // a pending request ends
	m.qmp.Close()
	close(m.done)
}

// arguments is the emulator's command line. nokaslr: a MIPS kernel moves itself upwards by a random distance without a look at what is
// there (arch/mips/kernel/relocate.c, determine_relocation_address), and a 64-bit one in 128 MB would now and then end up on the
// initramfs, which lies at the top. no_timer_check: an x86 kernel counts the timer's interrupts during a short loop, and panics when a
// busy host let too few come through ("IO-APIC + timer doesn't work").
func arguments(g Guest, image Image, memory, links int, console string) []string {
	args := append([]string{}, g.Machine...)
	args = append(args, "-m", fmt.Sprint(memory), "-display", "none", "-vga", "none", "-parallel", "none", "-nic", "none", "-no-reboot",
		"-serial", "file:"+console, "-monitor", "none",
		"-kernel", image.Kernel, "-initrd", image.Initramfs, "-append", "console="+g.Console+" quiet panic=-1 rdinit=/init nokaslr no_timer_check mitigations=off",
		"-chardev", "socket,id=agent,fd=3", "-device", g.device("virtio-serial", 0), "-device", "virtserialport,chardev=agent,name=agent",
		"-chardev", "socket,id=qmp,fd=4", "-mon", "chardev=qmp,mode=control",
		"-netdev", "tap,id=net0,fd=5")
	for i := range links {
		args = append(args, "-netdev", fmt.Sprintf("dgram,id=net%d,local.type=fd,local.str=%d", i+1, 6+i))
	}
	for i := range links + 1 {
		args = append(args, "-device", fmt.Sprintf("%s,netdev=net%d,mac=%s", g.device("virtio-net", i+1), i, hardware(i)))
	}
	return args
}

// dumps has the emulator write what passes each device to DIR/net0.pcap (the LAN's) and so on: what the guest was given, and what it gave.
func dumps(dir string, links int) (args []string) {
	for i := range links + 1 {
		args = append(args, "-object", fmt.Sprintf("filter-dump,id=dump%d,netdev=net%d,file=%s,maxlen=2000", i, i, filepath.Join(dir, fmt.Sprintf("net%d.pcap", i))))
	}
	return args
}

// device is a virtio device. On PCI all are functions of one slot, since a Malta board has interrupts for four slots only.
func (g Guest) device(kind string, function int) string {
	if g.Bus != "pci" {
		return kind + "-" + g.Bus
	}
	name := fmt.Sprintf("%s-pci,addr=0x12.%d,multifunction=on", kind, function)
	if kind == "virtio-net" {
		name += ",romfile="
	}
	return name
}

// hardware is the address of a device: 0 is the LAN's.
func hardware(i int) string { return fmt.Sprintf("52:54:00:12:34:%02x", i) }

// pair makes a stream between us and QEMU.
func pair(name string) (ours *lineConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fds[0]), name)
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return &lineConn{c, bufio.NewReaderSize(c, 64<<10)}, os.NewFile(uintptr(fds[1]), name), nil
}

// Ask makes the guest do one thing. result may be nil.
func (m *Machine) Ask(r guest.Request, result any) error { return m.ask(r, result, 2*time.Minute) }

func (m *Machine) ask(r guest.Request, result any, within time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var answer guest.Answer
	m.agent.SetDeadline(time.Now().Add(within))
	err := json.NewEncoder(m.agent).Encode(r)
	if err == nil {
		err = m.agent.read(&answer)
	}
	if err != nil {
		m.agent.Close() // answers would no longer belong to their requests
		return fmt.Errorf("%w: %s: %w", ErrMachine, r.Do, err)
	}
	if answer.Error != "" {
		return fmt.Errorf("guest: %s: %s", r.Do, answer.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, result)
}

func (c *lineConn) read(v any) error {
	line, err := c.r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// Plug puts the cable of a link in or out.
func (m *Machine) Plug(link int, in bool) error {
	return m.askQMP(map[string]any{"execute": "set_link", "arguments": map[string]any{"name": fmt.Sprintf("net%d", link+1), "up": in}})
}

// askQMP asks the emulator itself; nil only reads its greeting.
func (m *Machine) askQMP(request any) error {
	m.qmpMu.Lock()
	defer m.qmpMu.Unlock()
	m.qmp.SetDeadline(time.Now().Add(30 * time.Second))
	if request != nil {
		if err := json.NewEncoder(m.qmp).Encode(request); err != nil {
			return fmt.Errorf("emulator: %w", err)
		}
	}
	for {
		var answer struct {
			QMP, Return, Event json.RawMessage
			Error              struct{ Desc string }
		}
		if err := m.qmp.read(&answer); err != nil {
			return fmt.Errorf("emulator: %w", err)
		}
		switch {
		case answer.Error.Desc != "":
			return fmt.Errorf("emulator: %s", answer.Error.Desc)
		case answer.QMP != nil || answer.Return != nil:
			return nil
		}
	}
}

// End switches the machine off. The error says if it had ended by itself.
func (m *Machine) End() error {
	defer m.timer.Stop()
	select {
	case <-m.done:
		if m.beyond {
			return errors.New("the guest was ended by its time limit")
		}
		if m.err == nil {
			return errors.New("the emulator ended: the guest has switched itself off, or panicked")
		}
		return fmt.Errorf("the emulator ended: %w", m.err)
	default:
	}
	m.cmd.Process.Kill()
	<-m.done
	return nil
}

// fell waits a moment for an emulator that hung up and returns what it said.
func (m *Machine) fell() error {
	select {
	case <-m.done:
	case <-time.After(time.Second):
	}
	return m.End()
}

// Console is the end of what the guest has printed.
func (m *Machine) Console(octets int) string {
	b, _ := os.ReadFile(m.console)
	return string(b[max(0, len(b)-octets):])
}

// lanTAP makes the LAN host's device, whose other end is QEMU's. It is made in the caller's network namespace.
func lanTAP(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun (load the module: modprobe tun): %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Base(name)), nil
}
