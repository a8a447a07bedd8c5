// SPDX-License-Identifier: Apache-2.0

// Package luci serves Spillway's LuCI pages without a router: a stand-in for LuCI's runtime (page/), a bridge from
// JSON-RPC to a real bus as uhttpd and rpcd make it, access rules included, and the bus objects `uci`
// and `network.interface` that the pages ask. The object `spillway` is the daemon's, or, where a test
// needs no daemon, Scripted's.
package luci

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"spillway/ubus"
)

//go:embed page
var page embed.FS

// Options says what is served.
type Options struct {
	App    string // the folder luci-app-spillway
	Config string // the UCI file /etc/config/spillway stands for
	Socket string // ubusd's
	// Apply is called when a page's changes were written to Config.
	Apply func() error
	// Interfaces is what netifd would dump.
	Interfaces []ubus.Msg
}

// Server serves pages and bridges calls.
type Server struct {
	options Options
	bus     *ubus.Bus
	rules   map[string]map[string][]string // "read" and "write" -> object -> methods
	mux     *http.ServeMux
}

// New connects to the bus, publishes the router's objects there and returns what serves the pages.
func New(ctx context.Context, o Options) (*Server, error) {
	rules, err := loadRules(filepath.Join(o.App, "root/usr/share/rpcd/acl.d/luci-app-spillway.json"))
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, rules: rules, mux: http.NewServeMux()}
	conf := &store{path: o.Config, apply: o.Apply}
	s.bus = ubus.New(o.Socket, ubus.Options{})
	router := ubus.New(o.Socket, ubus.Options{Objects: []ubus.Object{conf.object(), netifdObject(o.Interfaces)}})
	go s.bus.Run(ctx)
	go router.Run(ctx)
	resources := http.FileServer(http.Dir(filepath.Join(o.App, "htdocs")))
	s.mux.Handle("/luci-static/", resources)
	for path, file := range map[string]string{"/luci-static/resources/form.js": "form.js", "/luci-static/resources/tools/widgets.js": "widgets.js",
		"/harness/runtime.js": "runtime.js", "/harness/start.js": "start.js", "/harness/theme.css": "theme.css"} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, page, "page/"+file) })
	}
	s.mux.HandleFunc("POST /ubus", s.rpc)
	s.mux.HandleFunc("/cgi-bin/luci/", s.html)
	s.mux.Handle("/{$}", http.RedirectHandler("/cgi-bin/luci/admin/network/spillway/status", http.StatusFound))
	return s, nil
}

// ServeHTTP sends no page that could load anything from elsewhere: the browser itself refuses.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self' data: 'unsafe-inline' 'unsafe-eval'")
	w.Header().Set("Cache-Control", "no-store")
	s.mux.ServeHTTP(w, r)
}

// menuEntry is an entry of LuCI's menu.d.
type menuEntry struct {
	Title  string
	Order  int
	Action struct{ Type, Path string }
}

// html serves the frame of a page; its address says which view, ?theme=dark, ?lang=de and ?session=viewer how.
func (s *Server) html(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/cgi-bin/luci/"), "/")
	menu, err := s.menu()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	entry, ok := menu[path]
	if !ok && path != "admin/status/overview" || ok && entry.Action.Type != "view" {
		http.NotFound(w, r)
		return
	}
	q := r.URL.Query()
	session := q.Get("session")
	if session == "" {
		session = "admin"
	}
	catalogue, err := readCatalogue(filepath.Join(s.options.App, "po", filepath.Base(q.Get("lang")), "spillway.po"))
	if err != nil && q.Get("lang") != "" {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	includes, _ := filepath.Glob(filepath.Join(s.options.App, "htdocs/luci-static/resources/view/status/include/*.js"))
	for i := range includes {
		includes[i] = strings.TrimSuffix(filepath.Base(includes[i]), ".js")
	}
	env, _ := json.Marshal(map[string]any{"view": entry.Action.Path, "resource": "/luci-static/resources", "ubuspath": "/ubus", "sessionid": session,
		"writable": session == "admin", "catalogue": catalogue, "includes": includes})
	dark := ""
	if q.Get("theme") == "dark" {
		dark = ` data-darkmode="true"`
	}
	lang := "en"
	if l := q.Get("lang"); l != "" { // there is a catalogue of that name
		lang = filepath.Base(l)
	}
	frame, _ := page.ReadFile("page/index.html")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, strings.NewReplacer("{{DARK}}", dark, "{{LANG}}", lang, "{{ENV}}", string(env), "{{MENU}}", links(menu, path, r.URL.RawQuery, catalogue)).Replace(string(frame)))
}

func (s *Server) menu() (map[string]menuEntry, error) {
	raw, err := os.ReadFile(filepath.Join(s.options.App, "root/usr/share/luci/menu.d/luci-app-spillway.json"))
	if err != nil {
		return nil, err
	}
	var menu map[string]menuEntry
	return menu, json.Unmarshal(raw, &menu)
}

// links writes the menu: the views in their order, and the Overview page.
func links(menu map[string]menuEntry, now, query string, catalogue map[string]string) string {
	var paths []string
	for path, e := range menu {
		if e.Action.Type == "view" {
			paths = append(paths, path)
		}
	}
	sort.Slice(paths, func(i, j int) bool { return menu[paths[i]].Order < menu[paths[j]].Order })
	var b strings.Builder
	for _, path := range append([]string{"admin/status/overview"}, paths...) {
		title, class := menu[path].Title, ""
		if title == "" {
			title = "Overview"
		}
		if t := catalogue[title]; t != "" {
			title = t
		}
		if path == now {
			class = ` class="active"`
		}
		fmt.Fprintf(&b, `<a href="/cgi-bin/luci/%s?%s"%s>%s</a> `, path, query, class, title)
	}
	return b.String()
}
