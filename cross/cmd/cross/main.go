// SPDX-License-Identifier: Apache-2.0

// Cross builds Spillway for all routers, measures and packs it.
//
//	cross [VERB] [OPTION]...
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"spillway/cross"
	"spillway/testbed/usage"
)

const about = `cross [VERB] [OPTION]...

Builds Spillway for all routers, measures and packs it. The verbs:

  table      build all targets, print their sizes and those of their packages, hold the budget (without a verb, too)
  packages   the same, and leave .ipk, .apk, SHA256SUMS and the bill of materials in build/packages
  sizes      what each dependency costs
  accept     record what each dependency costs now as the yardstick of cross/budget.toml

It ends with 1 when something is over budget. docs/CROSS.md tells more.
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cross:", err)
		os.Exit(1)
	}
}

// job is what the commands share.
type job struct {
	root, out string
	builder   cross.Builder
	targets   []cross.Target
	release   string // version of the packages
	epoch     time.Time
}

func run(args []string) error {
	verb := "table"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("cross", flag.ContinueOnError)
	names := flags.String("targets", "all", "comma-separated `names`")
	out := flags.String("o", "build", "`folder` for what is built, below the module's")
	version := flags.String("version", "", "what the binary says of itself; the packages' version when empty")
	usage.Alone(flags, args, about)
	if err := usage.Known("verb", []string{verb}, []string{"table", "packages", "sizes", "accept"}); err != nil {
		usage.Wrong("cross", err)
	}
	root, err := cross.Root()
	if err != nil {
		return err
	}
	targets, err := cross.Select(*names)
	if err != nil {
		return err
	}
	j := job{root: root, out: filepath.Join(root, *out), targets: targets, epoch: cross.Epoch(root)}
	j.release = cross.Release(root, cross.BaseVersion(root))
	if *version == "" {
		*version = j.release
	}
	j.builder = cross.Builder{Root: root, Program: ".", Version: *version}
	switch verb {
	case "packages":
		return j.packages()
	case "sizes":
		return j.sizes()
	case "accept":
		return j.accept()
	}
	return j.table(filepath.Join(j.out, "cross", "packages"))
}

// budgetFile is where the limits are.
func (j job) budgetFile() string { return filepath.Join(j.root, "cross", "budget.toml") }

// binary is where a target's binary lies.
func (j job) binary(t cross.Target) string { return filepath.Join(j.out, "cross", t.Name, "spillway") }

// table builds and measures everything; packages go into folder.
func (j job) table(folder string) error {
	budget, err := cross.ReadBudget(j.budgetFile())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "target\traw\tof\tflash\tof\t.ipk\t.apk\tbuilt in\t")
	var over, notes []string
	for _, t := range j.targets {
		begin := time.Now()
		if err := j.builder.Build(t, j.binary(t)); err != nil {
			return err
		}
		took := time.Since(begin)
		size, err := cross.Measure(j.binary(t))
		if err != nil {
			return err
		}
		limit := budget.Target[t.Name]
		ipk, apk, err := j.pack(t, folder)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: no packages: %v", t.Name, err))
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f s\t\n", t.Name, size.Raw, limit.Raw, size.Flash, limit.Flash, ipk, apk, took.Seconds())
		if size.How != "squashfs" {
			notes = append(notes, fmt.Sprintf("%s: flash measured by %s: apt-get install squashfs-tools", t.Name, size.How))
		}
		if o := size.Over(t.Name, limit); o != "" {
			over = append(over, o)
		}
	}
	w.Flush()
	for _, n := range notes {
		fmt.Println(n)
	}
	if len(over) > 0 {
		return fmt.Errorf("over budget:\n  %s\n%s", strings.Join(over, "\n  "), j.builder.Blame(budget))
	}
	fmt.Println("all within budget")
	return nil
}

// pack makes a target's packages for each of its architectures and returns the sizes of the first one's.
func (j job) pack(t cross.Target, folder string) (ipk, apk int64, err error) {
	for i, arch := range t.Arches {
		p, err := cross.DaemonPackage(j.root, j.release, arch, j.binary(t), j.epoch)
		if err != nil {
			return 0, 0, err
		}
		a, b, err := cross.WriteBoth(p, folder)
		if err != nil {
			return 0, 0, err
		}
		if err := check(arch, a, b); err != nil {
			return 0, 0, err
		}
		if i == 0 {
			ipk, apk = a.Size, b.Size
		}
	}
	return ipk, apk, nil
}

// check shows packages to the real package managers, where they are.
func check(arch string, ws ...cross.Written) error {
	for _, w := range ws {
		if _, err := cross.CheckReal(w.File, arch); err != nil {
			return err
		}
	}
	return nil
}

// packages leaves all that a release has.
func (j job) packages() error {
	folder := filepath.Join(j.out, "packages")
	if err := os.RemoveAll(folder); err != nil { // no stale version may get into the sums
		return err
	}
	over := j.table(folder) // what is over budget is packed too, and fails at the end
	luci, ok, err := cross.LuCIPackage(j.root, j.release, j.epoch)
	if err != nil {
		return err
	}
	if ok {
		a, b, err := cross.WriteBoth(luci, folder)
		if err != nil {
			return err
		}
		if err := check("all", a, b); err != nil {
			return err
		}
		fmt.Printf("%s: .ipk %d, .apk %d octets\n", luci.Name, a.Size, b.Size)
	}
	if err := j.materials(folder); err != nil {
		return err
	}
	sums, err := cross.Sums(folder)
	if err != nil {
		return err
	}
	fmt.Printf("%d files and SHA256SUMS in %s\n", strings.Count(sums, "\n"), folder)
	return over
}

// materials writes a bill of materials per target.
func (j job) materials(folder string) error {
	ms, err := cross.Audit(j.root)
	if err != nil {
		return err
	}
	if bad := cross.Refused(ms); len(bad) > 0 {
		return fmt.Errorf("licences:\n  %s", strings.Join(bad, "\n  "))
	}
	licences := map[string]string{}
	for _, m := range ms {
		licences[m.Path] = m.Licence
	}
	for _, t := range j.targets {
		bom, err := cross.SBOM(j.binary(t), j.release, licences)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "spillway-"+t.Name+".cdx.json"), bom, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sizes prints what each dependency costs on each target, and how that changed.
func (j job) sizes() error {
	budget, err := cross.ReadBudget(j.budgetFile())
	if err != nil {
		return err
	}
	if len(j.targets) == len(cross.Targets()) { // unless asked otherwise: the one that the budget records
		if j.targets, err = cross.Select(cross.WeightTarget); err != nil {
			return err
		}
	}
	for _, t := range j.targets {
		sum, weights, err := j.builder.WeighTarget(t)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "%s: dependency\toctets\tsince accepted\n", t.Name)
		var total int64
		for _, name := range cross.Heaviest(sum) {
			total += sum[name]
			change := ""
			if t.Name == cross.WeightTarget && sum[name] != budget.Weight[name] {
				change = fmt.Sprintf("%+d", sum[name]-budget.Weight[name])
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", name, sum[name], change)
		}
		fmt.Fprintf(w, "all\t%d\t\n\npackage\tcode\tdata\ttables\n", total)
		for _, p := range weights[:min(len(weights), 60)] {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", p.Package, p.Code, p.Data, p.Tables)
		}
		w.Flush()
	}
	return nil
}

// accept records the weights of now.
func (j job) accept() error {
	t, err := cross.Select(cross.WeightTarget)
	if err != nil {
		return err
	}
	sum, _, err := j.builder.WeighTarget(t[0])
	if err != nil {
		return err
	}
	return cross.Accept(j.budgetFile(), sum)
}
