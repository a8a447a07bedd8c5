// SPDX-License-Identifier: Apache-2.0

package concentrator

import (
	"net"

	"spillway/relay/engine"
)

// carry has the engine copy both ways between two connections that it owns from then on, and counts the session out at their end.
// A direction that ends with FIN closes the other side's writing; one that fails resets both sides, so that no failure looks like a
// clean end, nor does the end of this process: until the server has ended, the client's socket ends in a reset. (An error of that means
// that the connection is over.)
func (ses *session) carry(client, server *net.TCPConn) error {
	pair := ses.pair()
	var err error
	if pair.LAN, err = engine.Detach(client); err != nil {
		engine.ResetConn(server)
		return err
	}
	engine.EndsInReset(pair.LAN)
	if pair.Up, err = engine.Detach(server); err != nil {
		engine.Reset(pair.LAN)
		return err
	}
	c, err := ses.s.engine.Add(pair)
	if err != nil {
		return err
	}
	ses.conn.Store(c)
	if ses.push {
		ses.s.young.pushLater(young{c: c})
	}
	return nil
}

// pair says how the engine shall copy.
func (ses *session) pair() engine.Pair {
	return engine.Pair{Far: true, Withhold: ses.synData, SendMost: ses.s.sendMost, Done: func(c *engine.Conn, _ engine.End) {
		ses.conn.Store(c) // Add may not have returned yet
		ses.s.forget(ses)
	}}
}

// moved is the octets that were copied for the session.
func (ses *session) moved() (up, down uint64) {
	if c := ses.conn.Load(); c != nil {
		up, down = c.Moved()
	}
	return up + uint64(ses.early.Load()), down
}
