// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"syscall"
	"testing"
)

// TestHeapOfTheDaemon is the daemon with a profile of its heap, which the router's binary has no room for. The relay bench
// (testbed/bench, work "heap") runs it in a namespace: each SIGUSR2 writes a profile of what lives, to SPILLWAY_HEAP.1, .2 and so on.
func TestHeapOfTheDaemon(t *testing.T) {
	config, prefix := os.Getenv("SPILLWAY_CONFIG"), os.Getenv("SPILLWAY_HEAP")
	if config == "" || prefix == "" {
		t.Skip("a tool of the bench: SPILLWAY_CONFIG and SPILLWAY_HEAP tell what to run and where to write")
	}
	runtime.MemProfileRate = 512
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	go func() {
		for n := 1; ; n++ {
			<-asked
			if err := writeHeap(fmt.Sprintf("%s.%d", prefix, n)); err != nil {
				t.Error(err)
			}
		}
	}()
	if code := spillway(ctx, env{os.Stdin, os.Stdout, os.Stderr, false}, []string{"run", "-config", config}); code != 0 {
		t.Fatalf("exit %d", code)
	}
}

// writeHeap writes a profile under another name and renames it, so that who waits for the name finds it whole.
func writeHeap(path string) error {
	runtime.GC() // a profile is as of the last collection but one
	runtime.GC()
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
