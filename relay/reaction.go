// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"spillway/convert"
	"spillway/socks"
)

// retry says with what the same LAN connection may be tried once more.
type retry uint8

const (
	never        retry = iota
	sameUpstream       // at once, now with the cookie or without the option
	otherLink
	otherUpstream
)

// reaction is what follows from a failed attempt (RFC 8803 section 6.2.8 and facts of TCP).
type reaction struct {
	retry       retry
	destination bool          // the server's fault: the upstream did its work
	out         bool          // the upstream rests, for wait
	wait        time.Duration // 0: the usual back-off
	weak        bool          // a failure that takes two to mean something
	denied      bool          // an Error 32 or the like: means this destination or all of us, so it takes several in a row
	link        bool          // the link's fault
	pair        bool          // something between this link and the upstream answers for it
	cookie      []byte        // use this one from now on
	noOptions   bool          // no Extended Connect from now on
}

// react decides from the error alone. exposed: octets of the LAN host may have reached the server, so that trying
// again could make it act twice.
func react(err error, exposed bool) reaction {
	other := otherUpstream
	if exposed {
		other = never
	}
	var refusal *convert.Error
	var reply *socks.Reply
	var none *nonsense
	switch {
	case errors.As(err, &none) && !exposed:
		return reaction{retry: otherLink, pair: true}
	case errors.As(err, &refusal):
		return reactConvert(refusal)
	case errors.As(err, &reply):
		if reply.Destination() {
			return reaction{destination: true}
		}
		return reaction{retry: otherUpstream, weak: !reply.Denied(), denied: reply.Denied()}
	case errors.Is(err, socks.ErrMethod), errors.Is(err, socks.ErrPassword):
		return reaction{retry: otherUpstream, out: true, wait: refusedRest}
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTCONN):
		// Nobody took what was in the SYN. An MPTCP socket whose SYN was refused says ENOTCONN to a read.
		return reaction{retry: otherUpstream, out: true}
	case errors.Is(err, errQuiet):
		return reaction{destination: true}
	case errors.Is(err, errSilent) && !exposed: // else its handshake was done, in the moment when it was given up
		return reaction{retry: otherLink}
	case errors.Is(err, errOut):
		return reaction{retry: otherUpstream} // nothing was said to it
	case isLinkError(err):
		if exposed {
			return reaction{link: true}
		}
		return reaction{retry: otherLink, link: true}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ETIMEDOUT):
		return reaction{retry: other, weak: true}
	}
	return reaction{retry: other, weak: true} // nonsense and the unknown
}

// isLinkError tells errors of our own side: no route, no such device, an address that is gone, descriptors or memory that ran out.
func isLinkError(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.ENODEV, unix.EADDRNOTAVAIL,
		unix.EADDRINUSE, unix.ENXIO, unix.EACCES, unix.EPERM, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// mostCookie is how long a cookie may be, octets, beside a Connect that asks for MPTCP (28 with the header) and its own TLV's first 4.
const mostCookie = convert.MaxMessage - 28 - 4

func reactConvert(e *convert.Error) reaction {
	switch e.Code {
	case convert.CodeUnsupportedVersion:
		if slices.Contains(e.Versions(), convert.Version) { // it says it can: a contradiction
			return reaction{retry: otherUpstream, weak: true}
		}
		return reaction{retry: otherUpstream, out: true, wait: versionRest}
	case convert.CodeMissingCookie:
		if c := e.Cookie(); len(c) > 0 && len(c) <= mostCookie { // with a longer one it could never be asked again
			return reaction{retry: sameUpstream, cookie: c}
		}
		return reaction{retry: otherUpstream, out: true, wait: refusedRest}
	case convert.CodeNotAuthorized:
		return reaction{retry: otherUpstream, denied: true}
	case convert.CodeUnsupportedOption:
		return reaction{retry: sameUpstream, noOptions: true}
	case convert.CodeResourceExceeded, convert.CodeNetworkFailure:
		return reaction{retry: otherUpstream, out: true, wait: e.Wait()}
	}
	switch { // classes, RFC 8803 section 6.2.8
	case e.Code < 32:
		return reaction{retry: otherUpstream, weak: true}
	case e.Code < 64:
		return reaction{retry: otherUpstream, out: true, wait: refusedRest}
	case e.Code < 96:
		return reaction{retry: otherUpstream, out: true, wait: convert.DefaultWait}
	case e.Code < 128:
		return reaction{destination: true}
	}
	return reaction{retry: otherUpstream, weak: true}
}

// react is the function react, but for an upstream that is the server itself: all faults are the server's.
func (u *upstream) react(err error, exposed bool) reaction {
	re := react(err, exposed)
	if u.Protocol == Transparent && !re.link && re.retry != otherLink {
		return reaction{destination: true}
	}
	return re
}

// apply makes the upstream remember.
func (u *upstream) apply(re reaction, err error) {
	if re.denied && u.Cookie != "" && u.refusals.Add(1) == 1 {
		u.relay.log.Warn("relay: not authorized; is the cookie the concentrator's token?", "upstream", u.Name)
	}
	if re.cookie != nil {
		u.setCookie(re.cookie)
	}
	if re.noOptions {
		u.noOptions()
	}
	switch {
	case re.destination:
		if !errors.Is(err, errQuiet) { // it has told of its server
			u.served.Store(u.age(time.Now()))
		}
		u.good()
	case re.out:
		u.failures.Add(1)
		u.rest(re.wait, err)
	case re.weak:
		u.bad(err)
	case re.denied:
		u.denied(err)
	}
}
