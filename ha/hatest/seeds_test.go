package hatest

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSeeds plays thousands of histories of ten simulated minutes each, and holds every one to all invariants. It prints which rules
// fired, because a simulation in which a rule never fires says nothing about it.
func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		r := Run(Options{Seed: *seedFlag, Profile: Profile(*profileFlag)})
		fmt.Print(r.Log)
		if r.Violation != "" {
			t.Fatal(r.Violation)
		}
		return
	}
	rules := histogram{}
	if *profileFlag == "everything" {
		play(t, "all faults", seeds(), rules, func(uint64) Options { return Options{} })
		rules.print(os.Stdout)
		return
	}
	if *profileFlag != "" {
		play(t, "profile "+*profileFlag, seeds(), rules, func(uint64) Options { return Options{Profile: Profile(*profileFlag)} })
		return
	}
	play(t, "all faults", seeds(), rules, func(uint64) Options { return Options{} })
	for _, p := range []Profile{Planned, Founding, Odd, Late, Branches, Stuck, Freezes, Failsafe, Watched, Wiped, Terms, Touches, Stale, Elections, Cached, Namesakes} {
		play(t, "profile "+string(p), max(seeds()/10, 4), rules, func(uint64) Options { return Options{Profile: p} })
	}
	rules.print(os.Stdout)
}

// play runs a sweep, fails for each violation, and says what was run.
func play(t *testing.T, name string, n uint64, rules histogram, options func(seed uint64) Options) {
	t.Helper()
	bad, steps, fenced, rows := 0, 0, 0, 0
	start := time.Now()
	sweep(*firstFlag, n, options, func(seed uint64, r Result) bool {
		rules.add(r.Rules)
		steps, fenced, rows = steps+r.Steps, fenced+r.Fenced, rows+r.Rows
		if r.Violation == "" {
			return false
		}
		bad++
		t.Errorf("%s: seed %d: %s\nits history ends with:\n%s", name, seed, r.Violation, tail(r.Log))
		return bad >= 10
	})
	fmt.Printf("%s: %d seeds from %d, %d steps, %d rows acknowledged, fenced %d times, %d violations, %.1f s\n",
		name, n, *firstFlag, steps, rows, fenced, bad, time.Since(start).Seconds())
}

// TestSeedTwice shows that a seed is its history, byte for byte.
func TestSeedTwice(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= min(6, 1+seeds()/20); seed++ {
		for _, p := range []Profile{Everything, Late} {
			one, two := Run(Options{Seed: seed, Profile: p}), Run(Options{Seed: seed, Profile: p})
			if one.Log != two.Log || one.Hash != two.Hash {
				t.Errorf("seed %d, profile %q: two runs differ: %s and %s", seed, p, one.Hash, two.Hash)
			}
		}
	}
}

// TestKnownSeeds plays the histories that found a bug once.
func TestKnownSeeds(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		number, profile, _ := strings.Cut(words[0], "/")
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil || len(words) < 2 {
			t.Fatalf("testdata/seeds.txt: %q: want a seed and what it found", lines.Text())
		}
		t.Run(words[0], func(t *testing.T) {
			if r := Run(Options{Seed: seed, Profile: Profile(profile)}); r.Violation != "" {
				t.Errorf("%s\n%s", r.Violation, tail(r.Log))
			}
		})
	}
}
