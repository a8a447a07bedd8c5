// SPDX-License-Identifier: Apache-2.0

package nfqueue

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/testbed/netns"
)

// A queue has one reader; the next one can have it when that is gone. testbed's TestFaithful sends packets through.
func TestOneReader(t *testing.T) {
	ns := netns.New(t, "queue")
	open := func() (q *Queue, err error) {
		err = ns.Do(func() (err error) {
			q, err = Open(7, 10)
			return err
		})
		return q, err
	}
	q, err := open()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no nfnetlink_queue: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, unix.EPERM) {
		t.Errorf("a second reader: %v, want EPERM", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := errors.Join(q.Drop(99), q.Run(ctx, func(p Packet) { t.Errorf("a packet: %+v", p) })); err != nil {
		t.Errorf("a verdict on a packet that is not there, and reading to the end of the context: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err = open(); err != nil {
		t.Fatal(err)
	}
	q.Close()
}
