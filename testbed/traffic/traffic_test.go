// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/testbed/await"
)

func TestStreamIsCheckedAtAnyPosition(t *testing.T) {
	whole := make([]byte, 1000)
	Fill(whole, 42, 0)
	for _, off := range []int{0, 1, 7, 8, 9, 500} {
		part := make([]byte, 77)
		Fill(part, 42, int64(off))
		if string(part) != string(whole[off:off+77]) {
			t.Errorf("part at %d differs from the whole", off)
		}
		if bad := Check(part, 42, int64(off)); bad != -1 {
			t.Errorf("part at %d: octet %d called wrong", off, bad)
		}
		for _, at := range []int{0, 33, 76} {
			part[at] ^= 1
			if bad := Check(part, 42, int64(off)); bad != at {
				t.Errorf("part at %d: wrong octet %d found at %d", off, at, bad)
			}
			part[at] ^= 1
		}
	}
	if Check(whole, 43, 0) == -1 || Check(whole, 42, 8) == -1 {
		t.Error("another stream or another position passes")
	}
}

func server(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); await.Value(t, "the server's end", done) })
	return l.Addr().String()
}

func TestDemands(t *testing.T) {
	to := server(t)
	for name, d := range map[string]Demand{
		"get":         {Kind: Get, Connections: 3, Octets: 300_001},
		"put":         {Kind: Put, Connections: 3, Octets: 300_001},
		"paced":       {Kind: Get, Octets: 20_000, Mbit: 2},
		"web":         {Kind: Web, Connections: 20, Parallel: 4, Octets: 5000},
		"kept":        {Kind: Web, Connections: 20, Parallel: 4, Octets: 5000, Keep: true},
		"ask":         {Kind: Ask, Connections: 10, Octets: 200},
		"many opened": {Kind: Get, Connections: 200, Octets: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			d.To = to
			r := Run(t.Context(), d)
			if r.Failed != 0 || r.Bad != 0 || r.Connections != max(1, d.Connections) {
				t.Errorf("%d of %d failed, %d bad: %v", r.Failed, r.Connections, r.Bad, r.Errors)
			}
			if want := d.Octets * int64(max(1, d.Connections)); r.Octets != want {
				t.Errorf("%d octets, want %d", r.Octets, want)
			}
			if d.Kind != Ask && r.Connections <= 64 {
				var sum int64
				for _, n := range r.Series.Octets {
					sum += n
				}
				if sum != r.Octets {
					t.Errorf("the series has %d octets of %d", sum, r.Octets)
				}
			}
		})
	}
}

func TestDemandsByTimeEnd(t *testing.T) {
	to := server(t)
	for _, kind := range []Kind{Get, Put} {
		r := Run(t.Context(), Demand{Kind: kind, To: to, For: 100 * time.Millisecond, Mbit: 10})
		if r.Failed != 0 || r.Bad != 0 || r.Octets == 0 {
			t.Errorf("%s: %+v", kind, r)
		}
		if r.Octets > 10e6/8*5 {
			t.Errorf("%s: %d octets at 10 Mbit/s in a tenth of a second", kind, r.Octets)
		}
	}
}

func TestAWrongOctetIsFound(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 10_000)
		Fill(b, 1, 0)
		b[7777]++
		c.Write(b)
		c.Close()
	}()
	if r := Run(t.Context(), Demand{Kind: Get, To: l.Addr().String(), Octets: 10_000}); r.Bad != 1 {
		t.Errorf("%+v", r)
	}
}

func TestARefusedConnectionIsAFailure(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r := Run(t.Context(), Demand{Kind: Get, To: l.Addr().String(), Octets: 1})
	if r.Failed != 1 || len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "refused (begun at ") {
		t.Errorf("%+v", r)
	}
}

func TestSlowestAreTold(t *testing.T) {
	reports := []Report{{Done: 3, Course: "c"}, {Done: 9, Course: "a"}, {Done: 20, Course: "failed", Error: "reset"}, {Done: 5, Course: "b"}}
	if got := summary(time.Now(), reports).Slowest; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("the slowest are %q", got)
	}
}

func TestSeriesAddUp(t *testing.T) {
	at := time.Unix(1000, 0)
	var a, b Series
	a.Add(at.Add(Step), 1000)
	a.Add(at.Add(3*Step), 1000)
	b.Add(at, 500)
	a.Merge(b)
	if len(a.Octets) != 4 || a.Octets[0] != 500 || a.Octets[1] != 1000 || a.Octets[3] != 1000 {
		t.Errorf("%+v", a)
	}
	if got, want := a.Mbit(at, at.Add(4*Step)), 2500.0*8/0.2/1e6; got != want {
		t.Errorf("rate %v, want %v", got, want)
	}
}

func TestFilesGoBothWays(t *testing.T) {
	dir := t.TempDir()
	s := httptest.NewServer(Files(dir))
	defer s.Close()
	req, _ := http.NewRequest(http.MethodPut, s.URL+"/up", strings.NewReader("payload"))
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "up")); err != nil || string(b) != "payload" {
		t.Errorf("stored %q, %v", b, err)
	}
}
