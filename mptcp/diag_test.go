// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// attr appends one attribute with padding.
func attr(b []byte, typ uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, data...)
	return append(b, make([]byte, -len(b)&3)...)
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// diagMessage is a subflow as the kernel would send it, with further attributes appended.
func diagMessage(flags uint32) []byte {
	e := binary.NativeEndian
	b := make([]byte, diagMessageLen)
	b[0], b[1] = unix.AF_INET, 1
	copy(b[4:], []byte{0x12, 0x34, 0x14, 0x04})
	copy(b[8:], []byte{192, 0, 2, 1})
	copy(b[24:], []byte{192, 0, 2, 9})
	e.PutUint32(b[40:], 7)
	e.PutUint32(b[68:], 4711)
	info := make([]byte, 232)
	info[0] = 1
	e.PutUint32(info[68:], 20000)
	b = attr(b, diagInfo, info)
	b = attr(b, diagMark, u32(0x100))
	var sub []byte
	sub = attr(sub, 1, u32(0x11111111))
	sub = attr(sub, subTokenLoc, u32(0xa1b2c3d4))
	sub = attr(sub, subFlags, u32(flags))
	sub = attr(sub, subIDRem, []byte{3})
	sub = attr(sub, subIDLoc, []byte{12})
	ulp := attr(nil, ulpName, []byte("mptcp\x00"))
	ulp = attr(ulp, ulpMPTCP|0x8000, sub)
	return attr(b, diagULP|0x8000, ulp)
}

func TestParseSubflow(t *testing.T) {
	joined := uint32(subFlagJoinLoc | subFlagJoinRem | subFlagFullyEst | subFlagBackupLoc | subFlagConnected)
	got, ok, err := parseSubflow(diagMessage(joined))
	want := Subflow{
		Token: 0xa1b2c3d4, Local: netip.MustParseAddrPort("192.0.2.1:4660"), Remote: netip.MustParseAddrPort("192.0.2.9:5124"),
		LocalID: 12, RemoteID: 3, Backup: true, Established: true, Join: true, IfIndex: 7, Mark: 0x100, Inode: 4711,
		TCP: TCPInfo{State: 1, RTT: 20 * time.Millisecond},
	}
	if err != nil || !ok || got != want {
		t.Errorf("got %+v, %v, %v, want %+v", got, ok, err, want)
	}
	if got, _, _ := parseSubflow(diagMessage(subFlagConnected | 1<<1)); !got.Fallback {
		t.Errorf("a connection whose peer had no MPTCP isn't in fallback: %+v", got)
	}
}

func TestParseSubflowOfPlainTCP(t *testing.T) {
	b := diagMessage(0)[:diagMessageLen]
	if _, ok, err := parseSubflow(b); ok || err != nil {
		t.Errorf("plain socket: %v, %v", ok, err)
	}
	tls := attr(b, diagULP, attr(nil, ulpName, []byte("tls\x00")))
	if _, ok, err := parseSubflow(tls); ok || err != nil {
		t.Errorf("socket of another layer: %v, %v", ok, err)
	}
}

func TestParseSubflowCutAnywhere(t *testing.T) {
	full := diagMessage(1)
	for n := range full {
		if _, ok, _ := parseSubflow(full[:n]); ok {
			t.Errorf("%d of %d octets were taken for a subflow", n, len(full))
		}
	}
}

func TestParseSubflowMapped(t *testing.T) {
	b := diagMessage(1)
	b[0] = unix.AF_INET6
	a := netip.MustParseAddr("192.0.2.1").As16()
	copy(b[8:], a[:])
	got, _, err := parseSubflow(b)
	if err != nil || got.Local.Addr() != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("IPv4 on an IPv6 socket: %v, %v", got.Local, err)
	}
}

func TestParseSubflowAllocatesNothing(t *testing.T) {
	b := diagMessage(1)
	if n := testing.AllocsPerRun(100, func() { parseSubflow(b) }); n != 0 {
		t.Errorf("%v allocations per socket", n)
	}
}

func TestDiagRequest(t *testing.T) {
	b := diagConnections(unix.AF_INET6, diagStates)
	if len(b) != diagRequestLen+8 || b[0] != unix.AF_INET6 || b[1] != 6 {
		t.Fatalf("request % x", b)
	}
	typ, data, rest, err := nextAttr(b[diagRequestLen:])
	if err != nil || typ != diagReqProtocol || binary.NativeEndian.Uint32(data) != 262 || len(rest) != 0 {
		t.Errorf("attribute %d % x, rest % x, %v", typ, data, rest, err)
	}
	if got := binary.NativeEndian.Uint32(b[4:]); got&(1<<10) != 0 || got&(1<<1) == 0 {
		t.Errorf("states %#x: established without listeners are wanted", got)
	}
}

func TestParseConnection(t *testing.T) {
	b := attr(diagMessage(0)[:diagMessageLen:diagMessageLen], diagInfo, sampleInfo())
	c, err := parseConnection(b)
	if err != nil || c.Info.Token != 0xa1b2c3d4 || c.Remote != netip.MustParseAddrPort("192.0.2.9:5124") {
		t.Errorf("connection %+v, %v", c, err)
	}
}

func TestGroup(t *testing.T) {
	g := Group([]Subflow{{Token: 1, LocalID: 1}, {Token: 2}, {Token: 1, LocalID: 2}})
	if len(g) != 2 || len(g[1]) != 2 || len(g[2]) != 1 {
		t.Errorf("groups %v", g)
	}
}

func TestEachAnswer(t *testing.T) {
	frame := func(kind uint16, seq uint32, data []byte) []byte {
		b := netlink.Frame(diagDump(seq, data))
		binary.NativeEndian.PutUint16(b[4:], kind)
		return b
	}
	code := func(errno unix.Errno) []byte { return u32(uint32(-int32(errno))) }
	two := append(frame(diagByFamily, 5, []byte("one.")), frame(diagByFamily, 5, []byte("two."))...)
	for _, c := range []struct {
		name string
		b    []byte
		want string // handed over
		done bool
		err  error
	}{
		{"two answers", two, "one.two.", false, nil},
		{"an answer of an older request", append(frame(diagByFamily, 4, []byte("old.")), frame(diagByFamily, 5, []byte("new."))...), "new.", false, nil},
		{"the end", append(two, frame(unix.NLMSG_DONE, 5, code(0))...), "one.two.", true, nil},
		{"an error", frame(unix.NLMSG_ERROR, 5, code(unix.ENOENT)), "", true, unix.ENOENT},
		{"the end with an error", frame(unix.NLMSG_DONE, 5, code(unix.EINVAL)), "", true, unix.EINVAL},
		{"a short frame", two[:len(two)-2], "one.", true, netlink.ErrTorn},
		{"a frame of nothing", make([]byte, 16), "", true, netlink.ErrTorn},
		{"half a header", two[:7], "", true, netlink.ErrTorn},
	} {
		got := ""
		done, err := eachAnswer(c.b, 5, func(b []byte) error { got += string(b); return nil })
		if got != c.want || done != c.done || !errors.Is(err, c.err) {
			t.Errorf("%s: handed over %q, done %v, %v; want %q, %v, %v", c.name, got, done, err, c.want, c.done, c.err)
		}
	}
}

func TestLocalFilterRejectsTooManyAndOtherFamilies(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	if f, some := localFilter(unix.AF_INET6, []netip.Addr{v4}); some || f != nil {
		t.Errorf("a filter of no address: %x", f)
	}
	if f, some := localFilter(unix.AF_INET, []netip.Addr{v6, v4}); !some || len(f) != 4+bytecodeOp+8+4 {
		t.Errorf("one address of two families: %v, %d octets", some, len(f))
	}
	many := make([]netip.Addr, mostLocals+1)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	}
	if f, some := localFilter(unix.AF_INET, many); !some || f != nil {
		t.Errorf("too many addresses are filtered: %d octets", len(f))
	}
}
