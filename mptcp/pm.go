// SPDX-License-Identifier: Apache-2.0

package mptcp

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"spillway/netlink"
)

// Endpoint is an address that the in-kernel path manager uses for subflows. Comparable.
type Endpoint struct {
	ID      uint8 // 1..255; 0 lets the kernel choose when adding
	Addr    netip.Addr
	Port    uint16 // 0: any; only for FlagSignal
	Flags   EndpointFlags
	IfIndex int // device its subflows are bound to, 0: none
}

// EndpointFlags are the flags of an endpoint (MPTCP_PM_ADDR_FLAG_*).
type EndpointFlags uint32

// The flags, in the kernel's order.
const (
	FlagSignal   EndpointFlags = 1 << iota // announced to peers (ADD_ADDR)
	FlagSubflow                            // subflows are made from it
	FlagBackup                             // its subflows are backup: used only when no other works
	FlagFullmesh                           // subflows to every address of the peer
	FlagImplicit                           // made by the kernel itself; read only
	FlagLaminar                            // since 6.18: local address for answers to ADD_ADDR
)

// Limits are those of the path manager, per connection.
type Limits struct {
	Subflows uint32 // beside the first; opened and accepted alike
	AddAddrs uint32 // announced addresses of the peer that we take up
}

// PathManager is a conversation with the kernel's MPTCP path manager. Safe for concurrent use.
type PathManager struct {
	c      *netlink.Conn
	family family
}

// OpenPathManager opens the conversation in the current network namespace. ok is false, without an error, when the
// kernel has no MPTCP.
func OpenPathManager() (pm *PathManager, ok bool, err error) {
	c, err := netlink.Dial(unix.NETLINK_GENERIC)
	if err != nil {
		return nil, false, fmt.Errorf("open generic netlink: %w", err)
	}
	// Without it a refusal is a bare "invalid argument". Kernels that lack it answer as before.
	_ = c.Set(unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	pm, ok, err = initPathManager(c)
	if !ok {
		c.Close()
	}
	return pm, ok, err
}

// initPathManager takes over a ready conversation.
func initPathManager(c *netlink.Conn) (*PathManager, bool, error) {
	f, err := findFamily(c, pmFamily)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	return &PathManager{c: c, family: f}, true, nil
}

// Close ends the conversation.
func (p *PathManager) Close() error { return p.c.Close() }

// Endpoints lists the endpoints.
func (p *PathManager) Endpoints() ([]Endpoint, error) {
	msgs, err := p.ask(cmdGetAddr, unix.NLM_F_DUMP, nil)
	if err != nil {
		return nil, fmt.Errorf("list MPTCP endpoints: %w", err)
	}
	es := make([]Endpoint, 0, len(msgs))
	for _, m := range msgs {
		ad := netlink.Decode(m)
		e, err := parseEndpoint(ad)
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, nil
}

// Add adds an endpoint and, with FlagSubflow, a subflow from it to every live connection.
// An address or id that is there already: errors.Is(err, fs.ErrExist).
func (p *PathManager) Add(e Endpoint) error {
	return p.tell(cmdAddAddr, encodeEndpoint(e), "add MPTCP endpoint %v id %d", e.Addr, e.ID)
}

// Remove removes the endpoint with this id and closes its subflows on every connection. id 0 with addr closes the
// *first* subflow of each connection that started from addr, endpoint or not; it also resets the connections from
// addr that had fallen back to plain TCP. An endpoint that isn't there: errors.Is(err, fs.ErrNotExist).
func (p *PathManager) Remove(id uint8, addr netip.Addr) error {
	return p.tell(cmdDelAddr, encodeRef(id, addr, 0, false), "remove MPTCP endpoint %v id %d", addr, id)
}

// SetFlags replaces the flags FlagBackup and FlagFullmesh of an endpoint, named by id, or by addr when id is 0, and
// tells the peers of live connections (MP_PRIO). A flag that is already so tells nobody, and MP_PRIO is never
// repeated when lost: to be sure, verify by counters and toggle. An endpoint that isn't there: fs.ErrNotExist, but on Linux 6.1 a
// bare EINVAL (net/mptcp/pm_netlink.c, mptcp_nl_cmd_set_flags).
func (p *PathManager) SetFlags(id uint8, addr netip.Addr, f EndpointFlags) error {
	return p.tell(cmdSetFlags, encodeRef(id, addr, f, true), "set flags of MPTCP endpoint %v id %d to %v", addr, id, f)
}

// Flush removes all endpoints.
func (p *PathManager) Flush() error {
	return p.tell(cmdFlushAddrs, nil, "remove all MPTCP endpoints")
}

// Limits reads the limits.
func (p *PathManager) Limits() (Limits, error) {
	msgs, err := p.ask(cmdGetLimits, 0, nil)
	if err != nil {
		return Limits{}, fmt.Errorf("read MPTCP limits: %w", err)
	}
	if len(msgs) == 0 {
		return Limits{}, errors.New("read MPTCP limits: no answer")
	}
	ad := netlink.Decode(msgs[0])
	return parseLimits(ad)
}

// SetLimits sets the limits for connections to come.
func (p *PathManager) SetLimits(l Limits) error {
	return p.tell(cmdSetLimits, encodeLimits(l), "set MPTCP limits to %d subflows, %d addresses", l.Subflows, l.AddAddrs)
}

// tell sends a command and waits for its acknowledgement; doing names it in the error.
func (p *PathManager) tell(cmd uint8, fn encoder, doing string, args ...any) error {
	if _, err := p.ask(cmd, unix.NLM_F_ACK, fn); err != nil {
		return fmt.Errorf("%s: %w", fmt.Sprintf(doing, args...), err)
	}
	return nil
}

// ask sends a request and returns the answers' attributes.
func (p *PathManager) ask(cmd uint8, flags uint16, fn encoder) (answers [][]byte, err error) {
	request := []byte{cmd, p.family.version, 0, 0}
	if fn != nil {
		attrs, err := attributes(fn)
		if err != nil {
			return nil, err
		}
		request = append(request, attrs...)
	}
	messages, err := p.c.Execute(netlink.Message{Type: p.family.id, Flags: flags, Data: request})
	for _, m := range messages {
		if len(m.Data) >= genlLen {
			answers = append(answers, m.Data[genlLen:])
		}
	}
	return answers, kernelError(err)
}

// kernelError turns an answer of the kernel into the errors that callers branch on, and keeps its words: the
// kernel answers "invalid argument" or "no such process" for things that aren't there.
func kernelError(err error) error {
	var refusal *netlink.Error
	if !errors.As(err, &refusal) {
		return err
	}
	about := func(words string) bool { return refusal.Errno == unix.EINVAL && strings.Contains(refusal.Text, words) }
	switch {
	case refusal.Errno == unix.EBUSY || about("duplicate"):
		// EBUSY: the id is taken; EEXIST means the address is. Linux 6.1 knows but one error for both, and for 8 endpoints.
		return fmt.Errorf("%w: %w", fs.ErrExist, err)
	case refusal.Errno == unix.ESRCH || about("not found"):
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// String names the flags as `ip mptcp` does.
func (f EndpointFlags) String() string {
	if f == 0 {
		return "none"
	}
	var words []string
	for i, name := range []string{"signal", "subflow", "backup", "fullmesh", "implicit", "laminar"} {
		if f&(1<<i) != 0 {
			words = append(words, name)
			f &^= 1 << i
		}
	}
	if f != 0 {
		words = append(words, fmt.Sprintf("%#x", uint32(f)))
	}
	return strings.Join(words, ",")
}
