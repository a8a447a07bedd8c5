// SPDX-License-Identifier: Apache-2.0

// Command policybench measures what the policy promises, in several rounds, and writes medians to
// build/bench/policy.json.
//
//	policybench [OPTION]...
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spillway/testbed/policybench"
	"spillway/testbed/scenario"
	"spillway/testbed/usage"
	"spillway/testbed/world"
)

const about = `policybench [OPTION]...

Measures what the policy promises: overflow, bonding, failover, return, idle connections. Each round plays the scenarios one after the
other, each in a world of its own; medians are printed and written. Needs root. docs/POLICY.md has figures.

Ends with 0 also where a median falls short of its aim, for a busy machine's do; with 1 where a scenario could not be played, and with
-strict where an aim is missed.

  policybench -only overflow,carrier-dsl -rounds 5
  policybench -strict
`

func main() {
	rounds := flag.Int("rounds", 3, "how often everything is measured; medians are kept")
	length := flag.Duration("length", time.Minute, "how long each scenario of quiet demand lasts; these are played in the first round only")
	only := flag.String("only", "", "NAMES of scenarios, comma-separated (scenario list shows them); empty: all")
	manager := flag.String("manager", "", "policy.path_manager of the router: auto, kernel, user")
	out := flag.String("json", "build/bench/policy.json", "file for the figures")
	strict := flag.Bool("strict", false, "end with 1 if the median of a figure falls short of its aim")
	usage.Alone(flag.CommandLine, os.Args[1:], about)
	if *only != "" {
		var known []string
		for _, s := range policybench.All(*length) {
			known = append(known, s.Name)
		}
		if err := usage.Known("scenario", strings.Split(*only, ","), slices.Compact(known)); err != nil {
			usage.Wrong("policybench", err)
		}
	}
	world.Main("policybench", func(ctx context.Context) error { return run(ctx, *rounds, *length, *only, *manager, *out, *strict) })
}

func run(ctx context.Context, rounds int, length time.Duration, only, manager, out string, strict bool) error {
	bin, err := world.Build()
	if err != nil {
		return err
	}
	var all policybench.Collection
	failed := 0
	for round := range rounds {
		list := policybench.All(length)
		for i, s := range list {
			skip := round > 0 && strings.HasPrefix(s.Name, "quiet-") || only != "" && !slices.Contains(strings.Split(only, ","), s.Name)
			if skip || ctx.Err() != nil {
				continue
			}
			fmt.Printf("round %d of %d, %d of %d: %s: %s\n", round+1, rounds, i+1, len(list), s.Name, s.About)
			if manager != "" {
				policy := map[string]string{"path_manager": fmt.Sprintf("%q", manager)}
				maps.Copy(policy, s.Settings.Policy)
				s.Settings.Policy = policy
			}
			findings, err := play(ctx, s, bin)
			if err != nil {
				fmt.Printf("  %v\n", err)
				failed++
				continue
			}
			for _, f := range findings {
				fmt.Printf("  %-22s %10.1f %s\n", f.Key, f.Figure, f.Unit)
			}
			all.Add(round, findings)
		}
	}
	fmt.Println()
	all.Print(os.Stdout)
	missed := all.Missed()
	bonded, alone := all.Median("web_ms_bonded"), all.Median("web_ms_dsl_alone")
	if bonded > 0 && alone > 0 {
		const ratio, most = "web_latency_ratio", 1.1
		fmt.Printf("  %-22s %9.2f        short requests beside bulk: both links against DSL alone, aim ≤ %v\n", ratio, bonded/alone, most)
		if bonded > most*alone {
			missed = append(missed, ratio)
		}
	}
	text, err := all.JSON()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(out), 0o755)
	}
	if err == nil {
		err = os.WriteFile(out, append(text, '\n'), 0o644)
	}
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d scenarios could not be played", failed))
	}
	if strict && len(missed) > 0 {
		err = errors.Join(err, fmt.Errorf("short of the aim: %s", strings.Join(missed, ", ")))
	}
	return errors.Join(err, ctx.Err())
}

// play plays one scenario in a world of its own.
func play(ctx context.Context, s scenario.Scenario, bin world.Binaries) ([]scenario.Finding, error) {
	dir, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return s.InWorld(ctx, dir, bin, nil, nil)
}
