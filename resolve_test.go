// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"spillway/config"
)

func TestResolve(t *testing.T) {
	ask := lookup{
		ip: func(_ context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "a.example.net":
				return []netip.Addr{netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("192.0.2.2")}, nil
			case "b.example.net":
				return []netip.Addr{netip.MustParseAddr("192.0.2.3")}, nil
			}
			return nil, errors.New("no such host")
		},
		srv: func(_ context.Context, name string) ([]*net.SRV, error) {
			if name != "_convert._tcp.example.net" {
				return nil, errors.New("no such host")
			}
			return []*net.SRV{{Target: "b.example.net.", Port: 7000}, {Target: "gone.example.net.", Port: 1}, {Target: "a.example.net.", Port: 7001}}, nil
		},
	}
	tests := []struct {
		address string
		want    []string // nil: an error
	}{
		{"192.0.2.1", []string{"192.0.2.1:5124"}},
		{"::ffff:192.0.2.1", []string{"192.0.2.1:5124"}},
		{"a.example.net", []string{"192.0.2.2:5124", "[2001:db8::2]:5124"}},
		{"_convert._tcp.example.net", []string{"192.0.2.3:7000", "192.0.2.2:7001", "[2001:db8::2]:7001"}},
		{"x.example.net", nil},
		{"_convert._tcp.x.net", nil},
	}
	for _, tt := range tests {
		got, err := resolve(context.Background(), config.Concentrator{Address: tt.address, Port: 5124}, ask)
		if (err != nil) != (tt.want == nil) {
			t.Errorf("%s: error %v", tt.address, err)
		}
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if err == nil && !slices.Equal(text, tt.want) {
			t.Errorf("%s: %v, want %v", tt.address, text, tt.want)
		}
	}
}
