// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"spillway/concentrator"
)

// options are the command line.
type options struct {
	config                  concentrator.Config
	stats                   string
	level                   slog.Level
	version, check, prepare bool
}

const usage = `Usage: spillway-concentrator -allow-clients PREFIX,... [options]

The far end of bonded household lines: accepts Multipath TCP connections that begin with an RFC 8803 (Convert)
message, connects to the server it names, and copies both ways. Give it a host with a public address.

  spillway-concentrator -allow-clients 198.51.100.0/24,2001:db8:77::/48

Several values are separated by commas, or the option is given again. Signals: TERM or INT stops accepting and lets
connections finish (a second one ends at once), USR1 logs the counters. Exit codes: 0 done, 1 failed, 2 wrong usage.

`

// parseArgs reads the command line. -help is answered on help, with flag.ErrHelp.
func parseArgs(args []string, help io.Writer) (options, error) {
	var o options
	c := &o.config
	var secretFile, tokenFile string
	f := flag.NewFlagSet("spillway-concentrator", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Func("listen", "`ADDRESS:PORT` to listen on; [::]:5124 takes IPv4 too (default [::]:5124)", list(&c.Listen, parseListen))
	f.Func("allow-clients", "`PREFIX`es whose hosts may connect; 0.0.0.0/0,::/0 is everybody and needs a firewall or a token", list(&c.AllowClients, parsePrefix))
	f.Func("allow-destinations", "`PREFIX`es to open that are closed by default: loopback, private, link-local, metadata services, this host itself", list(&c.AllowDestinations, parsePrefix))
	f.Func("deny-destinations", "`PREFIX`es to close; stronger than -allow-destinations", list(&c.DenyDestinations, parsePrefix))
	f.StringVar(&secretFile, "cookie-secret", "", "ask clients for a cookie, made with the secret in `FILE` (16 octets or more): shows that an address is not spoofed")
	f.DurationVar(&c.CookieLife, "cookie-life", 0, "change the cookies' key after this `time`; the last one stays good as long again (default 24h)")
	f.StringVar(&tokenFile, "token", "", "clients must send the word in `FILE` as their cookie; it travels in clear. Not with -cookie-secret; without -allow-clients everybody may try")
	f.IntVar(&c.MaxSessions, "max-sessions", 0, "`connections` at once (default 20000)")
	f.IntVar(&c.ClientPrefix, "client-prefix", 0, "`bits` of an IPv6 address that stand for one client: what a household is given (default 64)")
	f.IntVar(&c.MaxPerClient, "max-per-client", 0, "`connections` at once for one client, an IPv4 address or IPv6 prefix; in any case four times as many as are free (default as -max-sessions)")
	f.IntVar(&c.MaxPending, "max-pending", 0, "`connections` of one client that wait for a message or a server (default 8192)")
	f.IntVar(&c.ErrorRate, "error-rate", 0, "`errors` a second told to one client, but for those of destinations; above, it is reset (default 100)")
	f.DurationVar(&c.RetryAfter, "retry-after", 0, "`time` that a client is asked to stay away when limits are reached, 1s to 255s (default 5s)")
	f.DurationVar(&c.DialTimeout, "dial-timeout", 0, "`time` for a server to accept (default 75s)")
	f.DurationVar(&c.IdleTimeout, "idle-timeout", 0, "end connections in which nothing moved for this `time`, at least 2h4m (default 3h)")
	f.DurationVar(&c.WarmTimeout, "warm-timeout", 0, "`time` that a client may keep a connection ready before its message (default 10m)")
	f.DurationVar(&c.StopTimeout, "stop-timeout", 0, "`time` for connections to finish when stopping (default 30s)")
	f.StringVar(&o.stats, "stats", "", "serve the counters as Prometheus text at http://`ADDRESS:PORT`/metrics; keep it private")
	f.TextVar(&o.level, "log", slog.LevelInfo, "`level`: debug (a line for each refusal), info, warn or error")
	f.BoolVar(&o.check, "check", false, "check the options and exit")
	f.BoolVar(&o.prepare, "prepare", false, "make the kernel settings and exit: the part that needs root")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	err := f.Parse(args)
	if err == flag.ErrHelp {
		fmt.Fprint(help, usage)
		f.SetOutput(help)
		f.PrintDefaults()
		return o, err
	}
	if err != nil {
		return o, fmt.Errorf("%w%s", err, hint(err.Error()))
	}
	f.Visit(func(g *flag.Flag) {
		if v := g.Value.String(); v == "0" || v == "0s" {
			err = fmt.Errorf("-%s %s: nothing would work; leave the option out for its default", g.Name, v)
		}
	})
	if err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("argument %q is not an option", f.Arg(0))
	}
	if len(c.Listen) == 0 {
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("[::]:5124")}
	}
	if c.CookieSecret, err = secret("-cookie-secret", secretFile); err != nil {
		return o, err
	}
	c.Token, err = secret("-token", tokenFile)
	return o, err
}

// hint says how a value is written that package flag could not read.
func hint(complaint string) string {
	switch {
	case strings.Contains(complaint, "flag -log:"):
		return "; write debug, info, warn or error"
	case strings.HasSuffix(complaint, "parse error"):
		return "; write a whole number, and of a time its unit, as in 75s, 10m, 3h"
	}
	return ""
}

// list makes a flag that takes comma-separated values and may be repeated.
func list[T any](to *[]T, parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		for item := range strings.SplitSeq(s, ",") {
			v, err := parse(strings.TrimSpace(item))
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	}
}

func parseListen(s string) (netip.AddrPort, error) {
	if strings.HasPrefix(s, ":") {
		s = "[::]" + s
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return at, fmt.Errorf("%q is not ADDRESS:PORT, as in [::]:5124", s)
	}
	return at, nil
}

// parsePrefix takes an address alone as one host, and IPv4 as such where it is mapped to IPv6.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a prefix such as 198.51.100.0/24", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s has bits behind its length: %s was meant?", s, p.Masked())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// secret reads a file without the white space around it.
func secret(option, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return nil, fmt.Errorf("%s: %s is empty: head -c 32 /dev/urandom | base64 > %s", option, file, file)
	}
	return b, nil
}
