// SPDX-License-Identifier: Apache-2.0

// Package engine copies octets both ways between pairs of TCP or MPTCP sockets. It is the product's CPU bill, so this page says where the bill
// comes from and what is done about it. What each measure brought, and what was tried and not taken, is in docs/BENCHMARKS.md.
//
// # What costs
//
// At an access line's rhythm a segment arrives every fraction of a millisecond. A relay that wakes for each of them pays for the wake-up, not
// for the copy: epoll, a switch of threads, a read and a write of 1,400 octets. Goroutines behind the runtime's poller pay several times
// more again. So the engine is built around one idea: wake seldom, move much, and never let a small exchange pay for it.
//
// # Loops
//
// Each processor has a loop: connections that crowd are work for all of them. A loop is a goroutine in its own epoll_wait,
// edge-triggered: each socket is registered once, for its whole life; for writability when it first was the slower one. A connection is a
// struct of some 300 octets and belongs to one loop; it has no goroutine, no timer and no buffer. A loop reads into its one scratch buffer
// and writes at once; only what the other side would not take is copied to a held buffer, which goes back to the loop's free list when it
// is flushed. A connection that holds octets is not read: back-pressure is the kernel's window.
//
// While bulk directions (below) keep its waits short, a loop waits as a goroutine that runs, not as one in a system call (loop.wait): the
// runtime's hand-over of processors and its monitor would cost as many wake-ups again as the octets. All but one of the runtime's processors
// may be kept so (loop.keep), and GOMAXPROCS must be 2 on one core too. Such a loop must yield before the runtime's monitor finds, after
// 10 ms, that it has not, and does so without waking a second processor (loop.yield).
//
// # Openings
//
// A loop also accepts (Listener), and keeps a connection whose upstream has not consented yet (Opening, open.go): who called Open is told of
// what comes from either socket and decides when copying begins. So the usual connection is never handed from one thread to another, and
// both sockets are registered once. What the opening has read of upstream leaves together with what came meanwhile (Start). An opening that
// lasts longer than 200 ms must leave the loop. The concentrator opens its sessions so, too: there the accepted socket is what came by the
// lines, and upstream is the server (Pair.Far).
//
// Writability tells of the end of a handshake. After that it is not told of until a write was refused (Conn.Hush), because MPTCP tells of
// it at each acknowledgement. Connections that come one after the other are accepted so, and several at once where much happens.
//
// # Sharing
//
// The first loop accepts all connections until they crowd, or it is busy; then the kernel wakes whichever waits. What a connection will
// move is not known then. So a loop that is busy gives one, 20 times a second, to another that is less. While they have time, bulk is
// gathered in one loop, in the same way: its looks fall together there, and small exchanges have the others for themselves (share.go).
//
// # Turns
//
// A millisecond is long for somebody who types. So a direction moves 64 KiB at most before others have their turn, events of bulk
// directions are acted on after all others, and the looks of a period stop after 48 KiB for what has come meanwhile.
//
// # Attentive and bulk
//
// Each direction is in one of two moods (gauge, in mark.go, pure and tested without sockets).
//
// Attentive: the kernel wakes us for the first octet. Every direction begins so, and interactive ones stay so.
//
// Bulk: after 64 KiB without a pause of 20 ms the direction is put on the loop's clock, and the loop reads it when some 48 KiB should have
// come, every 5, 10 or 20 ms by its rate: powers of two, so that looks fall together, one wake-up for all of them. The rate is taken over
// 40 ms, because two links bring in bursts: nothing while the slower one has a gap to fill, then all at once. SO_RCVLOWAT is twice what a
// look should find, 16 to 128 KiB, so that the kernel stays silent until then unless the flow speeds up; it makes the window hold twice the
// mark. The last octets of a burst wait for the period at most, an end for nothing. Where all bulk directions together move more than a
// line brings (lineRate), the processors are the limit, or windows are: the mark is 32 KiB then, so that nobody waits for the clock.
//
// Back to attentive: nothing came for 120 ms; or the flow became slow; or the other direction spoke (a request that a small answer will
// follow) while nothing was waiting here. The last rule keeps request-response patterns prompt on connections that alternate with bulk; a
// direction that was caught so soon after its promotion needs a longer run next time.
//
// What a concentrator sends down several lines (direction.prompt) is never bulk: a burst of 20 ms fills the first line's share, and the
// kernel gives the rest to the next one. What a router sends up several lines (gauge.brisk) is looked at every 5 ms once it is above
// 6 Mbit/s, and never bulk below: bursts of 20 ms would stand as a queue on DSL, and LTE would go on for as long as an upload lasts that
// DSL could carry.
//
// Where several paths deliver, the socket comes with a large receive buffer: the kernel's own grows by what was read, and would be too
// small for what two paths have under way when the second one begins, or while this process waits for a processor (relay/room.go). At the
// other end of them the kernel heeds no window for a while after a SYN with data, and the engine does (withhold.go).
//
// Kernels whose MPTCP sockets ignore SO_RCVLOWAT (6.1) wake us as ever: nothing is gained, nothing lost.
//
// # Ends
//
// End of file on one side becomes shutdown(SHUT_WR) on the other after what is held was flushed; a connection is over when both directions
// are. An end that goes by the lines is told when all before it has been acknowledged (ending.go), and the socket closed when that end has
// been (parting.go). Any error resets both sides: SO_LINGER 0, and connect(AF_UNSPEC) for MPTCP, whose close alone would say goodbye
// politely. A connection that was silent for its idle timeout is reset too. Sockets towards the LAN come with SO_LINGER 0 from their
// listener and keep it until upstream has ended, so that a LAN host sees a reset, and no end, when the process is killed. So does
// upstream's once 4 KiB went there (strictFrom).
//
// Urgent data is data (RFC 6093): sockets have it inline (SO_OOBINLINE), and a read that is short because it ends before such is followed by
// another.
//
// # Locks
//
// A loop's mutex guards its table of connections and is what makes adding, looking from outside (Conn.Control) and closing safe against
// each other. Who looks from outside locks the loop that has the connection just then (Conn.lock). Copying takes it once per event,
// uncontended. Counters are atomics with one writer.
package engine
