// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"errors"
	"net/netip"
	"time"

	"spillway/convert"
)

// judge decides what a client's message gets: nil to go on, or the Error TLV of the refusal (RFC 8803 sections 6.2 and
// 9). raw is the message as received, for the errors that echo it.
func (s *Server) judge(client netip.Addr, m *convert.Message, raw []byte, now time.Time) *convert.Error {
	if e := s.judgeClient(client, m, raw, now); e != nil {
		return e
	}
	return s.judgeWish(m, raw)
}

// judgeClient decides whether a client may ask at all, and asks as a client.
func (s *Server) judgeClient(client netip.Addr, m *convert.Message, raw []byte, now time.Time) *convert.Error {
	switch {
	case len(m.Unknown) > 0 && !m.AsksSeen() || m.ExtendedHeader != nil || m.Supported != nil:
		return convert.Refuse(convert.CodeUnsupportedMessage, raw) // the latter two only come from converters
	case !within(s.cfg.AllowClients, client):
		return &convert.Error{Code: convert.CodeNotAuthorized}
	}
	return s.judgeCookie(clientKey(client, s.cfg.ClientPrefix), m.Cookie, now)
}

// judgeWish decides what such a client gets.
func (s *Server) judgeWish(m *convert.Message, raw []byte) *convert.Error {
	if m.Connect == nil {
		if m.Info {
			return nil
		}
		return convert.Refuse(convert.CodeMalformed, raw) // asks for nothing
	}
	return s.judgeConnect(m.Connect, raw)
}

func (s *Server) judgeCookie(key netip.Addr, cookie []byte, now time.Time) *convert.Error {
	switch {
	case len(s.cfg.Token) > 0:
		if !tokenMatches(cookie, s.cfg.Token) {
			return &convert.Error{Code: convert.CodeNotAuthorized}
		}
	case len(s.cfg.CookieSecret) > 0:
		if cookie == nil {
			return convert.MissingCookie(s.jar.make(key, now))
		}
		if !s.jar.good(cookie, key, now) {
			return &convert.Error{Code: convert.CodeNotAuthorized}
		}
	}
	return nil // a cookie that nobody asked for is ignored
}

func (s *Server) judgeConnect(c *convert.Connect, raw []byte) *convert.Error {
	if c.Addr.Port() == 0 {
		return convert.Refuse(convert.CodeMalformed, raw)
	}
	switch s.destinations.judge(c.Addr.Addr()) {
	case malformed:
		return convert.Refuse(convert.CodeMalformed, raw)
	case closed:
		return &convert.Error{Code: convert.CodeNotAuthorized}
	}
	if kinds := unsupported(c.Options); len(kinds) > 0 {
		return &convert.Error{Code: convert.CodeUnsupportedOption, Value: kinds}
	}
	return nil
}

// unsupported lists the kinds in an Extended Connect that can't be honoured through a socket. Kinds 0 to 3 and 5 are
// ignored, as RFC 8803 section 7 asks; SACK-permitted and timestamps the kernel sends anyway; MPTCP is dialled. An option
// with content would have to be copied into the SYN, which a socket can't do, and a fast-open cookie can't be told back.
func unsupported(options []byte) (kinds []uint8) {
	list, _ := convert.Options(options) // Parse has read it before
	for _, o := range list {
		switch o.Kind {
		case convert.OptionMSS, convert.OptionWindowScale, convert.OptionSACK:
			continue
		case convert.OptionSACKPermitted, convert.OptionTimestamps, convert.OptionMPTCP:
			if len(o.Value) == 0 {
				continue
			}
		}
		kinds = append(kinds, o.Kind)
	}
	return kinds
}

// wantsMPTCP tells whether the client asked for MPTCP towards the server.
func wantsMPTCP(c *convert.Connect) bool {
	list, _ := convert.Options(c.Options)
	for _, o := range list {
		if o.Kind == convert.OptionMPTCP {
			return true
		}
	}
	return false
}

// refusal is the answer to a message that couldn't be read, if RFC 8803 has one: nil means to close in silence.
func refusal(err error, raw []byte) *convert.Error {
	pe, ok := errors.AsType[*convert.ParseError](err)
	if !ok {
		return nil
	}
	return convert.Refuse(pe.Code, raw)
}
