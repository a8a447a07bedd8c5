// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"spillway/concentrator"
)

// serveStats serves the counters over HTTP until the returned function is called.
func serveStats(at string, server *concentrator.Server, log *slog.Logger) (closeStats func(), err error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, fmt.Errorf("-stats: %w", err)
	}
	log.Info("concentrator: counters", "url", fmt.Sprintf("http://%v/metrics", l.Addr()))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		server.Stats().WriteMetrics(w)
	})
	web := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 8192}
	go web.Serve(l) // ends with Close
	return func() { web.Close() }, nil
}

// printOnSignal logs the counters at SIGUSR1 until the returned function is called.
func printOnSignal(server *concentrator.Server, log *slog.Logger) (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR1)
	go func() {
		for range ch {
			logStats(server, log)
		}
	}()
	return func() { signal.Stop(ch); close(ch) }
}

// logStats logs the connections open now and the counters that aren't 0, one a line.
func logStats(server *concentrator.Server, log *slog.Logger) {
	var text strings.Builder
	server.Stats().WriteMetrics(&text)
	for line := range strings.Lines(text.String()) {
		line, ours := strings.CutPrefix(strings.TrimSpace(line), "spillway_concentrator_")
		if ours && (strings.HasPrefix(line, "connections ") || !strings.HasSuffix(line, " 0")) {
			log.Info("concentrator: " + line)
		}
	}
}
