// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"syscall"
)

func prepareDial(fd int, v6 bool, o DialOptions) error { return errTODO }

// control runs fn on a raw connection's descriptor and joins both errors.
func control(c syscall.RawConn, fn func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}
