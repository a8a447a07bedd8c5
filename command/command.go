// SPDX-License-Identifier: Apache-2.0

// Package command runs a program and collects what it prints. It does what little the daemon needs of os/exec, which would cost
// 31 kB of a router's flash.
package command

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// beyondPath is where system programs are though PATH may not name it.
const beyondPath = "/usr/sbin:/sbin"

// Find is the path of a program: name itself if it holds a slash, else where PATH has it, or /usr/sbin or /sbin. The error is
// fs.ErrNotExist (errors.Is) when it is nowhere.
func Find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(os.Getenv("PATH")+":"+beyondPath, ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && dir != "" {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s: %w", name, fs.ErrNotExist)
}

// Run gives stdin to a program and returns what it printed on standard output and standard error, also with an error: that it is not
// there, did not start, ended with another code than 0, or was ended because ctx was.
func Run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	path, err := Find(name)
	if err != nil {
		return "", err
	}
	in, feed, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer feed.Close()
	printed, out, err := os.Pipe()
	if err != nil {
		in.Close()
		return "", err
	}
	defer printed.Close()
	p, err := os.StartProcess(path, append([]string{name}, args...), &os.ProcAttr{
		Env: append(os.Environ(), "LC_ALL=C"), Files: []*os.File{in, out, out},
	})
	in.Close()
	out.Close()
	if err != nil {
		return "", err
	}
	go func() {
		io.WriteString(feed, stdin) // a program that doesn't read its input fails in its own way
		feed.Close()
	}()
	stop := context.AfterFunc(ctx, func() {
		p.Kill()
		printed.SetReadDeadline(time.Now()) // a child of its own may hold the pipe
	})
	text, _ := io.ReadAll(printed) // ends with the program's output
	state, err := p.Wait()
	stop()
	switch {
	case ctx.Err() != nil:
		return string(text), fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case err != nil:
		return string(text), fmt.Errorf("%s: %w", name, err)
	case !state.Success():
		return string(text), fmt.Errorf("%s: %v", name, state)
	}
	return string(text), nil
}
