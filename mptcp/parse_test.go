// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// decoder gives attributes written in an order to a parser of the same order.
func decoder(t testing.TB, big bool, fn encoder) *netlink.Decoder {
	t.Helper()
	ae := &netlink.Encoder{Big: big}
	if err := fn(ae); err != nil {
		t.Fatal(err)
	}
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ad := netlink.Decode(b)
	ad.Big = big
	return ad
}

func TestParseIsTheInverseOfEncode(t *testing.T) {
	for _, o := range orders {
		for _, want := range []Endpoint{
			{ID: 12, Addr: netip.MustParseAddr("192.0.2.1"), Port: 5124, Flags: FlagSubflow | FlagBackup, IfIndex: 7},
			{ID: 255, Addr: netip.MustParseAddr("2001:db8::1"), Flags: FlagSignal},
		} {
			got, err := parseEndpoint(decoder(t, o.big, encodeEndpoint(want)))
			if err != nil || got != want {
				t.Errorf("%s order: %+v, %v, want %+v", o.name, got, err, want)
			}
		}
		want := Limits{Subflows: 4, AddAddrs: 2}
		got, err := parseLimits(decoder(t, o.big, encodeLimits(want)))
		if err != nil || got != want {
			t.Errorf("%s order: %+v, %v, want %+v", o.name, got, err, want)
		}
	}
}

func TestParseEvent(t *testing.T) {
	for _, o := range orders {
		ad := decoder(t, o.big, func(ae *netlink.Encoder) error {
			ae.Uint32(eventToken, 0xa1b2c3d4)
			ae.Uint16(eventFamily, unix.AF_INET)
			ae.Uint8(eventLocID, 12)
			ae.Uint8(eventRemID, 3)
			ae.Bytes(eventSAddr4, []byte{192, 0, 2, 1})
			ae.Bytes(eventDAddr4, []byte{192, 0, 2, 9})
			ae.Bytes(eventSPort, []byte{0x12, 0x34}) // network order on every machine
			ae.Bytes(eventDPort, []byte{0x14, 0x04})
			ae.Uint8(eventBackup, 1)
			ae.Uint8(eventError, 110)
			ae.Uint16(eventFlags, eventFlagDenyJoinID0)
			ae.Uint32(eventIfIndex, 7)
			ae.Uint32(eventResetReason, 3)
			ae.Uint32(eventResetFlags, 1)
			ae.Uint8(eventServerSide, 0) // present but 0: a client on 6.12 and before
			ae.Uint32(99, 1)             // of a kernel to come
			return nil
		})
		got, err := parseEvent(11, ad)
		want := Event{
			Kind: EventSubClosed, Token: 0xa1b2c3d4, LocalID: 12, RemoteID: 3, IfIndex: 7, Backup: true, Error: 110,
			Local: netip.MustParseAddrPort("192.0.2.1:4660"), Remote: netip.MustParseAddrPort("192.0.2.9:5124"),
			DenyJoinID0: true, ResetReason: 3, ResetFlags: 1,
		}
		if err != nil || got != want {
			t.Errorf("%s order: %+v, %v, want %+v", o.name, got, err, want)
		}
	}
}

func TestParseEventServerSide(t *testing.T) {
	for name, fn := range map[string]encoder{
		"attribute, to 6.17": func(ae *netlink.Encoder) error { ae.Uint8(eventServerSide, 1); return nil },
		"flag, from 6.18":    func(ae *netlink.Encoder) error { ae.Uint16(eventFlags, eventFlagServerSide); return nil },
	} {
		if ev, err := parseEvent(1, decoder(t, false, fn)); err != nil || !ev.ServerSide {
			t.Errorf("%s: %+v, %v", name, ev, err)
		}
	}
}

func TestParseRefusesWrongLengths(t *testing.T) {
	ad := decoder(t, false, func(ae *netlink.Encoder) error {
		ae.Bytes(eventSAddr4, []byte{1, 2, 3})
		return nil
	})
	if _, err := parseEvent(1, ad); err == nil {
		t.Error("an address of 3 octets was read")
	}
	ad = decoder(t, false, func(ae *netlink.Encoder) error {
		ae.Uint8(eventSPort, 1)
		return nil
	})
	if _, err := parseEvent(1, ad); err == nil {
		t.Error("a port of one octet was read")
	}
}

// sampleInfo is struct mptcp_info of 6.18 with a distinct value in each field.
func sampleInfo() []byte {
	e := binary.NativeEndian
	b := make([]byte, 96)
	b[0], b[1], b[2], b[3] = 1, 2, 3, 8
	e.PutUint32(b[8:], infoRemoteKey)
	e.PutUint32(b[12:], 0xa1b2c3d4)
	for i, at := range []int{16, 24, 32, 48, 56, 64, 72} {
		e.PutUint64(b[at:], 1<<40+uint64(i))
	}
	b[42] = 1
	e.PutUint32(b[44:], 44)
	b[80] = 2
	e.PutUint32(b[84:], 84)
	e.PutUint32(b[88:], 88)
	e.PutUint32(b[92:], 92)
	return b
}

func TestParseInfoByAge(t *testing.T) {
	full := Info{
		Token: 0xa1b2c3d4, ExtraSubflows: 1, AddAddrSent: 2, AddAddrAccepted: 3, SubflowsMax: 8,
		Flags: infoRemoteKey, RemoteKey: true, Checksum: true, WriteSeq: 1 << 40, SndUna: 1<<40 + 1, RcvNxt: 1<<40 + 2,
		Retransmits: 44, BytesRetrans: 1<<40 + 3, BytesSent: 1<<40 + 4, BytesReceived: 1<<40 + 5, BytesAcked: 1<<40 + 6,
		Subflows: 2, LastDataSent: 84 * time.Millisecond, LastDataRecv: 88 * time.Millisecond, LastAckRecv: 92 * time.Millisecond,
		Has: InfoTimes,
	}
	bytes := full
	bytes.Has, bytes.Subflows, bytes.LastDataSent, bytes.LastDataRecv, bytes.LastAckRecv = InfoBytes, 0, 0, 0, 0
	basic := bytes
	basic.Has, basic.Retransmits, basic.BytesRetrans, basic.BytesSent, basic.BytesReceived, basic.BytesAcked = InfoBasic, 0, 0, 0, 0, 0
	for n, want := range map[int]Info{96: full, 80: bytes, 48: basic} {
		got, err := parseInfo(sampleInfo()[:n])
		if err != nil || got != want {
			t.Errorf("%d octets: %+v, %v, want %+v", n, got, err, want)
		}
	}
	if got, err := parseInfo(append(sampleInfo(), make([]byte, 40)...)); err != nil || got != full {
		t.Errorf("a longer one of a kernel to come: %+v, %v", got, err)
	}
	for n := range infoBasicLen {
		if _, err := parseInfo(sampleInfo()[:n]); err == nil {
			t.Errorf("%d octets were enough", n)
		}
	}
}

func TestParseTCPInfoTail(t *testing.T) {
	e := binary.NativeEndian
	b := make([]byte, 280)
	b[0], b[1], b[2], b[4], b[5] = 1, 4, 2, 3, tcpOptSynData
	e.PutUint32(b[8:], 204000)
	e.PutUint32(b[68:], 20000)
	e.PutUint32(b[80:], 10)
	e.PutUint32(b[148:], 15000)
	e.PutUint64(b[120:], 1<<33)
	e.PutUint64(b[168:], 1<<63) // more microseconds than a Duration holds
	e.PutUint64(b[200:], 1<<34)
	e.PutUint32(b[224:], 7)
	e.PutUint32(b[228:], 65536)
	got := parseTCPInfo(b)
	want := TCPInfo{
		State: 1, CAState: 4, Retransmits: 2, Backoff: 3, Options: tcpOptSynData, RTO: 204 * time.Millisecond,
		RTT: 20 * time.Millisecond, MinRTT: 15 * time.Millisecond, SndCwnd: 10, BytesAcked: 1 << 33, BytesSent: 1 << 34,
		SndWnd: 65536, OutOfOrder: 7, BusyTime: us64(1 << 63),
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.BusyTime <= 0 {
		t.Errorf("busy time %v overflowed", got.BusyTime)
	}
	for n := range len(b) { // an older kernel's ends anywhere
		parseTCPInfo(b[:n])
	}
	old := parseTCPInfo(b[:192])
	if old.BytesSent != 0 || old.BytesAcked != 1<<33 {
		t.Errorf("192 octets: sent %d, acked %d", old.BytesSent, old.BytesAcked)
	}
}

func TestBitFieldsLieTheOtherWayOnBigEndian(t *testing.T) {
	// The octet of delivery_rate_app_limited:1, fastopen_client_fail:2.
	if !appLimited(0x01, false) || appLimited(0x80, false) || !appLimited(0x80, true) || appLimited(0x01, true) {
		t.Error("app_limited is the first bit")
	}
	for v := range uint8(4) {
		if got := fastOpenFail(v<<1, false); got != v {
			t.Errorf("little endian: %d, want %d", got, v)
		}
		if got := fastOpenFail(v<<5, true); got != v {
			t.Errorf("big endian: %d, want %d", got, v)
		}
	}
}

func TestParseOutcomeStates(t *testing.T) {
	for state, want := range map[byte]bool{1: true, 2: false, 3: false, 4: true, 7: false, 8: true, 10: false, 12: false} {
		o, err := parseOutcome([]byte{state, 0, 0, 0, 0, 0, 0, 0})
		if err != nil || o.Established != want || o.State != state {
			t.Errorf("state %d: %+v, %v", state, o, err)
		}
	}
	if _, err := parseOutcome(make([]byte, 7)); err == nil {
		t.Error("7 octets were enough")
	}
}

func TestKernelErrors(t *testing.T) {
	refuse := func(errno unix.Errno, text string) error { return &netlink.Error{Errno: errno, Text: text} }
	for _, test := range []struct {
		err, want error
	}{
		{refuse(unix.EEXIST, ""), fs.ErrExist},
		{refuse(unix.EBUSY, "too many addresses or duplicate one"), fs.ErrExist},
		{refuse(unix.EINVAL, "too many addresses or duplicate one"), fs.ErrExist}, // Linux 6.1
		{refuse(unix.EINVAL, "address not found"), fs.ErrNotExist},
		{refuse(unix.ESRCH, ""), fs.ErrNotExist},
		{refuse(unix.EPERM, ""), fs.ErrPermission},
	} {
		got := kernelError(test.err)
		if !errors.Is(got, test.want) {
			t.Errorf("%v became %v, want %v", test.err, got, test.want)
		}
		var errno unix.Errno
		if !errors.As(got, &errno) {
			t.Errorf("%v lost its number", got)
		}
	}
	if got := kernelError(refuse(unix.EINVAL, "limit greater than maximum")); errors.Is(got, fs.ErrNotExist) {
		t.Errorf("%v isn't about something missing", got)
	}
	if kernelError(nil) != nil {
		t.Error("no error became one")
	}
}

func TestFlagNames(t *testing.T) {
	for f, want := range map[EndpointFlags]string{
		0: "none", FlagSubflow | FlagBackup: "subflow,backup", FlagLaminar: "laminar", 1 << 20: "0x100000",
	} {
		if got := f.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(f), got, want)
		}
	}
}

const netstatText = `TcpExt: SyncookiesSent TCPFastOpenActiveFail
TcpExt: 0 5
IpExt: InNoRoutes InOctets
IpExt: 1 2
MPTcpExt: MPCapableSYNTX DssFallback Negative
MPTcpExt: 18446744073709551615 3 -1
`

func TestParseNetstat(t *testing.T) {
	c := Counters{[]byte(netstatText)}
	for k, v := range map[string]uint64{"SyncookiesSent": 0, "TCPFastOpenActiveFail": 5, "MPCapableSYNTX": 1<<64 - 1, "DssFallback": 3, "Negative": 0, "InOctets": 0, "NoSuch": 0} {
		if got := c.Get(k); got != v {
			t.Errorf("%s = %d, want %d", k, got, v)
		}
	}
}
