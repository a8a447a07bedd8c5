// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"

	"spillway/mptcp"
)

// Conflicts tells, a sentence each, what others keep in the kernel that may lead our traffic astray or ours theirs, and
// what to do about it. It changes nothing. None is no promise.
func (r *Reconciler) Conflicts() ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	msgs, err := dump(r.rtnl, unix.RTM_GETRULE, make([]byte, rtmsgLen))
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	for _, m := range msgs {
		rule, ours, err := r.ours.decodeRule(m.Data)
		if err == nil && !ours {
			found = append(found, r.ours.ruleConflicts(rule)...)
		}
	}
	more, err := r.endpointConflicts()
	return append(found, more...), err
}

// ruleConflicts judges a rule that isn't ours.
func (n Numbers) ruleConflicts(r Rule) (found []string) {
	if bits := r.Mark & n.Mark; bits != 0 && r.Mask != 0 {
		found = append(found, fmt.Sprintf("`%v` uses our mark bits %#x: give its owner another mark, or us another numbers.mark_mask", r, bits))
	}
	switch {
	case r.Priority > 0 && r.Priority < n.Priority:
		found = append(found, fmt.Sprintf("`%v` comes before our rules from %d on, so what it matches leaves by its table, not by the link that was chosen: move it, or us by numbers.priority", r, n.Priority))
	case n.ourPriority(r.Priority):
		found = append(found, fmt.Sprintf("`%v` sits among our priorities %d to %d without being ours: move it, or us by numbers.priority", r, n.Priority, n.Priority+PriorityCount-1))
	}
	if n.OwnTable(r.Table) {
		found = append(found, fmt.Sprintf("`%v` looks into a routing table of ours (%d to %d): move its owner's, or us by numbers.table", r, n.Table, n.Table+TableCount-1))
	}
	return found
}

// endpointConflicts are other people's subflow endpoints: our connections make subflows from them, past the policy.
func (r *Reconciler) endpointConflicts() (found []string, err error) {
	if r.pm == nil {
		return nil, nil
	}
	all, err := r.pm.Endpoints()
	for _, e := range all {
		if r.ours.ourEndpoint(e) {
			continue
		}
		if _, _, taken := r.ours.LinkOfEndpoint(e.ID); taken {
			found = append(found, fmt.Sprintf("mptcp endpoint %s has one of our ids (%d to %d) without being ours: give it another, or us by numbers.endpoint", endpointString(e), r.ours.EndpointID(MaxLinks-1, true), r.ours.Endpoint))
		}
		if e.Flags&mptcp.FlagSubflow != 0 {
			found = append(found, fmt.Sprintf("mptcp endpoint %s is not ours, and our connections use it whatever the policy says: if nobody needs it, `ip mptcp endpoint delete id %d`", endpointString(e), e.ID))
		}
	}
	return found, err
}
