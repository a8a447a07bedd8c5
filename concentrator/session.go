// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"container/list"
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
	"spillway/relay/engine"
)

// lingerLimit is how long a refused client may take to read its Error TLV.
const lingerLimit = 5 * time.Second

// session is one client connection from accept to end.
type session struct {
	s        *Server
	peer     netip.AddrPort // as accepted
	from     netip.Addr     // without IPv4 mapping and zone
	key      netip.Addr
	accepted time.Time
	entered  bool // counted at its client
	pending  bool // counted as without server
	seated   bool // its client may ask, and it keeps its seat
	push     bool // its answer may be stuck, see young.go
	synData  bool // its SYN came with data, and it is MPTCP
	trusted  bool // its client may ask: what it is refused for is what it asked for

	client, server *net.TCPConn  // while a goroutine has them; set with the server's mutex held
	turn           *list.Element // in Server.unheard; with the same mutex, as gaveWay
	gaveWay        bool          // it was reset to make room
	begun          *begun        // what the lane had done; nil: nothing

	conn  atomic.Pointer[engine.Conn] // nil until it is copied
	early atomic.Uint32               // octets of the client's that came with its message
	seen  uint64                      // octets moved when the idle check last saw a change; only its own
	quiet time.Time                   // when that was
}

var openings = sync.Pool{New: func() any { return new([openingLen]byte) }}

// proceed follows the session in a goroutine until the engine copies, or to its end.
func (ses *session) proceed(fd int) {
	client, err := engine.ConnOf(fd)
	if err != nil {
		if ses.begun != nil && ses.begun.message != nil {
			engine.Reset(ses.begun.server)
		}
		ses.s.forget(ses)
		return
	}
	ses.s.mu.Lock()
	ses.client = client
	stopping := ses.s.empty != nil
	if ses.entered && !ses.seated {
		ses.turn = ses.s.unheard.PushBack(ses)
	}
	ses.s.mu.Unlock()
	switch {
	case stopping && ses.begun == nil:
		engine.ResetConn(client)
	case !ses.entered:
		ses.refuse(ses.s.tooMany())
	case ses.serve(ses.s.work):
		return // the engine counts it out
	}
	client.Close()
	ses.s.forget(ses)
}

// serve tells whether the session came to be copied. If not, its client knows why, and its connection is to be closed.
func (ses *session) serve(ctx context.Context) bool {
	buf := openings.Get().(*[openingLen]byte)
	server, answer := ses.open(ctx, buf[:])
	openings.Put(buf)
	if server == nil {
		return false
	}
	ses.connected()
	err := ses.answer(answer)
	if err == nil {
		ses.s.stats.sessions.Add(1)
		if err = ses.carry(ses.client, server); err == nil {
			return true
		}
	} else {
		engine.ResetConn(ses.client)
		engine.ResetConn(server)
	}
	ses.s.debug("answer", "client", ses.from, "err", err)
	return false
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
	if b := ses.begun; b != nil && b.message != nil {
		ses.trusted = true
		if server = ses.await(ctx, b); server == nil || !ses.hand(server, b.data, b.message.Connect) {
			return nil, nil
		}
		return server, ses.reply(b.message)
	}
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
	e := ses.s.judgeClient(ses.from, m, o.raw, time.Now())
	ses.trusted = e == nil
	switch {
	case !ses.trusted:
	case !ses.seat():
		e = ses.s.tooMany()
	default:
		e = ses.s.judgeWish(m, o.raw)
	}
	if e != nil {
		ses.refuse(e)
		return nil, nil
	}
	answer = ses.reply(m)
	if m.Connect == nil {
		ses.s.stats.infos.Add(1)
		ses.finish(answer)
		return nil, nil
	}
	if server = ses.dial(ctx, m.Connect, answer); server == nil || !ses.hand(server, o.data, m.Connect) {
		return nil, nil
	}
	return server, answer
}

// reply is the answer to a message that was judged good, as far as it does not depend on the server.
func (ses *session) reply(m *convert.Message) *convert.Message {
	answer := new(convert.Message)
	if m.Info {
		answer.Supported = ses.s.supported
	}
	if m.AsksSeen() {
		answer.Unknown = []convert.TLV{convert.Seen(ses.peer)}
	}
	return answer
}

// hand gives the server what came with the message; false when it did not take it, and the client was told.
func (ses *session) hand(server *net.TCPConn, data []byte, c *convert.Connect) bool {
	if len(data) == 0 {
		return true
	}
	if _, err := server.Write(data); err != nil {
		server.Close()
		ses.refuse(failure(err, c.Addr.Addr(), ses.s.cfg.RetryAfter))
		return false
	}
	ses.early.Add(uint32(len(data)))
	return true
}

// await goes on with a connection to the server that the lane has begun; nil when the client was refused.
func (ses *session) await(ctx context.Context, b *begun) *net.TCPConn {
	server, err := engine.ConnOf(b.server)
	if err == nil {
		wanted, enough := whileWanted(ctx, ses.client)
		server.SetWriteDeadline(b.at.Add(ses.s.cfg.DialTimeout)) // before the other, which may come at once
		stop := context.AfterFunc(wanted, func() { server.SetWriteDeadline(time.Unix(1, 0)) })
		err = whyNot(wanted, whenConnected(server))
		stop()
		enough()
		server.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		if server != nil {
			engine.ResetConn(server)
		}
		ses.unreached(ctx, b.message.Connect, err)
		return nil
	}
	ses.hold(server)
	return server
}

// hold remembers the server's connection for those who end all sessions.
func (ses *session) hold(server *net.TCPConn) {
	ses.s.mu.Lock()
	ses.server = server
	ses.s.mu.Unlock()
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
		ses.unreached(ctx, c, err)
		return nil
	}
	ses.hold(server)
	return server
}

// unreached tells the client why it has no server.
func (ses *session) unreached(ctx context.Context, c *convert.Connect, err error) {
	ses.s.debug("no server", "client", ses.from, "server", c.Addr, "err", err)
	if ctx.Err() != nil || errors.Is(err, errHungUp) {
		engine.ResetConn(ses.client) // we are stopping: nothing true can be said about the server. Or nobody listens
		return
	}
	ses.refuse(failure(err, c.Addr.Addr(), ses.s.cfg.RetryAfter))
}

// readMessage waits for the message: long for its first octet, since a client may keep connections ready, then briefly. A
// stranger isn't waited for long.
func (ses *session) readMessage(buf []byte) (opening, error) {
	first := ses.s.cfg.WarmTimeout
	if !within(ses.s.cfg.AllowClients, ses.from) {
		first = ses.s.cfg.MessageTimeout
	}
	var n int
	if b := ses.begun; b != nil {
		n = copy(buf, b.head)
	} else {
		var err error
		ses.client.SetReadDeadline(ses.accepted.Add(first))
		if n, err = ses.client.Read(buf); err != nil {
			return opening{}, err
		}
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

// tooMany is the refusal of what would be beyond a limit.
func (s *Server) tooMany() *convert.Error {
	return &convert.Error{Code: convert.CodeResourceExceeded, Value: []byte{uint8(s.cfg.RetryAfter / time.Second)}}
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
		engine.ResetConn(ses.client)
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
	if err == nil {
		_, err = ses.client.Write(b)
	}
	return err
}

// established waits for the client's third ACK.
func (ses *session) established() (mptcp.Outcome, error) {
	if !ses.s.waits {
		return mptcp.Inspect(ses.client)
	}
	out, err := ses.s.waitEstablished(ses.client, ses.accepted, ses.key, ses.begun != nil && ses.begun.waited)
	if err != nil {
		ses.s.stats.unfinished.Add(1)
	}
	return out, err
}

// count counts how a connection that is answered came to be.
func (ses *session) count(out mptcp.Outcome) {
	ses.synData = out.SYNDataAcked && out.MPTCP
	ses.push = ses.s.waits && ses.synData
	if out.SYNDataAcked {
		ses.s.stats.synData.Add(1)
	}
	if out.MPTCP {
		ses.s.stats.mptcp.Add(1)
	} else {
		ses.s.stats.plainTCP.Add(1)
	}
}

// refuse answers with an Error TLV and lets the client read it. A client that collects too many is reset instead; but one that may ask is
// told always what its LAN cannot have: a host of it may scan ports, and two resets make a router leave the converter.
func (ses *session) refuse(e *convert.Error) {
	if !ses.trusted && !ses.s.clients.mayAnswer(ses.key, time.Now()) {
		ses.s.stats.unsent.Add(1)
		engine.ResetConn(ses.client)
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
		engine.ResetConn(ses.client)
		return
	}
	if ses.push {
		ses.s.young.pushLater(young{t: ses.client})
	}
	ses.client.CloseWrite()
	ses.client.SetReadDeadline(time.Now().Add(lingerLimit))
	io.Copy(io.Discard, struct{ io.Reader }{ses.client})
}
