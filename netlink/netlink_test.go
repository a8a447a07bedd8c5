// SPDX-License-Identifier: Apache-2.0

package netlink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	yardstick "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Both write the same octets.
func TestEncoderAgainstTheYardstick(t *testing.T) {
	for _, big := range []bool{false, true} {
		theirs := yardstick.NewAttributeEncoder()
		ours := &Encoder{Big: big}
		if big {
			theirs.ByteOrder = binary.BigEndian
		}
		theirs.Uint8(1, 200)
		ours.Uint8(1, 200)
		theirs.Uint16(2, 0x1234)
		ours.Uint16(2, 0x1234)
		theirs.Uint32(3, 0x12345678)
		ours.Uint32(3, 0x12345678)
		theirs.String(4, "dsl")
		ours.String(4, "dsl")
		theirs.Bytes(5, []byte{1, 2, 3, 4, 5})
		ours.Bytes(5, []byte{1, 2, 3, 4, 5})
		theirs.Nested(6, func(e *yardstick.AttributeEncoder) error {
			e.Uint16(1, 7)
			e.Nested(2, func(e *yardstick.AttributeEncoder) error { e.String(1, ""); return nil })
			return nil
		})
		ours.Nested(6, func(e *Encoder) error {
			e.Uint16(1, 7)
			e.Nested(2, func(e *Encoder) error { e.String(1, ""); return nil })
			return nil
		})
		want, err := theirs.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ours.Encode(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("big %v: %x, %v; the yardstick has %x", big, got, err, want)
		}
	}
}

func TestEncoderErrors(t *testing.T) {
	boom := errors.New("boom")
	var e Encoder
	e.Nested(1, func(*Encoder) error { return boom })
	if _, err := e.Encode(); !errors.Is(err, boom) {
		t.Errorf("error %v, want that of the nest", err)
	}
	e = Encoder{}
	e.Bytes(1, make([]byte, 1<<16))
	if _, err := e.Encode(); err == nil {
		t.Error("an attribute longer than its length can say was written")
	}
}

// FuzzDecoder: what the yardstick can read, we read the same, and what it refuses we do not read to the end without an error.
func FuzzDecoder(f *testing.F) {
	var e Encoder
	e.Uint32(1, 5)
	e.Nested(2, func(e *Encoder) error { e.String(1, "x"); return nil })
	e.Bytes(3, []byte{1})
	whole, _ := e.Encode()
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{3, 0, 1, 0})
	f.Add([]byte{4, 0})
	f.Add([]byte{0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		ours := Decode(b)
		theirs, err := yardstick.NewAttributeDecoder(b)
		if err != nil {
			for ours.Next() {
			}
			if ours.Err() == nil {
				t.Fatalf("%x is read without an error; the yardstick says %v", b, err)
			}
			return
		}
		for theirs.Next() {
			next := ours.Next()
			if !next && bytes.HasPrefix(ours.rest, []byte{0, 0}) {
				return // of no length at all: the yardstick takes it for empty, the kernel (nla_ok, include/net/netlink.h) and we for none
			}
			if !next || ours.Type() != theirs.Type() || !bytes.Equal(ours.Bytes(), theirs.Bytes()) {
				t.Fatalf("%x: type %d, %x; the yardstick has type %d, %x", b, ours.Type(), ours.Bytes(), theirs.Type(), theirs.Bytes())
			}
			ours.Nested(func(in *Decoder) error {
				for in.Next() {
					in.Uint16()
				}
				return nil
			})
			ours.err = nil // the nest was no nest: the next attribute is no worse for it
		}
		if ours.Next() || ours.Err() != nil && theirs.Err() == nil {
			t.Fatalf("%x: more than the yardstick reads, or %v", b, ours.Err())
		}
	})
}

func TestDecoderOfIntegers(t *testing.T) {
	e := Encoder{Big: true}
	e.Uint8(1, 0xfe)
	e.Uint16(2, 0x1234)
	e.Uint32(3, 0x12345678)
	e.Bytes(4, []byte{0, 0, 0, 1, 0, 0, 0, 2})
	b, _ := e.Encode()
	d := Decode(b)
	d.Big = true
	read := []func() uint64{
		func() uint64 { return uint64(d.Uint8()) }, func() uint64 { return uint64(d.Uint16()) },
		func() uint64 { return uint64(d.Uint32()) }, d.Uint64,
	}
	for i, want := range []uint64{0xfe, 0x1234, 0x12345678, 1<<32 + 2} {
		if !d.Next() || read[i]() != want {
			t.Errorf("attribute %d is not %#x (%v)", i+1, want, d.Err())
		}
	}
	if d.Next() || d.Err() != nil {
		t.Errorf("a fifth attribute, or %v", d.Err())
	}
	for d = Decode(b); d.Next(); {
		if d.Type() == 2 && d.Uint32() != 0 {
			t.Error("two octets were four")
		}
		if d.Type() == 3 {
			t.Error("went on after an error")
		}
	}
	if d.Err() == nil {
		t.Error("no error for two octets read as four")
	}
}

// refusal is NLMSG_ERROR for a request of two octets, with the kernel's words.
func refusal(errno int32, flags uint16, text string) Message {
	request := Frame(Message{Data: []byte{1, 2}})
	if flags&unix.NLM_F_CAPPED != 0 {
		request = request[:unix.NLMSG_HDRLEN]
	}
	b := append(binary.NativeEndian.AppendUint32(nil, uint32(-errno)), request...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	if flags&unix.NLM_F_ACK_TLVS != 0 {
		var e Encoder
		e.Uint32(unix.NLMSGERR_ATTR_OFFS, 20)
		e.String(unix.NLMSGERR_ATTR_MSG, text)
		b = append(b, e.b...)
	}
	return Message{Type: unix.NLMSG_ERROR, Flags: flags, Data: b}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Message
		want error
		text string
	}{
		{"an acknowledgement", refusal(0, 0, ""), nil, ""},
		{"the end of a dump", Message{Type: unix.NLMSG_DONE, Data: make([]byte, 4)}, nil, ""},
		{"a bare errno", refusal(int32(unix.EEXIST), 0, ""), unix.EEXIST, "file exists"},
		{"with words", refusal(int32(unix.EINVAL), unix.NLM_F_ACK_TLVS, "address not found"), unix.EINVAL, "invalid argument (address not found)"},
		{"with words, capped", refusal(int32(unix.EINVAL), unix.NLM_F_ACK_TLVS|unix.NLM_F_CAPPED, "no"), unix.EINVAL, "invalid argument (no)"},
		{"a dump that failed", Message{Type: unix.NLMSG_DONE, Data: refusal(int32(unix.EINTR), 0, "").Data[:4]}, unix.EINTR, "interrupted system call"},
	} {
		last, err := c.m.Last()
		if !last || !errors.Is(err, c.want) || err != nil && err.Error() != c.text {
			t.Errorf("%s: last %v, %v; want %v, %q", c.name, last, err, c.want, c.text)
		}
	}
	if last, err := (Message{Type: unix.RTM_NEWLINK}).Last(); last || err != nil {
		t.Errorf("a device is the last message (%v)", err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(Frame(Message{Type: 1, Data: []byte("1")}))
	f.Add(Frame(refusal(22, unix.NLM_F_ACK_TLVS, "no")))
	f.Add(Frame(refusal(22, unix.NLM_F_ACK_TLVS|unix.NLM_F_CAPPED, "no")))
	f.Add([]byte{16, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := Next(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) || len(m.Data) > len(b)-unix.NLMSG_HDRLEN {
				t.Fatalf("%d octets became %d and %d more", len(b), len(m.Data), len(rest))
			}
			m.Last()
			b = rest
		}
	})
}

// Anybody may ask rtnetlink, by a socket of either kind.
func TestExecuteAgainstTheKernel(t *testing.T) {
	asks, err := Dial(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer asks.Close()
	hears, err := Listen(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer hears.Close()
	t.Run("asks", func(t *testing.T) { execute(t, asks) })
	t.Run("hears", func(t *testing.T) { execute(t, hears) })
	asks.Close()
	if _, err := asks.Execute(Message{Type: unix.RTM_GETLINK}); !errors.Is(err, unix.EBADF) {
		t.Errorf("a request by a closed socket: %v", err)
	}
}

func execute(t *testing.T, c *Conn) {
	if err := c.Set(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1); err != nil {
		t.Fatal(err)
	}
	ask := Message{Type: unix.RTM_GETLINK, Flags: unix.NLM_F_DUMP, Data: make([]byte, unix.SizeofIfInfomsg)}
	for range 3 { // each answer whole, none left for the next
		answers, err := c.Execute(ask)
		if err != nil {
			t.Fatal(err)
		}
		loops := 0
		for _, m := range answers {
			if m.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
				t.Fatalf("answer of type %d, %d octets", m.Type, len(m.Data))
			}
			for d := Decode(m.Data[unix.SizeofIfInfomsg:]); d.Next(); {
				if d.Type() == unix.IFLA_IFNAME && d.String() == "lo" {
					loops++
				}
			}
		}
		if loops != 1 {
			t.Errorf("%d devices are named lo, of %d", loops, len(answers))
		}
		one := Message{Type: unix.RTM_GETLINK, Data: make([]byte, unix.SizeofIfInfomsg)}
		binary.NativeEndian.PutUint32(one.Data[4:], 1<<30)
		var refusal *Error
		if _, err := c.Execute(one); !errors.Is(err, unix.ENODEV) || !errors.As(err, &refusal) {
			t.Errorf("a device that isn't there: %v", err)
		}
		binary.NativeEndian.PutUint32(one.Data[4:], 1)
		if answers, err := c.Execute(one); err != nil || len(answers) != 1 {
			t.Errorf("device 1: %d answers, %v", len(answers), err)
		}
	}
}

func TestReceiveEnds(t *testing.T) {
	for name, end := range map[string]func(*Conn){
		"by a deadline": func(c *Conn) { c.SetReadDeadline(time.Unix(1, 0)) },
		"by Close":      func(c *Conn) { c.Close() },
	} {
		c, err := Listen(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		done := make(chan error, 1)
		go func() {
			for { // devices of this machine may come and go
				if _, err := c.Receive(); err != nil {
					done <- err
					return
				}
			}
		}()
		end(c)
		select {
		case err := <-done:
			if name == "by a deadline" && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: still waits after 30 s", name)
		}
	}
}

// kernel is a made-up one: what it is sent, and what it answers, a datagram for each.
func kernel(t *testing.T, answers ...Message) (c *Conn, sent <-chan []byte) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c = Over(ends[0])
	all := make(chan []byte, len(answers))
	go func() {
		defer unix.Close(ends[1])
		for _, m := range answers {
			b := make([]byte, 1<<12)
			n, err := unix.Read(ends[1], b)
			if err != nil || n < unix.NLMSG_HDRLEN {
				return
			}
			all <- b[:n]
			m.Seq = binary.NativeEndian.Uint32(b[8:])
			unix.Write(ends[1], append(Frame(m), Frame(Message{Type: unix.NLMSG_DONE, Seq: m.Seq})...))
		}
	}()
	t.Cleanup(func() { c.Close() })
	return c, all
}

// A dump that a change has disturbed is asked for again, and taken as it is in the end.
func TestATornDumpIsAskedForAgain(t *testing.T) {
	torn := Message{Type: unix.RTM_NEWLINK, Flags: unix.NLM_F_MULTI | unix.NLM_F_DUMP_INTR, Data: []byte("torn")}
	whole := Message{Type: unix.RTM_NEWLINK, Flags: unix.NLM_F_MULTI, Data: []byte("full")}
	interrupted := Message{Type: unix.NLMSG_DONE, Data: refusal(int32(unix.EINTR), 0, "").Data[:4]}
	for _, c := range []struct {
		name    string
		answers []Message
		want    string
		err     error
		times   int
	}{
		{"whole", []Message{whole}, "full", nil, 1},
		{"torn once", []Message{torn, whole}, "full", nil, 2},
		{"interrupted, then torn", []Message{interrupted, torn, whole}, "full", nil, 3},
		{"always torn", []Message{torn, torn, torn, torn, whole}, "torn", nil, 4},
		{"always interrupted", []Message{interrupted, interrupted, interrupted, interrupted, whole}, "", unix.EINTR, 4},
	} {
		k, sent := kernel(t, c.answers...)
		got, err := k.Execute(Message{Type: unix.RTM_GETLINK, Flags: unix.NLM_F_DUMP})
		said := ""
		for _, m := range got {
			said += string(m.Data)
		}
		if said != c.want || !errors.Is(err, c.err) || len(sent) != c.times {
			t.Errorf("%s: %q, %v, asked %d times; want %q, %v, %d times", c.name, said, err, len(sent), c.want, c.err, c.times)
		}
	}
}

// A transaction is one datagram, each message of which begins where the one before says.
func TestATransactionIsOneDatagram(t *testing.T) {
	k, sent := kernel(t, refusal(int32(unix.ENOENT), 0, ""))
	err := k.Transact(Message{Type: 1, Data: []byte("begin")}, Message{Type: 2, Flags: unix.NLM_F_ACK, Data: []byte("delete")}, Message{Type: 3})
	if !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v, want that of the request", err)
	}
	b, seq := <-sent, uint32(0)
	for i, want := range []string{"begin", "delete", ""} {
		m, rest, err := Next(b)
		if err != nil || string(m.Data) != want || int(m.Type) != i+1 || i > 0 && m.Seq != seq {
			t.Errorf("message %d: %+v, %v; want %q", i+1, m, err, want)
		}
		b, seq = rest, m.Seq
	}
	if len(b) > 3 {
		t.Errorf("%d octets more", len(b))
	}
}
