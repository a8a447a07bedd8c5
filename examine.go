// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/doctor"
	"spillway/mptcp"
	"spillway/sockopt"
)

// optionNames puts kinds of TCP options (IANA's numbers) in words.
func optionNames(kinds []byte) string {
	var names []string
	for _, k := range kinds {
		switch k {
		case 4:
			names = append(names, "SACK")
		case 8:
			names = append(names, "timestamps")
		case convert.OptionMPTCP:
			names = append(names, "MPTCP")
		default:
			names = append(names, strconv.Itoa(int(k)))
		}
	}
	return or(strings.Join(names, ", "), "none")
}

// addProbes gives doctor its ways to ask a concentrator by one link.
func addProbes(w *doctor.World) {
	info := convert.Message{Info: true}
	w.Connect = probeConnect
	w.PathMTU = probePathMTU
	w.SeenFrom = probeSeen
	w.Info = func(l doctor.Link, c doctor.Concentrator) (string, error) {
		m, _, err := askInfo(l, c, mptcp.DialOptions{}, info)
		if err != nil {
			return "", err
		}
		return "understands the TCP options " + optionNames(m.Supported), nil
	}
	w.SYNData = func(l doctor.Link, c doctor.Concentrator) (bool, error) {
		_, o, err := askInfo(l, c, mptcp.DialOptions{FastOpen: true}, info)
		return o.SYNDataAcked, err
	}
	w.MPTCP = func(l doctor.Link, c doctor.Concentrator) (bool, error) {
		_, o, err := askInfo(l, c, mptcp.DialOptions{}, info)
		return o.MPTCP, err
	}
	w.Join = func(from, l doctor.Link, c doctor.Concentrator) (bool, error) { return probeJoin(from, l, c, nil) }
}

// doctorWait bounds each probe.
const doctorWait = 3 * time.Second

// probeConnect times a plain TCP handshake by a link.
func probeConnect(l doctor.Link, c doctor.Concentrator) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), doctorWait)
	defer cancel()
	began := time.Now()
	conn, err := mptcp.Dial(ctx, c.Addr, mptcp.DialOptions{Local: l.Addr(c.Addr.Addr()), Device: l.Device, PlainTCP: true})
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	conn.Close()
	return took, nil
}

// askInfo sends a Convert Info, or another message, by a link and returns the answer and how the connection came out. A concentrator that tells
// a cookie is asked once more, with it.
func askInfo(l doctor.Link, c doctor.Concentrator, o mptcp.DialOptions, message convert.Message) (*convert.Message, mptcp.Outcome, error) {
	if c.Cookie != "" {
		message.Cookie = []byte(c.Cookie)
	}
	m, out, err := askOnce(l, c, o, message)
	if told, ok := errors.AsType[*convert.Error](err); ok && message.Cookie == nil && told.Cookie() != nil {
		message.Cookie = told.Cookie()
		return askOnce(l, c, o, message)
	}
	return m, out, err
}

func askOnce(l doctor.Link, c doctor.Concentrator, o mptcp.DialOptions, message convert.Message) (*convert.Message, mptcp.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), doctorWait)
	defer cancel()
	o.Local, o.Device = l.Addr(c.Addr.Addr()), l.Device
	conn, err := mptcp.Dial(ctx, c.Addr, o)
	if err != nil {
		return nil, mptcp.Outcome{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(doctorWait))
	ask, err := message.Append(nil)
	if err != nil {
		return nil, mptcp.Outcome{}, err
	}
	if _, err := conn.Write(ask); err != nil {
		return nil, mptcp.Outcome{}, err
	}
	answer := make([]byte, convert.HeaderLen, convert.MaxMessage)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, mptcp.Outcome{}, fmt.Errorf("no Convert answer: %w", err)
	}
	n, err := convert.Length(answer)
	if err != nil {
		return nil, mptcp.Outcome{}, err
	}
	answer = answer[:n]
	if _, err := io.ReadFull(conn, answer[convert.HeaderLen:]); err != nil {
		return nil, mptcp.Outcome{}, fmt.Errorf("half a Convert answer: %w", err)
	}
	m, _, err := convert.Parse(answer)
	if err != nil {
		return nil, mptcp.Outcome{}, err
	}
	out, err := mptcp.Inspect(conn)
	if m.Error != nil {
		return nil, out, m.Error
	}
	return m, out, err
}

// probeSeen asks our own concentrator for the address that a link's connections have there.
func probeSeen(l doctor.Link, c doctor.Concentrator) (netip.Addr, error) {
	m, _, err := askInfo(l, c, mptcp.DialOptions{PlainTCP: true}, convert.Message{Info: true, Unknown: []convert.TLV{convert.AskSeen()}})
	if err != nil {
		return netip.Addr{}, err
	}
	seen, ok := m.Seen()
	if !ok {
		return netip.Addr{}, errors.New("it is no concentrator of ours")
	}
	return seen.Addr(), nil
}

// probePathMTU sends segments as large as the link's MTU allows and waits for a sign that the first has arrived: an answer, an end
// or an acknowledgement. What a router on the way says of a smaller MTU, or TCP finds out itself (net.ipv4.tcp_mtu_probing), is in the result.
func probePathMTU(l doctor.Link, c doctor.Concentrator) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), doctorWait)
	defer cancel()
	conn, err := mptcp.Dial(ctx, c.Addr, mptcp.DialOptions{Local: l.Addr(c.Addr.Addr()), Device: l.Device, PlainTCP: true})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(doctorWait))
	ask, err := (&convert.Message{Info: true}).Append(make([]byte, 0, 2*l.MTU))
	if err != nil {
		return 0, err
	}
	if _, err := conn.Write(ask[:max(len(ask), cap(ask))]); err != nil { // what follows the message is nobody's
		return 0, err
	}
	_, silent := conn.Read(make([]byte, 1))
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info unix.TCPInfo
	if e := rc.Control(func(fd uintptr) { info, err = sockopt.TCPInfo(int(fd)) }); e != nil || err != nil {
		return 0, errors.Join(e, err)
	}
	var late interface{ Timeout() bool }
	if errors.As(silent, &late) && late.Timeout() && info.Bytes_acked < uint64(info.Snd_mss) {
		return 0, fmt.Errorf("nothing acknowledges packets of %d octets", info.Pmtu)
	}
	return int(info.Pmtu), nil
}

// probeJoinApart is probeJoin where the daemon makes the subflows, and of the relay's connections alone.
func probeJoinApart(from, l doctor.Link, c doctor.Concentrator) (bool, error) {
	return probeJoin(from, l, c, func(token uint32) error {
		device, err := net.InterfaceByName(l.Device)
		if err != nil {
			return err
		}
		pm, ok, err := mptcp.OpenPathManager()
		if err != nil || !ok {
			return errors.Join(err, errors.New("no path manager"))
		}
		defer pm.Close()
		return pm.CreateSubflow(token, mptcp.Endpoint{ID: 1, Addr: l.Addr(c.Addr.Addr()), IfIndex: device.Index}, c.Addr)
	})
}

// probeJoin begins a connection on one link and waits for its subflow on another. join makes it, when that is possible; nil: the kernel's path
// manager does.
func probeJoin(from, l doctor.Link, c doctor.Concentrator, join func(token uint32) error) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), doctorWait)
	defer cancel()
	conn, err := mptcp.Dial(ctx, c.Addr, mptcp.DialOptions{Local: from.Addr(c.Addr.Addr()), Device: from.Device})
	if err != nil {
		return false, fmt.Errorf("no connection by link %s: %w", from.Name, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{convert.Version}); err != nil { // the beginning of a message: nobody joins before data was acknowledged
		return false, err
	}
	diag, err := mptcp.OpenDiag()
	if err != nil {
		return false, err
	}
	defer diag.Close()
	in, err := mptcp.ConnInfo(conn)
	if err != nil {
		return false, fmt.Errorf("the connection by link %s: %w", from.Name, err)
	}
	tried := false
	for ctx.Err() == nil {
		all, err := diag.Subflows(mptcp.Which{})
		if err != nil {
			return false, err
		}
		for i := range all {
			switch s := &all[i]; {
			case s.Token != in.Token:
			case s.Local.Addr().Unmap() != l.Addr(c.Addr.Addr()):
				if s.Established && join != nil {
					if err := join(in.Token); err != nil {
						return false, err
					}
					join = nil
				}
			case s.Established:
				return true, nil
			default:
				tried = true
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	if tried {
		return false, errors.New("its SYN was not answered")
	}
	return false, nil
}
