// SPDX-License-Identifier: Apache-2.0

package ubus

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/testbed/await"
)

// Frames recorded between programs of OpenWrt and a real ubusd.
const (
	traceHello  = "00000000 1ea6ae98 00000004"
	traceStatus = "00010001 00000000 0000000c 01000008 00000000"
	traceMiss   = "00010001 00000000 0000000c 01000008 00000004"
	traceLookup = "00040001 00000000 00000010 02000009 74657374 00000000"

	traceAdd = "00060001 00000000 000000a0 02000009 74657374 00000000 06000090 8200002c 00056865 6c6c6f00 85000010 00026964" +
		"00000000 00000005 85000010 00036d73 67000000 00000003 82000030 00057761 74636800 85000010 00026964 00000000" +
		"00000005 85000014 0007636f 756e7465 72000000 00000005 82000030 0005636f 756e7400 85000010 0002746f 00000000" +
		"00000005 85000014 00067374 72696e67 00000000 00000003"
	traceAdded     = "00020001 00000000 00000014 03000008 c1496b3e 05000008 46161a73"
	traceAnonymous = "00060002 00000000 00000004"
	traceAnonAdded = "00020002 00000000 0000000c 03000008 f3d30aa3"

	traceInvoke = "00050002 c1496b3e 0000003c 03000008 c1496b3e 0400000a 68656c6c 6f000000 07000024 85000010 00026964" +
		"00000000 00000005 8300000f 00036d73 67000000 68690000"
	traceInvoked = "00050002 8fe3234c 00000054 03000008 c1496b3e 0400000a 68656c6c 6f000000 0c000009 726f6f74 00000000" +
		"0d000009 726f6f74 00000000 07000024 85000010 00026964 00000000 00000005 8300000f 00036d73 67000000 68690000"
	traceReply = "00020002 8fe3234c 0000003c 03000008 c1496b3e 07000030 8300002c 00076d65 73736167 65000000 74657374" +
		"20726563 65697665 64206120 6d657373 6167653a 20686900"
	traceReplied      = "00010002 8fe3234c 00000014 01000008 00000000 03000008 c1496b3e"
	traceUnknown      = "00010002 f57e6acf 00000014 01000008 00000003 03000008 c1496b3e"
	traceCallerData   = "00020002 c1496b3e 0000003c 03000008 c1496b3e 07000030 8300002c 00076d65 73736167 65000000 74657374" + "20726563 65697665 64206120 6d657373 6167653a 20686900"
	traceCallerStatus = "00010002 c1496b3e 00000014 01000008 00000000 03000008 c1496b3e"

	traceRegister = "00050002 00000001 0000004c 03000008 00000001 0400000d 72656769 73746572 00000000 07000030 85000014 00066f62" +
		"6a656374 00000000 9ffa8d64 83000015 00077061 74746572 6e000000 6d792e2a 00000000"
	traceSend = "00050001 00000001 000000d0 03000008 00000001 04000009 73656e64 00000000 070000b8 83000015 00026964 00000000" +
		"6d792e65 76656e74 00000000 8200009c 00046461 74610000 8500000c 00016100 00000001 87000009 00016200 01000000" +
		"8300000a 00017300 78000000 81000024 00036172 72000000 8500000c 00000000 00000001 8500000c 00000000 00000002" +
		"82000014 00017400 8300000a 00016b00 76000000 84000014 00036269 67000000 00000001 2a05f200 88000010 00016400" +
		"3ff80000 00000000 85000010 00036e65 67000000 fffffffe"
	traceSubscribe = "00080003 00000000 00000014 03000008 2c0e016b 08000008 c1496b3e"
	traceActive    = "000a0001 00000000 00000014 03000008 c1496b3e 09000005 01000000"
	traceNotify    = "000a0004 ccb6a74e 00000030 03000008 ccb6a74e 04000009 70696e67 00000000 07000018 85000014 0007636f 756e7465 72000000 00000000"
	traceListed    = "00010004 ccb6a74e 00000020 03000008 ccb6a74e 0b00000c 00000008 f3d30aa3 01000008 00000000"
	traceMonitor   = "000b0002 00000000 00000030 00000008 430ad4b3 01000008 430ad4b3 03000008 00000000 04000008 00000000" +
		"02000005 01000000 05000004"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

var traces = map[string]string{
	"hello": traceHello, "status": traceStatus, "miss": traceMiss, "lookup": traceLookup, "add": traceAdd, "added": traceAdded,
	"anonymous": traceAnonymous, "anonymous added": traceAnonAdded, "invoke": traceInvoke, "invoked": traceInvoked,
	"reply": traceReply, "replied": traceReplied, "unknown": traceUnknown, "register": traceRegister, "send": traceSend,
	"subscribe": traceSubscribe, "active": traceActive, "notify": traceNotify, "listed": traceListed, "monitor": traceMonitor,
}

func TestTracesReadAndWriteTheSameOctets(t *testing.T) {
	for name, trace := range traces {
		raw := unhex(t, trace)
		m, err := ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := m.Append(nil)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s: written again:\n%x\nwant\n%x\n%v", name, again, raw, err)
		}
		for n := range raw {
			if _, err := ReadMessage(bytes.NewReader(raw[:n])); err == nil {
				t.Errorf("%s: cut to %d of %d octets is no error", name, n, len(raw))
			}
		}
	}
}

func TestTraceValues(t *testing.T) {
	m, err := ReadMessage(bytes.NewReader(unhex(t, traceSend)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Envelope.Msg(AttrData)
	want := Msg{{"id", "my.event"}, {"data", Msg{
		{"a", int64(1)}, {"b", true}, {"s", "x"}, {"arr", []any{int64(1), int64(2)}}, {"t", Msg{{"k", "v"}}},
		{"big", int64(5000000000)}, {"d", 1.5}, {"neg", int64(-2)}}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	payload, _ := m.Envelope.find(AttrData)
	again, err := AppendMsg(nil, Msg{{"id", "my.event"}, {"data", Msg{
		{"a", 1}, {"b", true}, {"s", "x"}, {"arr", []any{1, 2}}, {"t", map[string]any{"k": "v"}},
		{"big", wide(5000000000)}, {"d", 1.5}, {"neg", -2}}}})
	if err != nil || !bytes.Equal(again, payload) {
		t.Errorf("encoded\n%x\nwant\n%x\n%v", again, payload, err)
	}
}

// scripted is an ubusd of recorded frames: "<" is sent, ">" must come. Sequence numbers, which every client counts
// its own way, are taken from what came last.
func scripted(t *testing.T, steps ...string) (path string, done chan struct{}) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "u")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	done = make(chan struct{})
	go func() {
		defer close(done)
		sock, err := l.Accept()
		if err != nil {
			return
		}
		defer sock.Close()
		var seq [2]byte
		for i, step := range steps {
			raw := unhex(t, step[1:])
			if step[0] == '<' {
				if Kind(raw[1]) == KindStatus || Kind(raw[1]) == KindData {
					copy(raw[2:4], seq[:])
				}
				sock.Write(raw)
				continue
			}
			got := make([]byte, len(raw))
			sock.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.ReadFull(sock, got); err != nil {
				t.Errorf("step %d: %v; got %x", i, err, got)
				return
			}
			copy(seq[:], got[2:4])
			if binary.BigEndian.Uint32(raw[4:]) != 0x8fe3234c { // the callee's answers carry the caller's seq
				copy(raw[2:4], got[2:4])
			}
			if !bytes.Equal(raw, got) {
				t.Errorf("step %d: client sent\n%x\nwant\n%x", i, got, raw)
				return
			}
		}
	}()
	return path, done
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestObjectPublishedAndCalledAsRecorded(t *testing.T) {
	ctx := testContext(t)
	path, done := scripted(t, "<"+traceHello, ">"+traceAdd, "<"+traceAdded, "<"+traceStatus,
		"<"+traceInvoked, ">"+traceReply, ">"+traceReplied)
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.ID() != 0x1ea6ae98 {
		t.Errorf("client %x", c.ID())
	}
	hello := func(args Msg) (any, Status) {
		if id, ok := args.Int("id"); id != 5 || !ok {
			t.Errorf("id %v", args.Get("id"))
		}
		return Msg{{"message", "test received a message: " + args.Text("msg")}}, OK
	}
	o := Object{Name: "test", Methods: []Method{
		{Name: "hello", Args: []Arg{{"id", TypeInt32}, {"msg", TypeString}}, Handle: hello},
		{Name: "watch", Args: []Arg{{"id", TypeInt32}, {"counter", TypeInt32}}},
		{Name: "count", Args: []Arg{{"to", TypeInt32}, {"string", TypeString}}}}}
	if err := c.Publish(ctx, &o); err != nil {
		t.Fatal(err)
	}
	await.Value(t, "the end of the script", done)
}

func TestCallAsRecorded(t *testing.T) {
	ctx := testContext(t)
	found := "00020001 00000000 00000020 02000009 74657374 00000000 03000008 c1496b3e 05000008 46161a73"
	path, done := scripted(t, "<"+traceHello, ">"+traceLookup, "<"+found, "<"+traceStatus,
		">"+traceInvoke, "<"+traceCallerData, "<"+traceCallerStatus)
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := c.Call(ctx, "test", "hello", Msg{{"id", 5}, {"msg", "hi"}})
	if err != nil || m.Text("message") != "test received a message: hi" {
		t.Error(m, err)
	}
	await.Value(t, "the end of the script", done)
}

func TestLookupMissAsRecorded(t *testing.T) {
	ctx := testContext(t)
	path, done := scripted(t, "<"+traceHello, ">"+traceLookup, "<"+traceMiss)
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Lookup(ctx, "test"); err != NotFound {
		t.Error(err)
	}
	await.Value(t, "the end of the script", done)
}

func TestEventSentAsRecorded(t *testing.T) {
	ctx := testContext(t)
	path, done := scripted(t, "<"+traceHello, ">"+traceSend)
	c, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table := Msg{{"a", int32(1)}, {"b", true}, {"s", "x"}, {"arr", []any{int32(1), int32(2)}}, {"t", Msg{{"k", "v"}}},
		{"big", int64(5000000000)}, {"d", 1.5}, {"neg", int32(-2)}}
	if err := c.Send("my.event", table); err != nil {
		t.Error(err)
	}
	await.Value(t, "the end of the script", done)
}
