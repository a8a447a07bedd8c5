// SPDX-License-Identifier: Apache-2.0

package load

import (
	"net"
	"testing"
	"time"
)

func TestDemands(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) // after the parallel ones
	go Serve(l)
	for name, d := range map[string]Demand{
		"bulk":        {Flows: 2},
		"paced":       {Flows: 2, Rate: 2e6},
		"upload":      {Flows: 2, Upload: true},
		"small":       {Flows: 1, Rate: 1e6, Ask: 2, Mixed: true},
		"connections": {Parallel: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d.To, d.For = l.Addr().String(), time.Second
			if d.Ask > 0 {
				d.Other = d.To
			}
			var marks []string
			r := Run(t.Context(), d, func(m string) { marks = append(marks, m) })
			if r.Failed != 0 || r.Error != "" {
				t.Errorf("%d failed: %s", r.Failed, r.Error)
			}
			if len(marks) != 2 || marks[0] != "begin" || marks[1] != "end" {
				t.Errorf("marks %q", marks)
			}
			if d.Flows > 0 && r.Octets == 0 || d.Parallel > 0 && r.Connections == 0 || d.Ask > 0 && (r.Ask.N == 0 || r.Other.N == 0) {
				t.Errorf("nothing was measured: %+v", r)
			}
		})
	}
}
