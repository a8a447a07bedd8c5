// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"spillway/mptcp"
)

// Options of a Reconciler; the zero value is good.
type Options struct {
	// Saved is the file that remembers what sysctls and limits were before us, so that a later process can restore
	// them; "": /var/run/spillway.sysctl.
	Saved string
	// NFT is the nft command; "": found on PATH, in /usr/sbin or /sbin.
	NFT string
}

// Reconciler makes the kernel hold what is wanted, in the network namespace of the thread that called New. Safe for
// concurrent use.
type Reconciler struct{}

// Counter counts what an nft rule matched; for rules: connections' first packets, repeats included.
type Counter struct{ Packets, Bytes uint64 }

// New opens the sockets it works through.
func New(o Options, log *slog.Logger) (*Reconciler, error) { return &Reconciler{}, nil }

// HasMPTCP tells whether the kernel has an MPTCP path manager; without one endpoints and limits are ignored.
func (r *Reconciler) HasMPTCP() bool { return false }

// HasIPv6 tells whether the kernel has IPv6; without it ask for nothing of it.
func (r *Reconciler) HasIPv6() bool { return false }

// Read tells what the kernel holds of ours.
func (r *Reconciler) Read() (State, error) { return State{}, nil }

// Apply makes the kernel hold want, and returns the operations that succeeded. It goes on past an operation that
// fails; the joined errors name each part, and the next Apply tries again.
func (r *Reconciler) Apply(ctx context.Context, want State) ([]Op, error) { return nil, nil }

// Stop takes everything of ours away and restores what was changed. To leave the state for a successor, Close instead.
func (r *Reconciler) Stop(ctx context.Context) ([]Op, error) { return nil, nil }

// Close closes the sockets; the kernel keeps what it holds.
func (r *Reconciler) Close() error { return nil }

// Watch calls poke when somebody (we too) changed rules, routes or nft tables of ours; reading again is the caller's. It returns nil
// when ctx ends.
func (r *Reconciler) Watch(ctx context.Context, poke func()) error { <-ctx.Done(); return nil }

// SetBackup flips the backup flag of an endpoint on all connections: one netlink call, for failover and overflow.
func (r *Reconciler) SetBackup(id uint8, backup bool) error { return nil }

// ToggleBackup sends backup's opposite and then backup: the kernel sends no MP_PRIO for an unchanged flag and never
// repeats a lost one.
func (r *Reconciler) ToggleBackup(id uint8, backup bool) error { return nil }

// AddEndpoint adds an endpoint with an id of ours: one netlink call.
func (r *Reconciler) AddEndpoint(e mptcp.Endpoint) error { return nil }

// RemoveEndpoint removes an endpoint of ours, and its subflows on all connections: one netlink call. Absent is no error.
func (r *Reconciler) RemoveEndpoint(id uint8) error { return nil }

// DropInitial closes the initial subflows (id 0) with this local address on all connections. Connections that had
// fallen back to plain TCP are reset by it. No such subflow is no error.
func (r *Reconciler) DropInitial(addr netip.Addr) error { return nil }

// AddDomain adds addresses to the sets of a rule's DomainSet, or prolongs their stay, in one transaction.
func (r *Reconciler) AddDomain(ctx context.Context, set string, addrs []netip.Addr, ttl time.Duration) error {
	return nil
}

// Hits tells the counters by the rules' names, and "native", "refused", "concentrator" and "relayed" by themselves.
func (r *Reconciler) Hits() (map[string]Counter, error) { return nil, nil }

// SysctlOptions choose the sysctls to ask for.
type SysctlOptions struct {
	Devices          []string // the links' devices, for rp_filter
	FastOpenNoCookie bool     // also tcp_fastopen bit 0x4: where the socket option TCP_FASTOPEN_NO_COOKIE is missing
	ReceiveMax       int      // octets, least maximum of tcp_rmem; 0: as it is
	StaleLossCount   int      // net.mptcp.stale_loss_cnt; 0: as it is
}

// Sysctls is State.Sysctls for these options: bits and maxima are added to what was there before us, names that this kernel
// does not have are left out.
func (r *Reconciler) Sysctls(o SysctlOptions) map[string]string { return nil }
