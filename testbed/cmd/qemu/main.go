// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"fmt"
	"os"
	"spillway/testbed/qemu"
	"spillway/testbed/scenario"
	"spillway/testbed/world"
	"time"
)

func main() {
	d := qemu.Debian{Dir: os.Args[1], Log: func(f string, a ...any) { fmt.Printf(f+"\n", a...) }}
	g, err := qemu.Find(os.Args[2])
	if err != nil {
		panic(err)
	}
	t := time.Now()
	im, err := d.Prepare(g)
	fmt.Println(im, err, time.Since(t))
	if err != nil {
		os.Exit(1)
	}
	bin, err := world.Build()
	if err != nil {
		panic(err)
	}
	s := scenario.CutMidway()
	for i := range s.Links {
		s.Links[i].Up.Rate /= 5
		s.Links[i].Down.Rate /= 5
	}
	s.Demands[0].Octets /= 5
	slot := &qemu.Slot{Guest: g, Image: im}
	os.MkdirAll("/tmp/q.dir", 0755)
	w, err := world.Make(world.Config{Links: s.Links, Settings: s.Settings, On: slot.On}, "/tmp/q.dir", bin)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer w.Close()
	fmt.Println(slot.Machine.About, slot.Machine.Took)
	t = time.Now()
	fmt.Println(scenario.Ready(w), time.Since(t))
	st, err := w.Router.Status()
	fmt.Printf("%+v %v\n", st, err)
	r, err := scenario.Play(context.Background(), w, s, func(f string, a ...any) { fmt.Printf(f+"\n", a...) })
	fmt.Println(err)
	if r != nil {
		scenario.Print(os.Stdout, s, r.Findings())
		r.Timeline(os.Stdout, 250*time.Millisecond)
	}
	fmt.Println(w.Logs(3000))
}
