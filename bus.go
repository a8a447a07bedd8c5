// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"spillway/config"
	"spillway/json"
	"spillway/linkmon"
	"spillway/ubus"
	"spillway/ubus/netifd"
)

// objectName is the name on the bus; its methods are those of the control socket.
const objectName = "spillway"

// busMethods are the object's methods with what they take.
var busMethods = []ubus.Method{
	{Name: "status"}, {Name: "links"}, {Name: "why"}, {Name: "reload"}, {Name: "doctor"},
	{Name: "flows", Args: []ubus.Arg{{Name: "offset", Type: ubus.TypeInt32}, {Name: "limit", Type: ubus.TypeInt32}}},
	{Name: "set", Args: []ubus.Arg{{Name: "link", Type: ubus.TypeString}, {Name: "role", Type: ubus.TypeString}}},
}

// busArgs picks the documented arguments of a call and makes them what the methods decode; others (uhttpd adds its session) are ignored.
func busArgs(m *ubus.Method, args ubus.Msg) json.Raw {
	known := map[string]any{}
	for _, a := range m.Args {
		if !args.Has(a.Name) {
			continue
		}
		if a.Type == ubus.TypeString {
			known[a.Name] = args.Text(a.Name)
		} else if n, ok := args.Int(a.Name); ok {
			known[a.Name] = n
		}
	}
	out, _ := json.Encode(known) // of strings and integers: can't fail
	return out
}

// busObject publishes the methods.
func (h *house) busObject(ctx context.Context) ubus.Object {
	o := ubus.Object{Name: objectName}
	for _, m := range busMethods {
		m.Handle = func(args ubus.Msg) (any, ubus.Status) {
			result, err := h.handle(ctx, m.Name, busArgs(&m, args))
			if err != nil {
				h.log.Debug("ubus call", "method", m.Name, "error", err)
				return map[string]any{"error": err.Error()}, ubus.InvalidArgument
			}
			return busMsg(result)
		}
		o.Methods = append(o.Methods, m)
	}
	return o
}

// busMsg is a result as the bus carries it: the same JSON as on the control socket.
func busMsg(result any) (any, ubus.Status) {
	text, err := json.Encode(result)
	if err != nil {
		return nil, ubus.UnknownError
	}
	m, err := ubus.FromJSON(text)
	if err != nil {
		return nil, ubus.UnknownError
	}
	return m, ubus.OK
}

// lineEvery is how often the DSL modem is asked for its rates, which it never tells by itself.
const lineEvery = time.Minute

// busEvery is how often ubusd's socket is looked for where there is none: as often as the kernel's state is compared, so that nothing wakes
// for it alone.
const busEvery = applyEvery

// awaitBus waits until something is at ubusd's path, or a link needs it there. On OpenWrt ubusd may start late, elsewhere it never comes.
func (h *house) awaitBus(ctx context.Context, path string, every time.Duration) {
	for !h.currentConfig().NeedsNetifd() {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(linkmon.Beat(time.Now(), every)):
		}
	}
}

// bus is the task that speaks over ubus, where there is one.
func (h *house) bus(ctx context.Context) error {
	path := h.currentConfig().Daemon.Ubus
	switch path {
	case "off":
		return nil
	case "auto":
		path = ubus.Socket
		h.awaitBus(ctx, path, busEvery)
	}
	watcher := netifd.Watch(func(s netifd.State) { h.netifd(ctx, s) })
	b := ubus.New(path, ubus.Options{
		Objects: []ubus.Object{h.busObject(ctx)}, Subscriptions: []ubus.Subscription{watcher.Subscription()}, Log: h.log.With("room", "ubus"),
	})
	tells := make(chan event, historyLength)
	if err := h.call(ctx, func() {
		h.tell = func(e event) {
			select {
			case tells <- e:
			default: // the bus is slower than the links flap; `why` has them all
			}
		}
	}); err != nil {
		return nil
	}
	go func() {
		line := time.NewTicker(lineEvery)
		defer line.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-line.C:
				watcher.Refresh()
			case e := <-tells:
				h.tellBus(b, e)
			}
		}
	}()
	return b.Run(ctx)
}

// tellBus sends an event to all who listen, and to the object's subscribers. Without a bus nobody hears.
func (h *house) tellBus(b *ubus.Bus, e event) {
	data, status := busMsg(e.data)
	if status != ubus.OK {
		return
	}
	for _, err := range []error{b.Send(objectName+"."+e.kind, data), b.Notify(objectName, e.kind, data)} {
		if err != nil {
			h.log.Debug("ubus event", "error", err)
		}
	}
}

// netifd takes what netifd and the DSL modem said: the links' devices and the line's rates.
func (h *house) netifd(ctx context.Context, s netifd.State) {
	h.call(ctx, func() { h.adoptNetifd(s) })
}

// adoptNetifd keeps it for a reload: netifd tells of changes alone.
func (h *house) adoptNetifd(s netifd.State) {
	h.network = s
	if h.tellRoles() {
		h.machine.Reconfigure(policyConfig(h.cfg, s))
	}
	h.setModems()
	names := devicesOf(h.cfg.Links, s)
	for i, l := range h.cfg.Links {
		if names[i] == "" && s.Device(l.Interface) != "" && !slices.Equal(names, h.names) {
			h.log.Warn("a link is left out, as another one has its device", "link", l.Name, "interface", l.Interface, "device", s.Device(l.Interface))
		}
	}
	h.adoptDevices(names)
}

// tellRoles logs the roles that netifd's word decides, where that is news, and returns whether any is.
func (h *house) tellRoles() (news bool) {
	links, why := roled(h.cfg.Links, h.network)
	told := make(map[string]string, len(links))
	for i, l := range links {
		told[l.Name] = why[i]
		if why[i] != h.roleWhy[l.Name] {
			news = true
			h.log.Info("a link's role", "link", l.Name, "role", l.Role, "why", or(why[i], "as configured"))
		}
	}
	h.roleWhy = told
	return news
}

// setModems tells the learners what the modem says of its line: that of the link that is DSL by netifd's word, else of the one primary.
func (h *house) setModems() {
	dsl := func(l config.Link) bool {
		found, ok := h.network.Find(l.Interface)
		return ok && found.Kind == netifd.DSL
	}
	links, _ := roled(h.cfg.Links, h.network)
	told := slices.ContainsFunc(links, dsl)
	for i, l := range links {
		h.senses[i].down.Modem, h.senses[i].up.Modem = 0, 0
		if dsl(l) || !told && l.Role == "primary" && onlyPrimary(links) {
			h.senses[i].down.Modem, h.senses[i].up.Modem = float64(h.network.Line.DownBit), float64(h.network.Line.UpBit)
		}
	}
}

// devicesOf are the links' devices: as configured, or as netifd names them. A second link with the same one gets none.
func devicesOf(links []config.Link, said netifd.State) []string {
	names, taken := make([]string, len(links)), map[string]bool{}
	for i, l := range links {
		names[i], taken[l.Device] = l.Device, true
	}
	for i, l := range links {
		if device := said.Device(l.Interface); l.Device == "" && !taken[device] {
			names[i], taken[device] = device, true
		}
	}
	return names
}
