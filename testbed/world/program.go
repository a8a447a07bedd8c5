// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main is the end of a program's main: it runs fn until it ends or the program is interrupted, so that fn can tidy up, and exits with 1 after
// an error.
func Main(name string, fn func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := fn(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}
