// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// parseSize reads "50GB", "500MB", "1.5TB", "2GiB" or plain octets, one at least: 0 might mean none or any number of them. Decimal units are
// powers of 1000, as mobile operators count.
func parseSize(s string) (uint64, error) {
	number := strings.TrimRight(s, "BKMGTikmgtb ")
	unit := strings.TrimSpace(s[len(number):])
	factor := map[string]float64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
	}[strings.ToUpper(unit)]
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || factor == 0 || value < 0 || value*factor > math.MaxInt64 || math.IsNaN(value) {
		return 0, fmt.Errorf("%q is not a size; write e.g. \"50GB\" or \"500MB\"", s)
	}
	if uint64(value*factor) == 0 {
		return 0, fmt.Errorf("%q is no limit; leave the key out where there is none, or write role = \"off\" for a link that is never to be used", s)
	}
	return uint64(value * factor), nil
}

// parsePercent reads "80%" as 0.8.
func parsePercent(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	value, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(value > 0 && value <= 100) {
		return 0, fmt.Errorf("%q is not a percentage; write e.g. \"80%%\"", s)
	}
	return value / 100, nil
}

// parseHours reads "07:00-23:00".
func parseHours(s string) (Hours, error) {
	from, to, ok := strings.Cut(s, "-")
	if ok {
		f, errF := parseClock(from)
		t, errT := parseClock(to)
		if errF == nil && errT == nil && f != t {
			return Hours{f, t}, nil
		}
	}
	return Hours{}, fmt.Errorf("%q is not a time window; write e.g. \"07:00-23:00\"", s)
}

// parseClock reads "07:30" as minutes since midnight; "24:00" is the day's end.
func parseClock(s string) (int, error) {
	hour, minute, ok := strings.Cut(strings.TrimSpace(s), ":")
	h, errH := strconv.Atoi(hour)
	m, errM := strconv.Atoi(minute)
	if !ok || errH != nil || errM != nil || h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return 0, fmt.Errorf("%q is not a time of day; write e.g. \"07:30\"", s)
	}
	return h*60 + m, nil
}

// parsePrefix reads a prefix or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address or prefix; write e.g. \"192.0.2.0/24\" or \"2001:db8::/32\"", s)
	}
	return p.Masked(), nil
}

// parsePorts reads "443" or "1000-2000".
func parsePorts(s string) (PortRange, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	f, errF := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	l, errL := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if errF != nil || errL != nil || f == 0 || l < f {
		return PortRange{}, fmt.Errorf("%q is not a port or range; write e.g. \"443\" or \"1000-2000\" (1 to 65535)", s)
	}
	return PortRange{uint16(f), uint16(l)}, nil
}

// parseMAC reads "00:11:22:33:44:55", in lower case.
func parseMAC(s string) (string, error) {
	parts := strings.Split(s, ":")
	good := len(parts) == 6
	for _, p := range parts {
		_, err := strconv.ParseUint(p, 16, 8)
		good = good && len(p) == 2 && err == nil
	}
	if !good {
		return "", fmt.Errorf("%q is not a MAC address; write e.g. \"00:11:22:33:44:55\"", s)
	}
	return strings.ToLower(s), nil
}

// parseDay reads "mon" or "monday".
func parseDay(s string) (time.Weekday, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		name := strings.ToLower(d.String())
		if l := strings.ToLower(s); len(l) >= 3 && strings.HasPrefix(name, l) {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is not a day; write \"mon\", \"tue\", ... \"sun\"", s)
}

// parseDomain reads "example.net" or "*.example.net", in lower case without the final dot.
func parseDomain(s string) (string, error) {
	name := strings.TrimSuffix(strings.ToLower(s), ".")
	good := name != "" && len(name) <= 253
	for label := range strings.SplitSeq(strings.TrimPrefix(name, "*."), ".") {
		good = good && label != "" && len(label) <= 63 && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
	}
	if !good {
		return "", fmt.Errorf("%q is not a domain; write e.g. \"example.net\" or \"*.example.net\"", s)
	}
	return name, nil
}
