// SPDX-License-Identifier: Apache-2.0

package luci

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/testbed/await"
	"spillway/testbed/fakeubusd"
	"spillway/testbed/netns"
	"spillway/ubus"
)

const app = "../../openwrt/luci/luci-app-spillway"

// harness serves the pages with the scripted daemon.
func harness(t *testing.T) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "u"), filepath.Join(dir, "spillway")
	bus, err := fakeubusd.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	example, err := os.ReadFile("../../openwrt/uci/testdata/spillway")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, example, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewScripted()
	published := make(chan struct{}, 1)
	go ubus.Run(ctx, socket, ubus.Options{Objects: []ubus.Object{s.Object()}, OnConnect: func(*ubus.Conn) { published <- struct{}{} }})
	await.Value(t, "the object on the bus", published)
	server, err := New(ctx, Options{App: app, Config: config, Socket: socket, Interfaces: ExampleInterfaces(), Apply: func() error { return s.Reload(config) }})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	awaitUCI(t, web.URL)
	return web.URL
}

// awaitUCI waits until the router's objects are on the bus.
func awaitUCI(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if answer := post(t, url, "admin", "uci", "get", `{"config":"spillway"}`); strings.Contains(answer, "values") {
			return
		} else if time.Now().After(deadline) {
			t.Fatal("no answer by uci: " + answer)
		}
	}
}

func post(t *testing.T, url, session, object, method, args string) string {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"call","params":["` + session + `","` + object + `","` + method + `",` + args + `]}`
	r, err := http.Post(url+"/ubus", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestBridgeKeepsTheAccessRules(t *testing.T) {
	url := harness(t)
	for _, c := range []struct{ session, object, method, args, want string }{
		{"admin", "spillway", "status", `{}`, `"result":[0,{"api":1`},
		{"viewer", "spillway", "flows", `{"offset":40,"limit":"5"}`, `"offset":40`},
		{"viewer", "spillway", "set", `{"link":"lte","role":"off"}`, `Access denied`},
		{"viewer", "uci", "set", `{"config":"spillway"}`, `Access denied`},
		{"nobody", "spillway", "status", `{}`, `Access denied`},
		{"admin", "file", "exec", `{"command":"/bin/sh"}`, `Access denied`},
		{"admin", "spillway", "set", `{"link":"lte","role":"off"}`, `"result":[0,{}]`},
		{"admin", "spillway", "set", `{"link":"lte","role":"spare"}`, `"result":[2]`},
		{"admin", "spillway", "set", `{"link":"none","role":"off"}`, `"result":[4]`},
		{"admin", "spillway", "reload", `{}`, `"result":[3]`},
	} {
		if got := post(t, url, c.session, c.object, c.method, c.args); !strings.Contains(got, c.want) {
			t.Errorf("%s %s %s: %s, want %s", c.session, c.object, c.method, got, c.want)
		}
	}
	if got := post(t, url, "admin", "spillway", "status", `{`); !strings.Contains(got, "Parse error") {
		t.Error(got)
	}
}

// TestCataloguesAreComplete compares the strings that the pages show with the template and the translations.
func TestCataloguesAreComplete(t *testing.T) {
	want := map[string]bool{}
	err := filepath.WalkDir(app, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if strings.HasSuffix(path, ".js") {
			for _, s := range calls(raw) {
				want[s] = true
			}
		}
		if strings.Contains(path, "menu.d") {
			var menu map[string]menuEntry
			if err := json.Unmarshal(raw, &menu); err != nil {
				return err
			}
			for _, e := range menu {
				want[e.Title] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"templates/spillway.pot", "de/spillway.po", "fr/spillway.po"} {
		got, err := readCatalogue(filepath.Join(app, "po", name))
		if err != nil {
			t.Error(err)
			continue
		}
		for s := range want {
			text, ok := got[s]
			if !ok {
				t.Errorf("%s lacks msgid %q", name, s)
			} else if !strings.HasPrefix(name, "templates") && text == "" {
				t.Errorf("%s: %q is not translated", name, s)
			} else if text != "" && strings.Count(text, "%") != strings.Count(s, "%") {
				t.Errorf("%s: %q and %q take different figures", name, s, text)
			}
		}
		for s := range got {
			if !want[s] {
				t.Errorf("%s: nothing shows %q", name, s)
			}
		}
	}
}

// calls lists the strings of _('...') in a source.
func calls(source []byte) (found []string) {
	for {
		i := bytes.Index(source, []byte("_('"))
		if i < 0 {
			return found
		}
		source = source[i+3:]
		end := bytes.IndexByte(source, '\'')
		found = append(found, string(source[:end]))
	}
}

// TestPagesInChromium drives the pages with a real browser and leaves pictures of them in build/screens.
func TestPagesInChromium(t *testing.T) {
	b := findBrowser(t)
	b.run(t, harness(t), "")
}

// node is a command that runs a script on a harness, without a browser.
func node(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		netns.Missing(t, "needs node (Debian package nodejs)")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "URL="+harness(t))
	return cmd
}

// TestAnswersReachThePages needs no browser, only node.
func TestAnswersReachThePages(t *testing.T) {
	if out, err := node(t, "--test", "--test-reporter=spec", "api.test.mjs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// browser is what drives pages: node, and the Chromium that it drives.
type browser struct{ node, chromium string }

// findBrowser skips the test, by name, where there is none.
func findBrowser(t *testing.T) browser {
	t.Helper()
	if testing.Short() {
		t.Skip("drives a browser: not run with -short")
	}
	var b browser
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			b.chromium = path
			break
		}
	}
	var errNode error
	b.node, errNode = exec.LookPath("node")
	npm, errNPM := exec.LookPath("npm")
	if b.chromium == "" || errNode != nil || errNPM != nil {
		netns.Missing(t, "needs chromium, node and npm (Debian packages chromium, nodejs, npm)")
	}
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		if out, err := exec.Command(npm, "ci", "--ignore-scripts").CombinedOutput(); err != nil {
			netns.Missing(t, "npm ci in testbed/luci: "+err.Error()+"\n"+string(out))
		}
	}
	return b
}

// run runs browser.test.mjs against a harness; pictures go to a folder below build/screens.
func (b browser) run(t *testing.T, url, folder string, env ...string) {
	t.Helper()
	screens, err := filepath.Abs(filepath.Join("../../build/screens", folder))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(screens, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(b.node, "--test", "--test-reporter=spec", "browser.test.mjs")
	cmd.Env = append(append(os.Environ(), "URL="+url, "SCREENS="+screens, "CHROMIUM="+b.chromium), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("pictures are in %s", screens)
}
