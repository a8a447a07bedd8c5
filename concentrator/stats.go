// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"fmt"
	"io"
	"sync/atomic"

	"spillway/convert"
)

// codes are the error codes a converter sends, in the order of Stats.Errors.
var codes = [...]convert.Code{
	convert.CodeUnsupportedVersion, convert.CodeMalformed, convert.CodeUnsupportedMessage, convert.CodeMissingCookie,
	convert.CodeNotAuthorized, convert.CodeUnsupportedOption, convert.CodeResourceExceeded, convert.CodeNetworkFailure,
	convert.CodeConnectionReset, convert.CodeUnreachable,
}

// counters are the server's own; Stats is what others see.
type counters struct {
	active, accepted, sessions, infos          atomic.Int64
	synData, mptcp, plainTCP, handshakeWaits   atomic.Int64
	notConvert, incomplete, unfinished, unsent atomic.Int64
	idle, gaveWay                              atomic.Int64
	up, down                                   atomic.Uint64 // octets of ended sessions
	errors                                     [len(codes)]atomic.Int64
}

// Stats is a reading of the counters since the start. Active is a level, the others only grow.
type Stats struct {
	Active         int64                  // connections open now, refused ones included
	Accepted       int64                  // connections
	Sessions       int64                  // connected to a server
	Infos          int64                  // Info messages answered
	SYNData        int64                  // answered connections whose message came in the SYN
	MPTCP          int64                  // answered connections that kept MPTCP
	PlainTCP       int64                  // answered connections that are plain TCP
	HandshakeWaits int64                  // answers that had to wait for the third ACK
	NotConvert     int64                  // closed in silence: something else than Convert
	Incomplete     int64                  // ended or timed out before the message was whole
	Unfinished     int64                  // the third ACK never came
	Unsent         int64                  // errors not told because the client had too many
	Idle           int64                  // sessions ended because nothing moved
	GaveWay        int64                  // connections without a message reset to make room
	Up, Down       uint64                 // octets from and to clients
	Errors         map[convert.Code]int64 // Error TLVs by code; a code that was never sent is 0
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	c := &s.stats
	out := Stats{
		Active: c.active.Load(), Accepted: c.accepted.Load(), Sessions: c.sessions.Load(), Infos: c.infos.Load(),
		SYNData: c.synData.Load(), MPTCP: c.mptcp.Load(), PlainTCP: c.plainTCP.Load(), HandshakeWaits: c.handshakeWaits.Load(),
		NotConvert: c.notConvert.Load(), Incomplete: c.incomplete.Load(), Unfinished: c.unfinished.Load(), Unsent: c.unsent.Load(),
		Idle: c.idle.Load(), GaveWay: c.gaveWay.Load(), Errors: map[convert.Code]int64{},
	}
	for i, code := range codes {
		out.Errors[code] = c.errors[i].Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Up, out.Down = c.up.Load(), c.down.Load()
	for ses := range s.live {
		up, down := ses.moved()
		out.Up += up
		out.Down += down
	}
	return out
}

func (c *counters) countError(code convert.Code) {
	for i := range codes {
		if codes[i] == code {
			c.errors[i].Add(1)
		}
	}
}

// WriteMetrics writes the counters in Prometheus' text format.
func (st Stats) WriteMetrics(w io.Writer) error {
	var b []byte
	one := func(name, kind, help string, v any) {
		b = fmt.Appendf(b, "# HELP spillway_concentrator_%s %s\n# TYPE spillway_concentrator_%s %s\nspillway_concentrator_%s %v\n",
			name, help, name, kind, name, v)
	}
	one("connections", "gauge", "Connections open now.", st.Active)
	one("accepted_total", "counter", "Connections accepted.", st.Accepted)
	one("sessions_total", "counter", "Connections joined to a server.", st.Sessions)
	one("infos_total", "counter", "Info messages answered.", st.Infos)
	one("syn_data_total", "counter", "Answered connections whose message came in the SYN.", st.SYNData)
	one("mptcp_total", "counter", "Answered connections that kept Multipath TCP.", st.MPTCP)
	one("plain_tcp_total", "counter", "Answered connections that are plain TCP.", st.PlainTCP)
	one("handshake_waits_total", "counter", "Answers that waited for the client's third ACK.", st.HandshakeWaits)
	one("not_convert_total", "counter", "Connections closed in silence: not Convert.", st.NotConvert)
	one("incomplete_total", "counter", "Connections that ended before their message was whole.", st.Incomplete)
	one("unfinished_total", "counter", "Connections whose handshake never ended.", st.Unfinished)
	one("errors_unsent_total", "counter", "Errors not told because the client had too many.", st.Unsent)
	one("idle_total", "counter", "Sessions ended because nothing moved.", st.Idle)
	one("gave_way_total", "counter", "Connections without a message that were reset to make room.", st.GaveWay)
	one("up_octets_total", "counter", "Octets from clients to servers.", st.Up)
	one("down_octets_total", "counter", "Octets from servers to clients.", st.Down)
	b = fmt.Appendf(b, "# HELP spillway_concentrator_errors_total Error TLVs sent, by RFC 8803 code.\n# TYPE spillway_concentrator_errors_total counter\n")
	for _, code := range codes {
		b = fmt.Appendf(b, "spillway_concentrator_errors_total{code=\"%d\"} %d\n", uint8(code), st.Errors[code])
	}
	_, err := w.Write(b)
	return err
}
