// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"spillway/journal"
	"spillway/mptcp"
	"spillway/netlink"
)

// Options of a Reconciler; the zero value is good.
type Options struct {
	// Saved is the file that remembers what sysctls and limits were before us, so that a later process can restore
	// them; "": /var/run/spillway.sysctl.
	Saved string
	// NFT is the nft command; "": found on PATH, in /usr/sbin or /sbin.
	NFT string
	// Numbers are ours in the kernel; the zero value: Usual. What an earlier process left under others is taken away at the first Apply.
	Numbers Numbers
}

// Reconciler makes the kernel hold what is wanted, in the network namespace of the thread that called New (nft and
// sysctls: of the thread that calls). Safe for concurrent use.
type Reconciler struct {
	log   *journal.Logger
	nft   string
	saved savedFile
	ours  Numbers

	mu     sync.Mutex // one change at a time
	rtnl   *netlink.Conn
	nfnl   *netlink.Conn      // nil: the kernel has no nf_tables
	pm     *mptcp.PathManager // nil: the kernel has no MPTCP
	last   Ruleset            // as wanted last: the rules' names, for Hits
	before before             // of saved
	dirty  bool               // before is not in the file yet
	begun  bool               // what an earlier process left under other numbers was taken away
	loaded loadedMark
}

// Counter counts what an nft rule matched; for rules: connections' first packets, repeats included.
type Counter struct{ Packets, Bytes uint64 }

// New opens the sockets it works through, and reads what an earlier process has left to restore.
func New(o Options, log *journal.Logger) (*Reconciler, error) {
	r := &Reconciler{log: log, nft: o.NFT, saved: savedFile(o.Saved), ours: o.Numbers}
	if r.ours == (Numbers{}) {
		r.ours = Usual()
	}
	if r.saved == "" {
		r.saved = "/var/run/spillway.sysctl"
	}
	if r.nft == "" {
		r.nft = findNFT()
	}
	var err error
	if r.before, err = r.saved.load(); err != nil {
		// What was before us is lost with the file; everything else works.
		log.Warn("earlier sysctls will not be restored", "error", err)
	}
	if r.rtnl, err = dialRoute(); err != nil {
		return nil, fmt.Errorf("open route netlink: %w", err)
	}
	if r.nfnl, err = netlink.Dial(unix.NETLINK_NETFILTER); errors.Is(err, unix.EPROTONOSUPPORT) {
		log.Warn("the kernel has no nf_tables: LAN traffic is not relayed; install kmod-nft-tproxy and kmod-nft-socket")
	} else if err != nil {
		r.Close()
		return nil, fmt.Errorf("open netfilter netlink: %w", err)
	}
	pm, ok, err := mptcp.OpenPathManager()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("open mptcp path manager: %w", err)
	}
	if ok {
		r.pm = pm
	}
	return r, nil
}

// PathManager is the conversation by which subflows of single connections are made and removed; nil: the kernel has no MPTCP, and
// endpoints and limits are ignored.
func (r *Reconciler) PathManager() *mptcp.PathManager { return r.pm }

// HasIPv6 tells whether the kernel has IPv6, not switched off on lo; without it ask for nothing of it.
func (r *Reconciler) HasIPv6() bool {
	off, err := readSysctl("net/ipv6/conf/lo/disable_ipv6")
	return err == nil && off == "0"
}

// Close closes the sockets; the kernel keeps what it holds, for a successor.
func (r *Reconciler) Close() error {
	var errs []error
	if r.rtnl != nil {
		errs = append(errs, r.rtnl.Close())
	}
	if r.nfnl != nil {
		errs = append(errs, r.nfnl.Close())
	}
	if r.pm != nil {
		errs = append(errs, r.pm.Close())
	}
	return errors.Join(errs...)
}

// Read tells what the kernel holds of ours, and the sysctls that we changed.
func (r *Reconciler) Read() (State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read(State{Sysctls: r.before.Sysctls})
}

// read reads what is ours and the sysctls that want names. A part that can't be read is left as want has it, so that
// nothing is done about it; the errors name the parts.
func (r *Reconciler) read(want State) (State, error) {
	have := want
	var errs []error
	part := func(err error) bool {
		errs = append(errs, err)
		return err == nil
	}
	if rules, err := r.ours.readRules(r.rtnl); part(err) {
		have.Rules = rules
	}
	if routes, err := r.ours.readRoutes(r.rtnl); part(err) {
		have.Routes = routes
	}
	if r.nfnl == nil {
		have.Ruleset = Ruleset{}
	} else if mark, err := readMark(r.nfnl); part(err) {
		have.Ruleset = Ruleset{Mark: r.loaded.meant(mark)}
	}
	if r.pm == nil {
		have.Endpoints, have.Limits = nil, mptcp.Limits{}
	} else {
		if endpoints, err := r.endpoints(); part(err) {
			have.Endpoints = endpoints
		}
		if limits, err := r.pm.Limits(); part(err) {
			have.Limits = limits
		}
	}
	have.Sysctls = map[string]string{}
	for key := range want.Sysctls {
		if value, err := readSysctl(key); err == nil {
			have.Sysctls[key] = value
		}
	}
	return have, errors.Join(errs...)
}

// endpoints are those of ours.
func (r *Reconciler) endpoints() ([]mptcp.Endpoint, error) {
	all, err := r.pm.Endpoints()
	if err != nil {
		return nil, fmt.Errorf("list mptcp endpoints: %w", err)
	}
	var ours []mptcp.Endpoint
	for _, e := range all {
		if r.ours.ourEndpoint(e) {
			ours = append(ours, e)
		}
	}
	return ours, nil
}

// Apply makes the kernel hold want, and returns the operations that succeeded. It goes on past an operation that
// fails; the joined errors name each part, and the next Apply tries again. With ErrUnsaved (errors.Is) the kernel holds all of it.
func (r *Reconciler) Apply(ctx context.Context, want State) ([]Op, error) {
	return r.Follow(ctx, func() State { return want })
}

// Follow is Apply of a state that may change meanwhile: it is asked for when all before it are done, and again when the kernel's has been read. So
// a fast path below is not undone, if wanted has what it does before it is done. It is called under a lock.
func (r *Reconciler) Follow(ctx context.Context, wanted func() State) ([]Op, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(ctx, wanted)
}

// Stop takes everything of ours away and restores what was changed. ctx must outlive the one whose end stops the daemon.
// To leave the state for a successor, Close instead.
func (r *Reconciler) Stop(ctx context.Context) ([]Op, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(ctx, nothing)
}

func nothing() State { return State{} }

// prepare is what asked comes to: what is no longer asked for goes back to what it was, and addresses are as the kernel tells them. An endpoint
// that is none of ours is left out, and an error.
func (r *Reconciler) prepare(asked State) (want State, errs []error) {
	want = asked
	want.Sysctls, want.Limits = r.before.settle(want.Sysctls, want.Limits)
	want.Endpoints = slices.Clone(want.Endpoints)
	for i := range want.Endpoints {
		want.Endpoints[i].Addr = plain(want.Endpoints[i].Addr)
	}
	want.Endpoints = slices.DeleteFunc(want.Endpoints, func(e mptcp.Endpoint) bool {
		if r.ours.ourEndpoint(e) {
			return false
		}
		errs = append(errs, fmt.Errorf("endpoint %s: not as LinkEndpoint makes it", endpointString(e)))
		return true
	})
	if r.pm == nil {
		want.Endpoints, want.Limits = nil, mptcp.Limits{}
	}
	return want, errs
}

func (r *Reconciler) apply(ctx context.Context, wanted func() State) ([]Op, error) {
	if !r.begun {
		r.begun = true
		if err := r.evict(); err != nil {
			r.log.Warn("an earlier process used other numbers, and not all of its could be taken away", "error", err)
		}
	}
	want, _ := r.prepare(wanted())
	have, err := r.read(want)
	asked := wanted()
	want, errs := r.prepare(asked)
	errs = append(errs, err)
	ops := Diff(have, want)
	for _, op := range ops {
		r.remember(op, have)
	}
	// One write for all: it waits for the disk. One that can't be written keeps nobody from bonding; it costs the restoring after a kill.
	r.save() // an error is told at the end
	var done []Op
	for _, op := range ops {
		if err := ctx.Err(); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", op, err))
			break
		}
		if err := r.do(ctx, op); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", op, err))
			continue
		}
		r.log.Debug(op.String())
		done = append(done, op)
	}
	r.last = asked.Ruleset
	r.forget(asked)
	unsaved := r.save()
	if err := errors.Join(errs...); err != nil {
		return done, err
	}
	return done, unsaved
}

// do performs one operation. What is already so is done.
func (r *Reconciler) do(ctx context.Context, op Op) error {
	switch op.Kind {
	case SetSysctl:
		return writeSysctl(op.Key, op.Value)
	case SetLimits:
		return r.pm.SetLimits(op.Limits)
	case AddRoute:
		return addRoute(r.rtnl, op.Route)
	case DelRoute:
		return delRoute(r.rtnl, op.Route)
	case AddRule:
		return addRule(r.rtnl, op.Rule)
	case DelRule:
		return delRule(r.rtnl, op.Rule)
	case AddEndpoint:
		return r.addEndpoint(op.Endpoint)
	case DelEndpoint:
		return except(r.pm.Remove(op.Endpoint.ID, op.Endpoint.Addr), fs.ErrNotExist)
	case SetFlags:
		return r.pm.SetFlags(op.Endpoint.ID, netip.Addr{}, op.Endpoint.Flags&mutableFlags)
	case LoadTable:
		return r.loadTable(ctx, op.Ruleset)
	case DelTable:
		return deleteTable(r.nfnl)
	}
	return errors.New("unknown operation")
}

func (r *Reconciler) addEndpoint(e mptcp.Endpoint) error {
	e.Addr = plain(e.Addr)
	err := r.pm.Add(e)
	if !errors.Is(err, fs.ErrExist) { // the address, the id
		return err
	}
	all, _ := r.pm.Endpoints()
	for _, o := range all {
		if o == e {
			return nil
		}
		if o.Addr == e.Addr || o.ID == e.ID {
			return fmt.Errorf("endpoint %s is in the way: if nobody needs it, `ip mptcp endpoint delete id %d`: %w", endpointString(o), o.ID, err)
		}
	}
	return err
}

// The fast paths below are one netlink call each and wait for no Apply under way. They need no bookkeeping: the next
// Apply reads what they did. Tell it the same, or it undoes them.

// SetBackup flips the backup flag of an endpoint on all connections: for failover and overflow.
func (r *Reconciler) SetBackup(id uint8, backup bool) error {
	if r.pm == nil {
		return nil
	}
	var f mptcp.EndpointFlags
	if backup {
		f = mptcp.FlagBackup
	}
	if err := r.pm.SetFlags(id, netip.Addr{}, f); err != nil {
		return fmt.Errorf("set backup %t of endpoint %d: %w", backup, id, err)
	}
	return nil
}

// ToggleBackup sends backup's opposite and then backup: the kernel sends no MP_PRIO for an unchanged flag and never
// repeats a lost one.
func (r *Reconciler) ToggleBackup(id uint8, backup bool) error {
	return errors.Join(r.SetBackup(id, !backup), r.SetBackup(id, backup))
}

// AddEndpoint adds an endpoint with an id of ours: one netlink call. One that is there already is no error.
func (r *Reconciler) AddEndpoint(e mptcp.Endpoint) error {
	if r.pm == nil {
		return nil
	}
	if err := r.addEndpoint(e); err != nil {
		return fmt.Errorf("add endpoint %s: %w", endpointString(e), err)
	}
	return nil
}

// RemoveEndpoint removes an endpoint of ours, and its subflows on all connections: one netlink call. Absent is no error.
func (r *Reconciler) RemoveEndpoint(id uint8) error {
	if r.pm == nil {
		return nil
	}
	if err := except(r.pm.Remove(id, netip.Addr{}), fs.ErrNotExist); err != nil {
		return fmt.Errorf("remove endpoint %d: %w", id, err)
	}
	return nil
}

// Hits tells the counters by the rules' names, and those that the table has beside rules by the Counter… constants.
// They go on counting when the table is replaced, and when the daemon is.
func (r *Reconciler) Hits() (map[string]Counter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nfnl == nil {
		return nil, nil
	}
	raw, err := readCounters(r.nfnl)
	hits := make(map[string]Counter, len(raw))
	for id, n := range raw {
		if name, ok := r.last.names[id]; ok {
			id = name
		}
		hits[id] = Counter{hits[id].Packets + n.Packets, hits[id].Bytes + n.Bytes} // rules may share a name
	}
	return hits, err
}

// AddDomain adds addresses to the sets of a rule's DomainSet, or prolongs their stay, in one transaction. ttl is rounded up to
// seconds, at least one.
func (r *Reconciler) AddDomain(ctx context.Context, set string, addrs []netip.Addr, ttl time.Duration) error {
	if !isName(set) {
		return fmt.Errorf("domain set %q: not a set's name", set)
	}
	if len(addrs) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.run(ctx, addElements(set, addrs, ttl)); err != nil {
		return fmt.Errorf("add %d addresses to domain set %s: %w", len(addrs), set, err)
	}
	return nil
}
