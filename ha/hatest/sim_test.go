package hatest

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

var seeds = flag.Int("sim.seeds", 0, "how many seeds to run")
var one = flag.Uint64("sim.seed", 0, "run this seed alone and print its history")

func TestSeeds(t *testing.T) {
	if *one != 0 {
		r := Run(Options{Seed: *one})
		fmt.Fprintln(os.Stderr, r.Log)
		if r.Violation != "" {
			t.Fatal(r.Violation)
		}
		return
	}
	bad := 0
	for s := uint64(1); s <= uint64(*seeds); s++ {
		r := Run(Options{Seed: s})
		if r.Violation != "" {
			bad++
			t.Errorf("seed %d: %.400s", s, r.Violation)
			if bad > 25 {
				break
			}
		}
	}
}
