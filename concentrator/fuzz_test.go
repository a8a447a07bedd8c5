// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"spillway/convert"
)

// pieces reads b in pieces of 1 to size octets.
type pieces struct {
	b    []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.b)
	p.b = p.b[n:]
	return n, nil
}

// However a stream is cut into pieces, its message is the same, no octet gets lost, and the reader never asks for more than
// its buffer; what judge makes of it can always be sent.
func FuzzOpening(f *testing.F) {
	f.Add([]byte("\x01\x06\x22\x63\x0a\x05\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01GET /"), uint8(1))
	f.Add([]byte("\x01\x02\x22\x63\x01\x01\x00\x00"), uint8(3))
	f.Add([]byte("\x02\x02\x22\x63"), uint8(200))
	f.Add([]byte("\x01\x02\x22\x63\x7f\x01\x00\x00"), uint8(4))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(2))
	s, err := New(Config{Listen: []netip.AddrPort{{}}, AllowClients: prefixes("0.0.0.0/0"), CookieSecret: make([]byte, 16)}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		want, n, wantErr := convert.Parse(stream)
		p := &pieces{b: stream, size: int(size) + 1}
		o, err := readOpening(p, make([]byte, openingLen), 0)
		switch {
		case wantErr == nil:
			if err != nil {
				t.Fatalf("in pieces: %v", err)
			}
			if !bytes.Equal(o.raw, stream[:n]) || !bytes.Equal(append(o.data, p.b...), stream[n:]) {
				t.Fatalf("octets got lost")
			}
			if (o.message.Connect == nil) != (want.Connect == nil) {
				t.Fatalf("%+v became %+v", want, o.message)
			}
		case errors.Is(wantErr, convert.ErrShort):
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatalf("a prefix in pieces: %v", err)
			}
		case err == nil || err.Error() != wantErr.Error():
			t.Fatalf("in pieces %v, at once %v", err, wantErr)
		}
		e := refusal(err, o.raw)
		if o.message != nil {
			e = s.judge(netip.MustParseAddr("192.0.2.9"), o.message, o.raw, time.Unix(1e9, 0))
		}
		if e != nil {
			if b, err := (&convert.Message{Error: e}).Append(nil); err != nil || len(b) > convert.MaxMessage {
				t.Fatalf("%v can't be sent: %v", e, err)
			}
		}
	})
}
