// SPDX-License-Identifier: Apache-2.0

// Command gocopy is the yardstick of what a relay costs when it is written the way Go invites to: two goroutines a
// connection, io.Copy, which splices where the kernel can. It listens transparently and speaks RFC 8803 over MPTCP.
//
//	gocopy PORT CONVERTER:PORT
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/mptcp"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gocopy PORT CONVERTER:PORT")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "gocopy:", serve(os.Args[1], os.Args[2]))
	os.Exit(1)
}

// serve returns only with an error.
func serve(port, converter string) error {
	to, err := netip.ParseAddrPort(converter)
	if err != nil {
		return err
	}
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) })
		return err
	}}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp4", "0.0.0.0:"+port)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go relay(c.(*net.TCPConn), to)
	}
}

func relay(lan *net.TCPConn, to netip.AddrPort) {
	defer lan.Close()
	up, err := dial(to, lan.LocalAddr().(*net.TCPAddr).AddrPort())
	if err != nil {
		lan.SetLinger(0)
		return
	}
	defer up.Close()
	done := make(chan struct{})
	go func() {
		io.Copy(up, lan)
		up.CloseWrite()
		close(done)
	}()
	io.Copy(lan, up)
	lan.CloseWrite()
	<-done
}

// dial asks the converter for dst, the request in the SYN.
func dial(to, dst netip.AddrPort) (*net.TCPConn, error) {
	up, err := mptcp.Dial(context.Background(), to, mptcp.DialOptions{FastOpen: true})
	if err != nil {
		return nil, err
	}
	if err := converse(up, dst); err != nil {
		up.Close()
		return nil, err
	}
	return up, nil
}

func converse(up *net.TCPConn, dst netip.AddrPort) error {
	request, err := (&convert.Message{Connect: &convert.Connect{Addr: dst}}).Append(nil)
	if err != nil {
		return err
	}
	if _, err := up.Write(request); err != nil {
		return err
	}
	b := make([]byte, convert.MaxMessage)
	if _, err := io.ReadFull(up, b[:convert.HeaderLen]); err != nil {
		return err
	}
	n, err := convert.Length(b[:convert.HeaderLen])
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(up, b[convert.HeaderLen:n]); err != nil {
		return err
	}
	m, _, err := convert.Parse(b[:n])
	if err == nil && m.Error != nil {
		err = errors.New("refused")
	}
	return err
}
