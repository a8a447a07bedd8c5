// SPDX-License-Identifier: Apache-2.0

package main

import "time"

// The values in this file are what spillway tells the outside: over the control socket, over ubus, and as text. They are rendered
// once; every voice says the same. Field names are stable: a field may be added, none is renamed or removed
// (docs/OPENWRT.md lists them). Rates are in bit/s, counters in octets, times in RFC 3339 or in the unit that ends the name.

// apiVersion grows when a field changes its meaning.
const apiVersion = 1

// nativeShown is how many servers Status names: what is learnt of many would make each answer long.
const nativeShown = 32

// Status is the answer of the method status.
type Status struct {
	API           int                  `json:"api"`
	Version       string               `json:"version"`
	State         string               `json:"state"` // "starting", "running", "direct", "blocked", "waiting"
	Since         time.Time            `json:"since"` // of State
	Uptime        int64                `json:"uptime"`
	Why           string               `json:"why"`
	Mode          string               `json:"mode"`
	OverflowDown  bool                 `json:"overflow_down"`
	OverflowUp    bool                 `json:"overflow_up"`
	Doors         DoorStatus           `json:"doors"`
	Concentrators []ConcentratorStatus `json:"concentrators"`
	Links         []LinkStatus         `json:"links"`
	Sessions      int                  `json:"sessions"`
	Counters      map[string]uint64    `json:"counters"`
	Rules         []RuleStatus         `json:"rules"`
	NativeServers int                  `json:"native_servers"` // known to speak MPTCP themselves (relay.native_servers)
	NativeNewest  []string             `json:"native_newest"`  // of these the ones learnt last, address:port, at most nativeShown
	Warnings      []string             `json:"warnings"`
	Goroutines    int                  `json:"goroutines"` // of the daemon, for whoever looks for a leak
}

// DoorStatus tells whether new LAN connections are intercepted.
type DoorStatus struct {
	Open bool   `json:"open"`
	IPv4 uint16 `json:"ipv4"` // port of the listener, 0: closed
	IPv6 uint16 `json:"ipv6"`
	Why  string `json:"why"`
}

// ConcentratorStatus is one upstream and its health.
type ConcentratorStatus struct {
	Name     string  `json:"name"`
	Address  string  `json:"address"`
	Protocol string  `json:"protocol"`
	State    string  `json:"state"` // "up", "down", "waiting"
	Why      string  `json:"why"`
	RTTms    float64 `json:"rtt_ms"`
	Sessions int     `json:"sessions"`
}

// LinkStatus is one link.
type LinkStatus struct {
	Name        string         `json:"name"`
	Device      string         `json:"device"`
	Role        string         `json:"role"`               // as configured or set
	RoleWhy     string         `json:"role_why,omitempty"` // where neither is so: netifd's word
	State       string         `json:"state"`              // "first", "active", "standby", "draining", "off"
	Resting     bool           `json:"resting"`            // active, but silent for the moment: the primaries carry all that there is
	Why         string         `json:"why"`
	Since       time.Time      `json:"since"`
	Usable      bool           `json:"usable"`
	UsableSince time.Time      `json:"usable_since"` // or not usable since
	Losses      uint64         `json:"losses"`       // how often it ceased to be usable
	Carrier     bool           `json:"carrier"`
	Address4    string         `json:"address4"`
	Address6    string         `json:"address6"`
	Down        float64        `json:"down_bps"`
	Up          float64        `json:"up_bps"`
	DownPeak    float64        `json:"down_peak_bps"`
	UpPeak      float64        `json:"up_peak_bps"`
	Rx          uint64         `json:"rx_bytes"`
	Tx          uint64         `json:"tx_bytes"`
	Capacity    CapacityStatus `json:"capacity"`
	RTTms       float64        `json:"rtt_ms"`
	MinRTTms    float64        `json:"min_rtt_ms"`
	Loss        float64        `json:"loss"` // share of octets sent again, 0..1
	Subflows    int            `json:"subflows"`
	Quota       *QuotaStatus   `json:"quota,omitempty"`
}

// CapacityStatus is what a link can carry and how that is known.
type CapacityStatus struct {
	Down   float64 `json:"down_bps"` // 0: not known yet
	Up     float64 `json:"up_bps"`
	Source string  `json:"source"` // "configured", "modem", "learnt", "unknown"
}

// QuotaStatus is a link's use in its billing month.
type QuotaStatus struct {
	Used        uint64    `json:"used"`
	Limit       uint64    `json:"limit"`
	Soft        uint64    `json:"soft"`
	Today       uint64    `json:"today"`
	Daily       uint64    `json:"daily"`
	PeriodStart time.Time `json:"period_start"`
	PeriodEnd   time.Time `json:"period_end"`
	Forecast    uint64    `json:"forecast"` // at the period's end, going on as so far
	Exhausted   bool      `json:"exhausted"`
}

// RuleStatus is a rule and how often it matched.
type RuleStatus struct {
	Name   string `json:"name"`
	Action string `json:"action"`
	Hits   uint64 `json:"hits"`
	Where  string `json:"where"` // "nft" or "relay"
}

// Flows is a page of relayed connections.
type Flows struct {
	Total  int          `json:"total"`
	Offset int          `json:"offset"`
	Flows  []FlowStatus `json:"flows"`
}

// FlowStatus is one relayed connection.
type FlowStatus struct {
	ID          uint64          `json:"id"`
	Source      string          `json:"source"`
	Destination string          `json:"destination"`
	Rule        string          `json:"rule"`
	Class       string          `json:"class"`
	Link        string          `json:"link"`
	Upstream    string          `json:"upstream"`
	Age         float64         `json:"age_s"`
	Idle        float64         `json:"idle_s"`
	Rx          uint64          `json:"rx_bytes"` // towards the LAN host
	Tx          uint64          `json:"tx_bytes"`
	MPTCP       bool            `json:"mptcp"`
	Subflows    []SubflowStatus `json:"subflows"`
}

// SubflowStatus is a connection's share on one link.
type SubflowStatus struct {
	Link   string  `json:"link"`
	Rx     uint64  `json:"rx_bytes"`
	Tx     uint64  `json:"tx_bytes"`
	RTTms  float64 `json:"rtt_ms"`
	Backup bool    `json:"backup"`
}

// Transition is one change of a link's state with its cause.
type Transition struct {
	At   time.Time `json:"at"`
	Link string    `json:"link"` // "": of the whole
	From string    `json:"from"`
	To   string    `json:"to"`
	Why  string    `json:"why"`
}

// Why is the answer of the method why: the last transitions, newest last.
type Why struct {
	Transitions []Transition `json:"transitions"`
}

// CheckStatus is one finding of doctor.
type CheckStatus struct {
	Name    string `json:"name"`
	Result  string `json:"result"` // "ok", "warn", "fail", "skip", "blocked" (by what it needs)
	What    string `json:"what"`
	Remedy  string `json:"remedy,omitempty"`
	Command string `json:"command,omitempty"`
	Needs   string `json:"needs,omitempty"`
}

// Doctor is the answer of the method doctor.
type Doctor struct {
	OK     bool          `json:"ok"`
	Checks []CheckStatus `json:"checks"`
}
