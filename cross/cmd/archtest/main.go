// SPDX-License-Identifier: Apache-2.0

// Archtest compiles every package's tests for other machines and runs their short form under QEMU's user mode: other byte
// order, other word size, no FPU. What user mode can't do is skipped by name; the emulated routers cover it.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spillway/cross"
	"spillway/testbed/usage"
)

// skipped are whole packages, with the reason.
var skipped = []struct{ prefix, why string }{
	{"spillway/cross", "runs Go tools of the machine that builds"},
	{"spillway/testbed", "drives namespaces and emulators of the machine that tests"},
}

// skippedTests are single tests of packages: a pattern for -test.skip each, the targets it is for (none: all), the reason.
var skippedTests = []struct{ path, pattern, targets, why string }{
	{"spillway/concentrator", "^Test(BadMessages|BytesAndHalfCloseBothWays|ClientsResetReachesTheServer|CookieIsHandedOutAndAccepted|" +
		"DialFailures|ErrorsAreRateLimited|ExtendedConnectTellsWhetherTheServerSpeaksMPTCP|IPv6|IdleSessionsEnd|Info|" +
		"Lane(CarriesFromMessageToEnd|HoldsTheAnswerBack|HearsTheRequestBeforeItAnswers|HearsNoMoreThanItHasRoomFor|GivesUp|HandsASlowServerOver|HandsASilentServerOver|KeepsTheLimits)|" +
		"LoopbackIsForbiddenUnlessAllowed|MessageInPieces|MessageLongAfterTheHandshake|RefusalsOfDestinationsAreToldAlways|RefusedPort|ServerClosesFirst|" +
		"ServersResetReachesTheClient|SilentServerIsUnreachable|StopLetsSessionsFinish|StopResetsWhatDoesNotFinish|" +
		"StrangersAreNotAuthorized|TheErrorWaitsForTheClient|Token|TooManyPending|TooManySessions|UnsupportedOptions)$",
		"", "user mode gives 4 octets of TCP_INFO: no handshake is seen to end"},
	{"spillway/relay", "^Test(RefusedUpstreamIsOutAtOnceAndComesBack|AnotherAddressOfAnUpstreamServes)$",
		"mips,mipsle", "user mode hands on SO_ERROR with the host's numbers, and MIPS counts otherwise"},
	{"spillway/relay", "^Test(AskAllAsksOnce|SilentServersLeaveTheConverterIn|SlowServerIsWaitedFor|SlowServerIsWaitedForByOneAlone|SlowServerHearsWhatIsSaidLate|ConverterThatTakesOthersStaysIn)$", "", "user mode gives 4 octets of TCP_INFO: no handshake is seen to end"},
	{"spillway", "^TestAConcentratorThatWantsACookieIsWell$", "", "user mode gives 4 octets of TCP_INFO: no handshake is seen to end"},
	{"spillway", "^TestWithoutADaemonNetifdIsAsked$", "mips", "user mode leaves parts of rtnetlink's answers little-endian: Go's net.Interfaces fails too"},
	{"spillway/relay", "^TestSavedDSCPOfBothFamilies$", "", "user mode has no TCP_SAVED_SYN"},
	{"spillway/relay", "^TestNoSYNGetsInButHandshakesEnd$", "", "user mode takes no filter off a socket"},
	{"spillway/sockopt", "^Test(BytesAreAsManyAsTheKernelHas|TCPInfoOfAListenerIsListen)$", "", "user mode takes each option of TCP for a number"},
	{"spillway/relay/engine", "^Test(AGapIsFound|AnEndIsNoGap|NothingPassesAGap)$", "", "user mode gives 4 octets of TCP_INFO: nothing tells what TCP has acknowledged"},
	{"spillway/relay", "^Test(ListenersAreHandedOver|DoorIsClosedWhileSomethingHasRunOut|DoorIsClosedWhileMemoryIsShort|AskingForAClosedDoorSharesNothing|UrgentDataOfAHost)$", "", "user mode has no IP_TRANSPARENT"},
}

// skipFor joins the patterns and reasons for a package on a target.
func skipFor(path string, t cross.Target) (pattern, why string) {
	var patterns, whys []string
	for _, s := range skippedTests {
		if s.path == path && (s.targets == "" || slices.Contains(strings.Split(s.targets, ","), t.Name)) {
			patterns, whys = append(patterns, s.pattern), append(whys, s.why)
		}
	}
	return strings.Join(patterns, "|"), strings.Join(whys, "; ")
}

// perPackage bounds one package's tests on one machine; emulation is some twenty times slower than the machine,
// which may be busy besides: the longest package took a minute and a half on a quiet one.
const perPackage = 15 * time.Minute

const about = `archtest [-targets NAMES] [PACKAGE...]

Compiles packages' tests (those of all packages, unless some are named) for other machines and runs their short form under QEMU's user
mode: other byte order, other word size, no FPU. What user mode can't do is skipped by name. make test-cross installs what it needs.
`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "archtest:", err)
		os.Exit(1)
	}
}

func run() error {
	names := flag.String("targets", "mips,mipsle,armv7,arm64", "comma-separated `names`")
	patterns := usage.Parse(flag.CommandLine, os.Args[1:], about)
	targets, err := cross.Select(*names)
	if err != nil {
		return err
	}
	packages, err := list(patterns)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "archtest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	failed := 0
	for _, t := range targets {
		qemu, err := emulator(t)
		if err != nil {
			return err
		}
		if qemu == "" {
			fmt.Printf("%s: skipped: needs qemu-%s-static (Debian package qemu-user-static)\n", t.Name, t.QEMU)
			continue
		}
		failed += onTarget(t, qemu, packages, dir)
	}
	if failed > 0 {
		return fmt.Errorf("%d failed", failed)
	}
	return nil
}

// pkg is one package with tests.
type pkg struct{ path, dir string }

// list names the packages that have tests and may run elsewhere.
func list(patterns []string) ([]pkg, error) {
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	args := append([]string{"list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}"}, patterns...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var ps []pkg
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path == "" {
			continue
		}
		if why := skipPackage(path); why != "" {
			fmt.Printf("%s: skipped: %s\n", path, why)
			continue
		}
		ps = append(ps, pkg{path, dir})
	}
	return ps, nil
}

func skipPackage(path string) string {
	for _, s := range skipped {
		if path == s.prefix || strings.HasPrefix(path, s.prefix+"/") {
			return s.why
		}
	}
	return ""
}

// emulator finds QEMU for a target and installs it where that is possible; "" when it is missing and may be.
func emulator(t cross.Target) (string, error) {
	if t.QEMU == "" {
		return "", fmt.Errorf("target %s isn't emulated", t.Name)
	}
	find := func() string {
		for _, name := range []string{"qemu-" + t.QEMU + "-static", "qemu-" + t.QEMU} {
			if file, err := exec.LookPath(name); err == nil {
				return file
			}
		}
		return ""
	}
	if file := find(); file != "" {
		return file, nil
	}
	if os.Geteuid() == 0 {
		cmd := exec.Command("sh", "-c", "apt-get update -qq && apt-get install -y -qq qemu-user-static")
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Printf("install qemu-user-static: %v\n%s", err, out)
		}
	}
	file := find()
	if file == "" && os.Getenv("CI") == "true" {
		return "", fmt.Errorf("qemu-%s-static is missing: apt-get install qemu-user-static", t.QEMU)
	}
	return file, nil
}

// onTarget runs all packages on one machine and counts the failures.
func onTarget(t cross.Target, qemu string, packages []pkg, dir string) (failed int) {
	begin := time.Now()
	for _, p := range packages {
		binary := filepath.Join(dir, t.Name+"-"+strings.ReplaceAll(p.path, "/", "-"))
		compile := exec.Command("go", "test", "-c", "-vet=off", "-o", binary, p.path)
		compile.Env = cross.Environ(t)
		if out, err := compile.CombinedOutput(); err != nil {
			fmt.Printf("FAIL  %-8s %s: compile: %v\n%s", t.Name, p.path, err, out)
			failed++
			continue
		}
		start := time.Now()
		skip, why := skipFor(p.path, t)
		out, err := emulate(qemu, binary, skip, p)
		os.Remove(binary)
		if err != nil {
			fmt.Printf("FAIL  %-8s %s: %v\n%s", t.Name, p.path, err, out)
			failed++
			continue
		}
		note := ""
		if skip != "" {
			note = fmt.Sprintf("  (without %d tests: %s)", strings.Count(skip, "|")+1, why)
		}
		fmt.Printf("ok    %-8s %-32s %6.1f s%s\n", t.Name, p.path, time.Since(start).Seconds(), note)
	}
	fmt.Printf("%s: %d packages in %.0f s, %d failed\n", t.Name, len(packages), time.Since(begin).Seconds(), failed)
	return failed
}

// emulate runs one test binary in its package's folder.
func emulate(qemu, binary, skip string, p pkg) ([]byte, error) {
	args := []string{binary, "-test.short", "-test.timeout", perPackage.String()}
	if skip != "" {
		args = append(args, "-test.skip", skip)
	}
	cmd := exec.Command(qemu, args...)
	cmd.Dir = p.dir
	return cmd.CombinedOutput()
}
