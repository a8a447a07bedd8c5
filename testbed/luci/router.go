// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"spillway/openwrt/uci"
	"spillway/testbed/openwrt"
	"spillway/ubus"
)

// The objects of a router that the pages ask beside the daemon's own.

func netifdObject(interfaces []ubus.Msg) ubus.Object {
	return ubus.Object{Name: "network.interface", Methods: []ubus.Method{{Name: "dump", Handle: func(ubus.Msg) (any, ubus.Status) {
		return ubus.Msg{{Name: "interface", Value: interfaces}}, ubus.OK
	}}}}
}

// store is rpcd's object `uci` for one file. Changes are staged until apply, as in rpcd's sessions.
type store struct {
	path  string
	apply func() error

	mu       sync.Mutex
	sections []*uci.Section
	staged   bool
	fresh    int
}

func (s *store) object() ubus.Object {
	locked := func(fn func(args ubus.Msg) (any, ubus.Status)) func(ubus.Msg) (any, ubus.Status) {
		return func(args ubus.Msg) (any, ubus.Status) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.staged {
				raw, err := os.ReadFile(s.path)
				if err != nil {
					return nil, ubus.NotFound
				}
				if s.sections, err = uci.Parse(string(raw)); err != nil {
					return nil, ubus.UnknownError
				}
				s.fresh = 0 // the same names at each reading, as long as the file is the same
				s.nameAnonymous()
			}
			return fn(args)
		}
	}
	return ubus.Object{Name: "uci", Methods: []ubus.Method{
		{Name: "get", Handle: locked(s.get)}, {Name: "set", Handle: locked(s.set)}, {Name: "add", Handle: locked(s.add)},
		{Name: "delete", Handle: locked(s.remove)}, {Name: "order", Handle: locked(s.order)}, {Name: "apply", Handle: locked(s.commit)},
	}}
}

// nameAnonymous gives sections without a name one of the kind that libuci makes up.
func (s *store) nameAnonymous() {
	for _, sec := range s.sections {
		if sec.Name == "" {
			s.fresh++
			sec.Name = fmt.Sprintf("cfg%06x", s.fresh)
		}
	}
}

func (s *store) find(name string) *uci.Section {
	for _, sec := range s.sections {
		if sec.Name == name {
			return sec
		}
	}
	return nil
}

func (s *store) get(ubus.Msg) (any, ubus.Status) {
	values := ubus.Msg{}
	for i, sec := range s.sections {
		m := ubus.Msg{{Name: ".anonymous", Value: strings.HasPrefix(sec.Name, "cfg")}, {Name: ".type", Value: sec.Type}, {Name: ".name", Value: sec.Name}, {Name: ".index", Value: i}}
		for _, o := range sec.Options {
			if o.List {
				m = append(m, ubus.Field{Name: o.Name, Value: o.Values})
			} else {
				m = append(m, ubus.Field{Name: o.Name, Value: o.Values[0]})
			}
		}
		values = append(values, ubus.Field{Name: sec.Name, Value: m})
	}
	return ubus.Msg{{Name: "values", Value: values}}, ubus.OK
}

func (s *store) set(args ubus.Msg) (any, ubus.Status) {
	sec := s.find(args.Text("section"))
	if sec == nil {
		return nil, ubus.NotFound
	}
	s.staged = true
	for _, f := range args.Table("values") {
		o := uci.Option{Name: f.Name}
		switch v := f.Value.(type) {
		case []any:
			o.List = true
			for _, item := range v {
				o.Values = append(o.Values, fmt.Sprint(item))
			}
		default:
			o.Values = []string{fmt.Sprint(v)}
		}
		drop(sec, f.Name)
		sec.Options = append(sec.Options, o)
	}
	return nil, ubus.OK
}

func drop(sec *uci.Section, option string) {
	for i := range sec.Options {
		if sec.Options[i].Name == option {
			sec.Options = append(sec.Options[:i], sec.Options[i+1:]...)
			return
		}
	}
}

func (s *store) add(args ubus.Msg) (any, ubus.Status) {
	if s.find(args.Text("name")) != nil || args.Text("type") == "" {
		return nil, ubus.InvalidArgument
	}
	s.staged = true
	s.sections = append(s.sections, &uci.Section{Type: args.Text("type"), Name: args.Text("name")})
	s.nameAnonymous()
	return ubus.Msg{{Name: "section", Value: s.sections[len(s.sections)-1].Name}}, ubus.OK
}

func (s *store) remove(args ubus.Msg) (any, ubus.Status) {
	sec := s.find(args.Text("section"))
	if sec == nil {
		return nil, ubus.NotFound
	}
	s.staged = true
	if o := args.Text("option"); o != "" {
		drop(sec, o)
		return nil, ubus.OK
	}
	for i := range s.sections {
		if s.sections[i] == sec {
			s.sections = append(s.sections[:i], s.sections[i+1:]...)
			break
		}
	}
	return nil, ubus.OK
}

func (s *store) order(args ubus.Msg) (any, ubus.Status) {
	s.staged = true
	var first []*uci.Section
	for _, name := range args.List("sections") {
		if sec := s.find(fmt.Sprint(name)); sec != nil {
			first = append(first, sec)
		}
	}
	for _, sec := range s.sections {
		if !contains(first, sec) {
			first = append(first, sec)
		}
	}
	s.sections = first
	return nil, ubus.OK
}

func contains(list []*uci.Section, s *uci.Section) bool {
	for _, o := range list {
		if o == s {
			return true
		}
	}
	return false
}

// commit writes the file and does what procd's trigger would.
func (s *store) commit(ubus.Msg) (any, ubus.Status) {
	if !s.staged {
		return nil, ubus.NoData
	}
	s.staged = false
	if err := os.WriteFile(s.path, []byte(openwrt.Text(s.sections)), 0o600); err != nil {
		return nil, ubus.SystemError
	}
	if s.apply != nil {
		if err := s.apply(); err != nil {
			return nil, ubus.UnknownError
		}
	}
	return nil, ubus.OK
}

// ExampleInterfaces is what netifd tells of a router with DSL and LTE.
func ExampleInterfaces() []ubus.Msg {
	one := func(name, device, proto string) ubus.Msg {
		return ubus.Msg{{Name: "interface", Value: name}, {Name: "up", Value: true}, {Name: "l3_device", Value: device}, {Name: "device", Value: device}, {Name: "proto", Value: proto}}
	}
	return []ubus.Msg{one("lan", "br-lan", "static"), one("guest", "br-guest", "static"), one("wan", "pppoe-wan", "pppoe"), one("wwan", "wwan0", "qmi")}
}
