// SPDX-License-Identifier: Apache-2.0

// Package openwrt lays a root tree with the parts of OpenWrt that packages meet, and runs it in a network namespace: opkg and apk, UCI,
// init scripts under a procd, ubus with netifd's interfaces, the log, and ujail. With it the packages are installed, switched on,
// upgraded and removed as docs/OPENWRT.md says, and the machine is compared before and after.
//
// All of it is ours, written after what the real programs are known to do (their sources are named where a rule is theirs); it knows
// no more than our packages use. Where opkg is on PATH, the tree gets that.
package openwrt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"spillway/openwrt/uci"
	"spillway/testbed/fakeubusd"
	"spillway/ubus"
)

// Socket is the bus's, seen from inside the tree.
const Socket = ubus.Socket

// Init is the tree's first process: it mounts what a router has mounted, and runs the bus, netifd's object, the log and procd until it is
// told to end; SIGUSR1 restarts the bus. Its death ends everything in the tree. "ready" on its output tells that commands may come.
func Init(root string) error {
	if err := enter(root); err != nil {
		return err
	}
	log, err := openLog()
	if err != nil {
		return err
	}
	bus, err := fakeubusd.Listen(Socket)
	if err != nil {
		return err
	}
	p := &procd{log: log, services: map[string]*service{}}
	ctx, end := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer end()
	published := make(chan struct{}, 1)
	go ubus.Run(ctx, Socket, ubus.Options{Objects: []ubus.Object{p.object(), netifd()}, OnConnect: func(*ubus.Conn) {
		select {
		case published <- struct{}{}:
		default:
		}
	}})
	<-published
	if out, err := exec.Command("/sbin/reload_config").CombinedOutput(); err != nil { // as the last act of /etc/init.d/boot
		return fmt.Errorf("reload_config: %w: %s", err, out)
	}
	fmt.Println("ready")
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGUSR1)
	for {
		select {
		case <-ctx.Done():
			bus.Close()
			return nil
		case <-again: // ubusd ends and is started again
			bus.Close()
			if bus, err = fakeubusd.Listen(Socket); err != nil {
				return err
			}
		}
	}
}

// enter makes the tree this process's root.
func enter(root string) error {
	steps := []func() error{
		func() error { return unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount(root, root, "", unix.MS_BIND, "") },
		func() error { return unix.Mount("none", root+"/proc", "proc", 0, "") },
		func() error { return unix.Mount("none", root+"/sys", "sysfs", unix.MS_RDONLY, "") },
		func() error { return unix.Mount("none", root+"/tmp", "tmpfs", 0, "") },
		func() error { return unix.Mount("none", root+"/dev", "tmpfs", 0, "mode=0755") },
		func() error { return os.Mkdir(root+"/tmp/.old", 0o755) },
		func() error { return unix.PivotRoot(root, root+"/tmp/.old") },
		func() error { return os.Chdir("/") },
		func() error { return unix.Unmount("/tmp/.old", unix.MNT_DETACH) },
		func() error { return os.Remove("/tmp/.old") },
	}
	for _, name := range []string{"/tmp/run/ubus", "/tmp/log", "/tmp/lock", "/tmp/.uci"} {
		steps = append(steps, func() error { return os.MkdirAll(name, 0o755) })
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("enter %s, step %d: %w", root, i, err)
		}
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := unix.Mknod("/dev/"+name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
		os.Chmod("/dev/"+name, 0o666)
	}
	return nil
}

// openLog listens where logger writes, and appends to the file that logread reads.
func openLog() (log func(severity, ident, line string), err error) {
	f, err := os.OpenFile("/var/log/messages", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	write := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(f, time.Now().Format("15:04:05.000"), line)
	}
	go func() {
		b := make([]byte, 8192)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			write(strings.TrimSpace(string(b[:n])))
		}
	}()
	return func(severity, ident, line string) { write("daemon." + severity + " " + ident + ": " + line) }, nil
}

// netifd is the object network.interface: interfaces as /etc/config/network has them, all up.
func netifd() ubus.Object {
	return ubus.Object{Name: "network.interface", Methods: []ubus.Method{{Name: "dump", Handle: func(ubus.Msg) (any, ubus.Status) {
		raw, err := os.ReadFile(filepath.Join(configDir, "network"))
		if err != nil {
			return nil, ubus.NotFound
		}
		sections, err := uci.Parse(string(raw))
		if err != nil {
			return nil, ubus.UnknownError
		}
		var all []ubus.Msg
		for _, s := range sections {
			if s.Type == "interface" {
				all = append(all, ubus.Msg{{Name: "interface", Value: s.Name}, {Name: "up", Value: true}, {Name: "l3_device", Value: s.Get("device")},
					{Name: "device", Value: s.Get("device")}, {Name: "proto", Value: s.Get("proto")}})
			}
		}
		return ubus.Msg{{Name: "interface", Value: all}}, ubus.OK
	}}}}
}

// ProcdCall is procd.sh's way to procd: METHOD NAME SCRIPT, and what the script said on standard input.
func ProcdCall(args []string, text string) error {
	ctx := context.Background()
	c, err := ubus.Dial(ctx, Socket)
	if err != nil {
		return err
	}
	defer c.Close()
	if len(args) < 3 {
		return errors.New("procd-call METHOD NAME SCRIPT")
	}
	method, name := args[0], args[1]
	if method != "status" && method != "info" {
		_, err = c.Call(ctx, "service", method, ubus.Msg{{Name: "name", Value: name}, {Name: "script", Value: args[2]}, {Name: "text", Value: text}})
		return err
	}
	list, err := c.Call(ctx, "service", "list", ubus.Msg{{Name: "name", Value: name}})
	s := list.Table(name)
	switch {
	case err != nil:
		return err
	case method == "info":
		fmt.Printf("%s\n", s.JSON())
	case s.Bool("running"):
		fmt.Println("running")
	case len(s) == 0:
		fmt.Println("inactive")
	default:
		fmt.Println("active with no instances")
	}
	return nil
}

// Ubus is the command ubus: call, list, send, listen, subscribe.
func Ubus(args []string) error {
	ctx, end := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer end()
	c, err := ubus.Dial(ctx, Socket)
	if err != nil {
		return err
	}
	defer c.Close()
	for len(args) < 2 {
		args = append(args, "*")
	}
	show := func(kind string, data ubus.Msg) { fmt.Printf("{ %q: %s }\n", kind, data.JSON()) }
	switch args[0] {
	case "call":
		request := ubus.Msg{}
		if len(args) > 3 {
			if request, err = ubus.FromJSON([]byte(args[3])); err != nil {
				return err
			}
		}
		answer, err := c.Call(ctx, args[1], args[2], request)
		if err != nil {
			return fmt.Errorf("command failed: %w", err)
		}
		fmt.Printf("%s\n", answer.JSON())
		return nil
	case "list":
		found, err := c.Lookup(ctx, args[1])
		for _, f := range found {
			fmt.Println(f.Path)
		}
		return err
	case "send":
		if err := c.Send(args[1], ubus.Msg{}); err != nil {
			return err
		}
		return c.Ping(ctx) // what was sent before has arrived
	case "listen":
		err = c.Listen(ctx, args[1], show)
	case "subscribe":
		err = c.Subscribe(ctx, args[1], show, end)
	default:
		err = fmt.Errorf("ubus: no command %q", args[0])
	}
	if err == nil {
		<-ctx.Done()
	}
	return err
}
