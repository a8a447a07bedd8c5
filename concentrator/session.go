// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"spillway/convert"
	"spillway/mptcp"
)

// lingerLimit is how long a refused client may take to read its Error TLV.
const lingerLimit = 5 * time.Second

// session is one client connection from accept to end.
type session struct {
	s        *Server
	client   *net.TCPConn
	from     netip.Addr // without IPv4 mapping and zone
	key      netip.Addr
	accepted time.Time
	pending  bool // counted as without server

	still    func() bool                 // ends what pushLater began; nil: nothing
	warm     atomic.Bool                 // nothing has come yet; who clears it decides the session's fate
	server   atomic.Pointer[net.TCPConn] // nil until connected
	up, down atomic.Uint64               // octets copied
	moved    uint64                      // up+down when the idle check last saw a change; only its own
	quiet    time.Time                   // when that was
}

var openings = sync.Pool{New: func() any { return new([openingLen]byte) }}

// serve follows the session. It closes the client's connection in every case.
func (ses *session) serve(ctx context.Context) {
	defer ses.client.Close()
	buf := openings.Get().(*[openingLen]byte)
	server, answer := ses.open(ctx, buf[:])
	openings.Put(buf)
	if server == nil {
		return
	}
	ses.connected()
	if err := ses.answer(answer); err != nil {
		ses.s.debug("answer", "client", ses.from, "err", err)
		abort(ses.client)
		abort(server)
		return
	}
	ses.s.stats.sessions.Add(1)
	relay(ses.client, server, &ses.up, &ses.down)
	if ses.still != nil {
		ses.still()
	}
}

// connected tells that the session has its server.
func (ses *session) connected() {
	if ses.pending {
		ses.pending = false
		ses.s.clients.connected(ses.key)
	}
}

// open reads the client's message and connects to the server, to which it hands the user data that came along. A nil
// server means that the session is over and the client was told why.
func (ses *session) open(ctx context.Context, buf []byte) (server *net.TCPConn, answer *convert.Message) {
	o, err := ses.readMessage(buf)
	if err != nil {
		ses.unreadable(err, o.raw)
		return nil, nil
	}
	m := o.message
	if m.Error != nil {
		ses.s.debug("client sent an error", "client", ses.from, "err", m.Error)
		return nil, nil // an error is never answered
	}
	if e := ses.s.judge(ses.from, m, o.raw, time.Now()); e != nil {
		ses.refuse(e)
		return nil, nil
	}
	answer = new(convert.Message)
	if m.Info {
		answer.Supported = ses.s.supported
	}
	if m.AsksSeen() {
		answer.Unknown = []convert.TLV{convert.Seen(ses.client.RemoteAddr().(*net.TCPAddr).AddrPort())}
	}
	if m.Connect == nil {
		ses.s.stats.infos.Add(1)
		ses.finish(answer)
		return nil, nil
	}
	if server = ses.dial(ctx, m.Connect, answer); server == nil {
		return nil, nil
	}
	if len(o.data) > 0 {
		if _, err := server.Write(o.data); err != nil {
			server.Close()
			ses.refuse(failure(err, m.Connect.Addr.Addr(), ses.s.cfg.RetryAfter))
			return nil, nil
		}
		ses.up.Add(uint64(len(o.data)))
	}
	return server, answer
}

// dial connects and completes the answer; nil when the client was refused.
func (ses *session) dial(ctx context.Context, c *convert.Connect, answer *convert.Message) *net.TCPConn {
	server, err := ses.s.dialServer(ctx, ses.client, c)
	if err == nil && c.Options != nil {
		if answer.ExtendedHeader, err = synAck(server); err != nil {
			server.Close()
		}
	}
	if err != nil {
		ses.s.debug("no server", "client", ses.from, "server", c.Addr, "err", err)
		if ctx.Err() != nil || errors.Is(err, errHungUp) {
			abort(ses.client) // we are stopping: nothing true can be said about the server. Or nobody listens
			return nil
		}
		ses.refuse(failure(err, c.Addr.Addr(), ses.s.cfg.RetryAfter))
		return nil
	}
	ses.server.Store(server)
	return server
}

// readMessage waits for the message: long for its first octet, since a client may keep connections ready, then briefly. A
// stranger isn't waited for long.
func (ses *session) readMessage(buf []byte) (opening, error) {
	first := ses.s.cfg.WarmTimeout
	if !within(ses.s.cfg.AllowClients, ses.from) {
		first = ses.s.cfg.MessageTimeout
	}
	ses.client.SetReadDeadline(ses.accepted.Add(first))
	n, err := ses.client.Read(buf)
	if !ses.warm.CompareAndSwap(true, false) {
		return opening{}, net.ErrClosed // drain was faster
	}
	if err != nil {
		return opening{}, err
	}
	m, used, err := convert.Parse(buf[:n])
	if err == nil { // the usual case: all at once
		ses.client.SetReadDeadline(time.Time{})
		return opening{message: m, raw: buf[:used], data: buf[used:n]}, nil
	}
	ses.client.SetReadDeadline(time.Now().Add(ses.s.cfg.MessageTimeout))
	o, err := readOpening(ses.client, buf, n)
	ses.client.SetReadDeadline(time.Time{})
	return o, err
}

// unreadable ends a session whose message is none: as RFC 8803 says for each case.
func (ses *session) unreadable(err error, raw []byte) {
	if e := refusal(err, raw); e != nil {
		ses.refuse(e)
		return
	}
	switch {
	case errors.Is(err, convert.ErrLength):
		ses.s.stats.notConvert.Add(1)
		abort(ses.client)
	case errors.Is(err, convert.ErrMagic):
		ses.s.stats.notConvert.Add(1)
	default:
		ses.s.stats.incomplete.Add(1)
	}
}

// answer writes the first octets towards the client.
func (ses *session) answer(m *convert.Message) error {
	out, err := ses.established()
	if err != nil {
		return err
	}
	ses.count(out)
	var room [64]byte
	b, err := m.Append(room[:0])
	if err != nil {
		return err
	}
	_, err = ses.client.Write(b)
	if ses.s.waits && out.SYNDataAcked && out.MPTCP {
		ses.still = pushLater(ses.client)
	}
	return err
}

// established waits for the client's third ACK.
func (ses *session) established() (mptcp.Outcome, error) {
	if !ses.s.waits {
		return mptcp.Inspect(ses.client)
	}
	out, err := ses.s.waitEstablished(ses.client, ses.accepted, ses.key)
	if err != nil {
		ses.s.stats.unfinished.Add(1)
	}
	return out, err
}

func (ses *session) count(out mptcp.Outcome) {
	if out.SYNDataAcked {
		ses.s.stats.synData.Add(1)
	}
	if out.MPTCP {
		ses.s.stats.mptcp.Add(1)
	} else {
		ses.s.stats.plainTCP.Add(1)
	}
}

// refuse answers with an Error TLV and lets the client read it. A client that collects too many is reset instead.
func (ses *session) refuse(e *convert.Error) {
	if !ses.s.clients.mayAnswer(ses.key, time.Now()) {
		ses.s.stats.unsent.Add(1)
		abort(ses.client)
		return
	}
	ses.s.stats.countError(e.Code)
	ses.s.debug("refuse", "client", ses.from, "err", e)
	ses.finish(&convert.Message{Error: e})
}

// finish answers, ends our side with FIN, and closes when the client has read it and closed its own, or after
// lingerLimit: a close with unread octets would be a reset that can overtake the answer.
func (ses *session) finish(m *convert.Message) {
	if err := ses.answer(m); err != nil {
		abort(ses.client)
		return
	}
	ses.client.CloseWrite()
	ses.client.SetReadDeadline(time.Now().Add(lingerLimit))
	io.Copy(io.Discard, struct{ io.Reader }{ses.client})
}
