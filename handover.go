// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"spillway/json"
)

// A binary is replaced without a connection noticing: the new process asks the old one over the control socket for the door's
// listening sockets, and gets duplicates of them. The old one stops accepting, leaves the kernel's state as it is, lets its connections
// finish, and ends. SYNs that arrive meanwhile wait in the sockets' queue, which is one and the same.

// handoverMethod is asked by a successor. It is no method of the ubus object.
const handoverMethod = "handover"

// maxHanded bounds how many sockets are taken: one for each family is all there are.
const maxHanded = 8

// takeOver asks the daemon at path for its listening sockets. nil without an error: none answers there.
func takeOver(path string) ([]*os.File, error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil, nil
	}
	defer conn.Close()
	c := conn.(*net.UnixConn)
	if err := rootsOwn(c); err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(30 * time.Second)) // a busy router
	if _, err := c.Write([]byte(`{"method":"` + handoverMethod + `"}` + "\n")); err != nil {
		return nil, fmt.Errorf("ask the daemon to hand over: %w", err)
	}
	line, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*maxHanded))
	n, m, _, _, err := c.ReadMsgUnix(line, rights)
	if err != nil {
		return nil, fmt.Errorf("the daemon's listening sockets: %w", err)
	}
	files, err := receivedFiles(rights[:m])
	if err != nil {
		return nil, err
	}
	var r response
	if err := json.Decode(line[:n], &r); err != nil || r.Error != "" || len(files) == 0 {
		for _, f := range files {
			f.Close()
		}
		return nil, errors.Join(fmt.Errorf("the daemon does not hand over: %s", r.Error), err)
	}
	return files, nil
}

// rootsOwn tells whether a socket's other end is root's, or ours: anybody might have put one into a directory that others may write to, and
// what we take from it becomes the door.
func rootsOwn(c *net.UnixConn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	cerr := rc.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(cerr, err); err != nil {
		return fmt.Errorf("who answers at the control socket: %w", err)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("the control socket is answered by user %d, not by root: nothing is taken from there", cred.Uid)
	}
	return nil
}

// receivedFiles takes descriptors out of a control message.
func receivedFiles(rights []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("the daemon's listening sockets: %w", err)
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // of another kind
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "listener"))
		}
	}
	return files, nil
}

// handOver answers a successor on its connection: the listening sockets with the answer line. When it returns true this process is to end
// without touching the kernel.
func (h *house) handOver(c *net.UnixConn) bool {
	files, err := h.relay.Listeners()
	if err == nil && len(files) == 0 {
		err = errors.New("the door is closed now; start without -takeover")
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		out, _ := json.Encode(response{Error: err.Error()})
		c.Write(append(out, '\n'))
		return false
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if _, _, err := c.WriteMsgUnix([]byte(`{"result":{}}`+"\n"), unix.UnixRights(fds...), nil); err != nil {
		h.relay.NotHandedOver()
		h.log.Warn("hand over the listening sockets", "error", err)
		return false
	}
	h.log.Info("handed over to a successor; finishing the connections that live", "connections", h.relay.Stats().Sessions)
	return true
}

// succeed saves the counters for a successor, lets connections take their time, and hands over. Where that fails all goes on as before.
func (h *house) succeed(ctx context.Context, c *net.UnixConn) bool {
	h.call(ctx, func() { h.saveUsage(true); h.finishWithin(max(finishMost, h.cfg.Relay.StopWithin)) })
	if h.handOver(c) {
		return true
	}
	h.call(ctx, func() {
		h.finishWithin(h.cfg.Relay.StopWithin)
		h.saveUsage(false) // the file promises that nothing is used any more
	})
	return false
}

// finishMost is how long the connections of a process that has handed over may go on.
const finishMost = time.Hour

// finishWithin sets how long connections may take at the end.
func (h *house) finishWithin(d time.Duration) {
	c := h.relayConfig()
	c.DrainTimeout = d
	if err := h.relay.SetConfig(c); err != nil {
		h.log.Warn("time to finish", "error", err)
	}
}

// isHandover tells whether a request line is a successor's.
func isHandover(line []byte) bool {
	var r request
	return json.Decode(line, &r) == nil && r.Method == handoverMethod
}
