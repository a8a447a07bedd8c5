// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"

	"spillway/convert"
	"spillway/socks"
)

// askMPTCP are the TCP options of an Extended Connect that asks whether the server speaks MPTCP (RFC 8803 7.6).
var askMPTCP = [2]byte{convert.OptionMPTCP, 2}

// opening is what goes to the upstream first, and whether the LAN host's octets may follow at once.
func (u *upstream) opening(dst netip.AddrPort, ask bool) (b []byte, follow bool, err error) {
	switch u.Protocol {
	case Convert:
		m := convert.Message{Connect: &convert.Connect{Addr: dst}, Cookie: u.theCookie()}
		if ask && u.extended() {
			m.Connect.Options = askMPTCP[:]
		}
		b, err = m.Append(make([]byte, 0, 320)) // most requests fit behind it, see quick.hear
		return b, true, err
	case SOCKS4a:
		b, err = socks.AppendConnect4a(nil, dst, u.User)
		return b, false, err
	case SOCKS5:
		b = socks.AppendGreeting(nil, u.User != "")
		if !u.Pipeline {
			return b, false, nil
		}
		if u.User != "" {
			if b, err = socks.AppendPassword(b, u.User, u.Password); err != nil {
				return nil, false, err
			}
		}
		return socks.AppendConnect(b, dst), false, nil
	}
	return nil, true, nil // Transparent: nothing is said
}

// answer reads the upstream's answer to opening, exactly its octets, and goes on with the dialogue where there is
// more. heard was read of it before. mptcpServer: the server itself answered MP_CAPABLE.
func (u *upstream) answer(c *net.TCPConn, heard []byte, dst netip.AddrPort) (mptcpServer bool, err error) {
	switch u.Protocol {
	case Convert:
		m, err := readConvert(io.MultiReader(bytes.NewReader(heard), c))
		if err != nil {
			return false, err
		}
		if m.Error != nil {
			return false, m.Error
		}
		return convert.MPTCPCapable(m.ExtendedHeader), nil
	case SOCKS4a:
		var b [socks.Reply4Len]byte
		if err := readFull(c, b[:]); err != nil {
			return false, err
		}
		return false, socks.ParseReply4(b[:])
	case SOCKS5:
		return false, u.socks5(c, dst)
	}
	return false, nil
}

// readConvert reads one message and not an octet more, so that the socket can be handed on bare.
func readConvert(c io.Reader) (*convert.Message, error) {
	var b [convert.MaxMessage]byte
	if err := readFull(c, b[:convert.HeaderLen]); err != nil {
		return nil, err
	}
	n, err := convert.Length(b[:convert.HeaderLen])
	if err != nil {
		return nil, &nonsense{err}
	}
	if n > convert.HeaderLen {
		if err := readFull(c, b[convert.HeaderLen:n]); err != nil {
			return nil, err
		}
	}
	m, _, err := convert.Parse(b[:n])
	if err != nil {
		return nil, &nonsense{err}
	}
	return m, nil
}

func (u *upstream) socks5(c *net.TCPConn, dst netip.AddrPort) error {
	var b [262]byte
	if err := readFull(c, b[:2]); err != nil {
		return err
	}
	method, err := socks.ParseMethod(b[:2])
	if err != nil {
		return err
	}
	if method == socks.UserPassword && u.User == "" || method != socks.UserPassword && method != socks.NoAuth {
		return fmt.Errorf("method %d: %w", method, socks.ErrMethod)
	}
	if method == socks.UserPassword {
		if !u.Pipeline {
			req, err := socks.AppendPassword(nil, u.User, u.Password)
			if err != nil {
				return err
			}
			if _, err := c.Write(req); err != nil {
				return err
			}
		}
		if err := readFull(c, b[:2]); err != nil {
			return err
		}
		if err := socks.ParsePassword(b[:2]); err != nil {
			return err
		}
	}
	if !u.Pipeline {
		if _, err := c.Write(socks.AppendConnect(nil, dst)); err != nil {
			return err
		}
	}
	if err := readFull(c, b[:socks.ReplyHead]); err != nil {
		return err
	}
	n, err := socks.ReplyLen(b[:socks.ReplyHead])
	if err != nil {
		return err
	}
	if err := readFull(c, b[socks.ReplyHead:n]); err != nil {
		return err
	}
	_, err = socks.ParseReply(b[:n])
	return err
}

// nonsense is an answer that is none: a sign of a middlebox or of the wrong port (RFC 8803 section 8).
type nonsense struct{ err error }

func (n *nonsense) Error() string { return n.err.Error() }
func (n *nonsense) Unwrap() error { return n.err }

// readFull is io.ReadFull that calls every early end io.ErrUnexpectedEOF.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
