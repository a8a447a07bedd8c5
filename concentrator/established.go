// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"spillway/mptcp"
)

// errNoHandshake means that the client's third ACK never came: a spoofed or vanished client.
var errNoHandshake = errors.New("the client's handshake doesn't end")

// handshakeLimit is how long the third ACK may take when the answer is there: a lost one comes again with the SYN+ACK's repetitions at 1, 3, 7, 15
// and 31 s. On a line that loses a quarter of its packets a shorter wait would end connections whose clients never hear of that.
const handshakeLimit = 35 * time.Second

// tcpClose is TCP_CLOSE of include/net/tcp_states.h.
const tcpClose = 7

// waitEstablished waits until the client's handshake is complete. With data in the SYN a connection is accepted before its
// third ACK, and what a Linux MPTCP socket is given to send in that state stays unsent for ever (seen up to 7.2: the msk has
// data, the subflow is SYN_RECV, nothing pushes later). Readiness for writing doesn't tell, so the state is read again and
// again: first when the client's last handshake suggests it, then in steps. (The engine's edge-triggered events do tell, and the lane is content with
// them.) waited: that was done already.
func (s *Server) waitEstablished(c *net.TCPConn, accepted time.Time, key netip.Addr, waited bool) (mptcp.Outcome, error) {
	polled, usual, began := waited, s.clients.usualHandshake(key), time.Now()
	for {
		out, err := mptcp.Inspect(c)
		elapsed := time.Since(accepted)
		switch {
		case err != nil:
			return out, err
		case out.Established && (!out.MPTCP || keyed(mptcp.ConnInfo(c))):
			if polled {
				s.stats.handshakeWaits.Add(1)
				s.clients.sawHandshake(key, elapsed)
			}
			return out, nil
		case out.State == tcpClose && elsewhere(mptcp.ConnInfo(c)):
			return out, nil
		case out.State == tcpClose || time.Since(began) > handshakeLimit:
			return out, errNoHandshake
		case !polled && usual > elapsed:
			time.Sleep(usual - elapsed)
		default:
			time.Sleep(pollStep(elapsed, usual))
		}
		polled = true
	}
}

// keyed tells whether the client's key has arrived. It is in the third ACK and in the first data, both of which may be lost, while another
// segment of the client's (MP_PRIO, say) completes the handshake of TCP. Without the key nothing can be acknowledged to the client:
// its kernel takes the connection for plain TCP as soon as we send something, and what ours sends again for want of an
// acknowledgement it takes for more of the stream (seen with Linux 6.18: the answer arrived 13 times). So nothing is sent before:
// the client repeats its data, the key with it.
func keyed(in mptcp.Info, err error) bool { return err != nil || in.RemoteKey } // an error: plain TCP by now

// elsewhere tells whether a connection whose first subflow is closed goes on by others, as when a line was lost while the server kept it waiting.
func elsewhere(in mptcp.Info, err error) bool {
	return err == nil && in.RemoteKey && in.ExtraSubflows > 0
}

// pollStep is the pause before the state is read again, and so the most that an answer comes late: up to 1 ms around the time
// that the client's handshakes usually take, else a sixteenth of what has been waited, up to 5 ms, or a sixty-fourth, up to 100 ms. A client
// that is less than a millisecond away is looked at oftener.
func pollStep(elapsed, usual time.Duration) time.Duration {
	least := min(max(elapsed/4, 50*time.Microsecond), 300*time.Microsecond)
	if elapsed < 2*usual {
		return min(max(usual/64, least), time.Millisecond)
	}
	return max(min(max(elapsed/16, least), 5*time.Millisecond), min(elapsed/64, 100*time.Millisecond))
}
