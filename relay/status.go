// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/netip"
	"time"
)

// Flow is one established connection.
type Flow struct {
	ID       uint64         `json:"id"` // rises with each connection
	Src      netip.AddrPort `json:"src"`
	Dst      netip.AddrPort `json:"dst"`
	Rule     string         `json:"rule,omitempty"` // name of the rule that took it; empty: none
	Action   string         `json:"action"`
	Upstream string         `json:"upstream"`
	Link     string         `json:"link"`  // where it began
	Index    int            `json:"-"`     // of that link's device then; 0: not known
	Local    netip.AddrPort `json:"local"` // our end towards the upstream
	Since    time.Time      `json:"since"`
	Idle     time.Duration  `json:"idle"` // whole seconds
	Up       uint64         `json:"up"`   // octets from the LAN host
	Down     uint64         `json:"down"`
	Token    uint32         `json:"token,omitempty"` // the kernel's MPTCP token, as in sock_diag; 0: plain TCP
	MPTCP    bool           `json:"mptcp"`           // not fallen back at set-up
	Bulk     bool           `json:"bulk"`            // moved more than 1 MiB
}

// Stats are counters since New, gauges where said.
type Stats struct {
	Sessions     int             `json:"sessions"` // gauge: set-up and established
	Established  int             `json:"established"`
	DoorOpen     bool            `json:"door_open"`
	DoorWanted   bool            `json:"door_wanted"` // main asked for it
	Full         bool            `json:"full"`
	Tight        bool            `json:"tight"` // the door is closed for want of memory
	FullTimes    int64           `json:"full_times"`
	Accepted     int64           `json:"accepted"`
	Relayed      int64           `json:"relayed"`      // reached established
	Direct       int64           `json:"direct"`       // to a server known to speak MPTCP
	Refused      int64           `json:"refused"`      // not intercepted: came to the door's own address
	HostLimited  int64           `json:"host_limited"` // over MaxPerHost
	Blocked      int64           `json:"blocked"`      // by rule
	NoLink       int64           `json:"no_link"`
	NoUpstream   int64           `json:"no_upstream"`
	Destination  int64           `json:"destination"` // Error 96, 97 and the like: the server's fault
	Failed       int64           `json:"failed"`      // upstream failures that reached the LAN host
	Retried      int64           `json:"retried"`     // second upstream, link or cookie for the same connection
	Warm         int64           `json:"warm"`        // went over a connection that was established already
	Held         int64           `json:"held"`        // SYNs that waited for the server's answer
	Unheld       int64           `json:"unheld"`      // SYNs that passed at once, as too many were held
	TurnedAway   int64           `json:"turned_away"` // held SYNs that came to nothing: refused, unreachable, not answered
	Reset        int64           `json:"reset"`       // established ones that ended by RST
	IdleClosed   int64           `json:"idle_closed"`
	Up           uint64          `json:"up"` // octets of ended and living connections
	Down         uint64          `json:"down"`
	FastOpen     FastOpenStats   `json:"fast_open"`
	Errors       map[uint8]int64 `json:"errors,omitempty"` // RFC 8803 error codes received
	NativeCached int             `json:"native_cached"`
	Wakeups      uint64          `json:"wakeups"` // of the engine's loops
}

// FastOpenStats counts how connections with data in the SYN came out.
type FastOpenStats struct {
	Tried    int64 `json:"tried"`
	Accepted int64 `json:"accepted"` // data acknowledged by the SYN-ACK and MPTCP kept
	NotAcked int64 `json:"not_acked"`
	Lost     int64 `json:"lost"`     // SYN retransmitted
	Fallback int64 `json:"fallback"` // MPTCP lost, whatever the cause
	Avoided  int64 `json:"avoided"`  // connect first, because of the verdict
}

// UpstreamStatus is the health of one upstream.
type UpstreamStatus struct {
	Name     string           `json:"name"`
	Protocol string           `json:"protocol"`
	Addrs    []netip.AddrPort `json:"addrs"`
	Up       bool             `json:"up"`
	Since    time.Time        `json:"since"`            // of Up
	Reason   string           `json:"reason,omitempty"` // why it is out
	Until    time.Time        `json:"until,omitzero"`   // when it will be asked again
	Cookie   bool             `json:"cookie"`           // one is held
	Sessions int64            `json:"sessions"`
	Failures int64            `json:"failures"`
	SYNData  []SYNData        `json:"syn_data,omitempty"` // the verdict by link
}

// SYNData is the verdict on data in the SYN between a link and an upstream.
type SYNData struct {
	Link     string    `json:"link"`
	Allowed  bool      `json:"allowed"`
	Until    time.Time `json:"until,omitzero"` // when it is tried again
	Accepted int64     `json:"accepted"`
	Failed   int64     `json:"failed"`
}
