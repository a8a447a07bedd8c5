// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"spillway/journal"
	"spillway/json"
)

// The control socket speaks one JSON request a line and answers with one JSON line: {"result": ...} or {"error": "..."}.

// request is a call of a method. The methods are those of the ubus object.
type request struct {
	Method string   `json:"method"`
	Args   json.Raw `json:"args,omitempty"`
}

type response struct {
	Result json.Raw `json:"result,omitempty"`
	Error  string   `json:"error,omitempty"`
}

// maxRequest bounds a request line in octets.
const maxRequest = 64 << 10

// handler answers one method; the result must marshal to a JSON object.
type handler func(ctx context.Context, method string, args json.Raw) (any, error)

// errNoMethod is what a handler returns for a method it doesn't know.
var errNoMethod = errors.New("no such method")

// listenControl opens the control socket, mode 0600. A socket left by a daemon that died is replaced; one that still
// answers is not.
func listenControl(path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("control socket %s: another spillway answers there; stop it first", path)
	}
	// Made under another name and renamed, so that nobody meets the socket with a wider mode, nor none while it is replaced.
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(fresh)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		l.Close()
		os.Remove(fresh)
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// serveControl answers until ctx ends.
//
// handOver answers a successor (handover.go); nil: nobody is to succeed.
func serveControl(ctx context.Context, l *net.UnixListener, handle handler, handOver func(*net.UnixConn), log *journal.Logger) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			log.Warn("control socket: accept", "error", err)
			select { // out of descriptors, most likely: not a reason to end
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
			continue
		}
		go answer(ctx, c, quietMost, handle, handOver)
	}
}

const (
	quietMost = time.Minute // for which a client may say nothing, or not read
	patience  = 30 * time.Second
	// examineTimes as long a client waits for the method doctor, which itself waits 3 s for each thing that does not answer.
	examineTimes = 20
)

// answer serves one client until it leaves, is quiet for so long, or says something that is no request.
func answer(ctx context.Context, c *net.UnixConn, quiet time.Duration, handle handler, handOver func(*net.UnixConn)) {
	defer c.Close()
	in := bufio.NewReaderSize(io.LimitReader(c, 1<<62), 4096)
	for ctx.Err() == nil {
		c.SetDeadline(time.Now().Add(quiet))
		line, err := readLine(in, maxRequest)
		if err != nil {
			return
		}
		if handOver != nil && isHandover(line) {
			handOver(c)
			return
		}
		response := append(respond(ctx, line, handle), '\n')
		c.SetDeadline(time.Now().Add(quiet)) // an examination may take longer than that
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

// respond answers one request line.
func respond(ctx context.Context, line []byte, handle handler) []byte {
	var req request
	var result any
	err := json.Decode(line, &req)
	if err != nil {
		err = fmt.Errorf("request is not JSON of the form {\"method\": ..., \"args\": {...}}: %w", err)
	} else {
		result, err = handle(ctx, req.Method, req.Args)
	}
	var resp response
	if err == nil {
		resp.Result, err = json.Encode(result)
	}
	if err != nil {
		resp = response{Error: err.Error()}
	}
	out, _ := json.Encode(resp) // of a string or of JSON just marshalled: can't fail
	return out
}

// readLine reads up to and without the newline, at most limit octets.
func readLine(in *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return nil, fmt.Errorf("line of over %d octets", limit)
		}
		if err == nil {
			return line[:len(line)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// client asks a running daemon.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	wait time.Duration // for an answer
}

// dialControl connects to the daemon's control socket.
func dialControl(path string) (*client, error) {
	c, err := net.DialTimeout("unix", path, 2*time.Second)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("the control socket %s is root's: try again as root", path)
	}
	if err != nil {
		return nil, fmt.Errorf("no daemon answers at %s (%w); is it running? start it with: spillway run, on OpenWrt: service spillway start", path, err)
	}
	return &client{c, bufio.NewReader(c), patience}, nil
}

// call asks one method and decodes the answer into result, a pointer, which may be a *json.Raw.
func (c *client) call(method string, args, result any) error {
	req := request{Method: method}
	if args != nil {
		req.Args, _ = json.Encode(args)
	}
	line, _ := json.Encode(req)
	wait := c.wait
	if method == "doctor" {
		wait *= examineTimes
	}
	c.conn.SetDeadline(time.Now().Add(wait))
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	answer, err := readLine(c.in, 64<<20)
	if err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	var resp response
	if err := json.Decode(answer, &resp); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	if resp.Error != "" {
		return errors.New(resp.Error)
	}
	return json.Decode(resp.Result, result)
}
