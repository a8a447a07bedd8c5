// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"spillway/json"
	"spillway/mptcp"
)

// before is what sysctls and limits were before us. It is written down before the first change, so that whoever stops
// us, and however often we were killed in between, finds it.
type before struct {
	Boot    string            `json:"boot"` // of which boot of the machine this is true
	Sysctls map[string]string `json:"sysctls,omitempty"`
	Limits  *mptcp.Limits     `json:"limits,omitempty"`
	Numbers Numbers           `json:"numbers,omitzero"` // under which things of ours are in the kernel; zero: Usual
}

func (b before) empty() bool { return len(b.Sysctls) == 0 && b.Limits == nil && b.Numbers == Numbers{} }

// settle adds to what is asked for what is no longer asked for and must go back to what it was.
func (b before) settle(asked map[string]string, limits mptcp.Limits) (map[string]string, mptcp.Limits) {
	all := map[string]string{}
	maps.Copy(all, b.Sysctls)
	maps.Copy(all, asked)
	if limits == (mptcp.Limits{}) && b.Limits != nil {
		limits = *b.Limits
	}
	return all, limits
}

// evict takes away what a process before us, killed or succeeded, has left under other numbers than ours. Not before the first Apply: it may live
// until then, and be told to hand over, or be the reason why we end at once.
func (r *Reconciler) evict() error {
	left, ours := r.before.Numbers, r.ours
	if left == (Numbers{}) {
		left = Usual()
	}
	if left == ours {
		return nil
	}
	r.ours = left
	_, err := r.apply(context.Background(), nothing)
	r.ours = ours
	return err
}

// remember keeps what op is about to change for the first time.
func (r *Reconciler) remember(op Op, have State) {
	if r.before.Numbers == (Numbers{}) && r.ours != Usual() {
		r.before.Numbers, r.dirty = r.ours, true
	}
	switch op.Kind {
	case SetSysctl:
		value, ok := have.Sysctls[op.Key]
		if _, known := r.before.Sysctls[op.Key]; known || !ok {
			return
		}
		if r.before.Sysctls == nil {
			r.before.Sysctls = map[string]string{}
		}
		r.before.Sysctls[op.Key] = value
		r.dirty = true
	case SetLimits:
		if r.before.Limits == nil {
			r.before.Limits, r.dirty = &have.Limits, true
		}
	}
}

// forget drops what is not asked for any more and was restored, or can't be because it has gone.
func (r *Reconciler) forget(asked State) {
	for key, value := range r.before.Sysctls {
		now, err := readSysctl(key)
		if _, ok := asked.Sysctls[key]; !ok && (err != nil || now == value) {
			delete(r.before.Sysctls, key)
			r.dirty = true
		}
	}
	if asked.Limits == (mptcp.Limits{}) && r.before.Limits != nil && r.pm != nil {
		if now, err := r.pm.Limits(); err == nil && now == *r.before.Limits {
			r.before.Limits, r.dirty = nil, true
		}
	}
	if r.before.Numbers != (Numbers{}) && asked.equal(State{}) {
		r.before.Numbers, r.dirty = Numbers{}, true
	}
}

// ErrUnsaved: what the kernel held before us is not in its file.
var ErrUnsaved = errors.New("sysctls would not be restored after a crash")

// save writes before to the file when it changed, or when that failed the last time.
func (r *Reconciler) save() error {
	if !r.dirty {
		return nil
	}
	if err := r.saved.store(r.before); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsaved, err)
	}
	r.dirty = false
	return nil
}

// savedFile is the path of the file that keeps a before.
type savedFile string

// load reads the file; none, or one from before the last boot, is an empty before: sysctls do not outlive a boot.
func (f savedFile) load() (before, error) {
	boot := bootID()
	raw, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return before{Boot: boot}, nil
	}
	if err != nil {
		return before{Boot: boot}, err
	}
	var b before
	if err := json.Decode(raw, &b); err != nil {
		return before{Boot: boot}, fmt.Errorf("%s: %w", f, err)
	}
	if b.Boot != boot {
		return before{Boot: boot}, nil
	}
	for key := range b.Sysctls {
		if checkSysctl(key) != nil {
			delete(b.Sysctls, key)
		}
	}
	return b, nil
}

// store replaces the file in one step; an empty before removes it.
func (f savedFile) store(b before) error {
	if b.empty() {
		return except(os.Remove(string(f)), fs.ErrNotExist)
	}
	raw, err := json.Encode(b)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(string(f)), filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(raw, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), string(f))
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
