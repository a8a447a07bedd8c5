// SPDX-License-Identifier: Apache-2.0

package sockopt

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

func socket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestWhatIsSetIsRead(t *testing.T) {
	fd := socket(t)
	if err := SetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
		t.Fatal(err)
	}
	if n, err := Int(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || n != 1 {
		t.Errorf("SO_KEEPALIVE is %d, %v", n, err)
	}
	if n, err := Int(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || n != unix.SOCK_STREAM {
		t.Errorf("SO_TYPE is %d, %v", n, err)
	}
}

func TestBytesAreAsManyAsTheKernelHas(t *testing.T) {
	fd := socket(t)
	b := bytes.Repeat([]byte{0xff}, 64)
	n, err := Bytes(fd, unix.SOL_TCP, unix.TCP_CONGESTION, b)
	if err != nil || n == 0 || n == len(b) || b[0] == 0xff || b[len(b)-1] != 0xff {
		t.Errorf("%d octets, %v: %q", n, err, b)
	}
	if n, err := Bytes(fd, unix.SOL_TCP, unix.TCP_CONGESTION, b[:2]); err != nil || n != 2 {
		t.Errorf("%d octets of 2, %v", n, err)
	}
}

func TestTCPInfoOfAListenerIsListen(t *testing.T) {
	fd := socket(t)
	if err := unix.Listen(fd, 3); err != nil {
		t.Fatal(err)
	}
	if info, err := TCPInfo(fd); err != nil || info.State != unix.BPF_TCP_LISTEN {
		t.Errorf("state %d, %v", info.State, err)
	}
}

func TestErrorsAreTheKernels(t *testing.T) {
	if _, err := Int(-1, unix.SOL_SOCKET, unix.SO_TYPE); err != unix.EBADF {
		t.Error(err)
	}
	if _, err := Bytes(-1, unix.SOL_SOCKET, unix.SO_TYPE, nil); err != unix.EBADF {
		t.Error(err)
	}
	if _, err := TCPInfo(-1); err != unix.EBADF {
		t.Error(err)
	}
	if err := SetInt(-1, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != unix.EBADF {
		t.Error(err)
	}
}
