package hatest_test

import (
	"fmt"
	"log"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/hatest"
)

// A thousand histories are a loop; one that breaks an invariant is played again by its seed.
func ExampleRun() {
	for seed := uint64(1); seed <= 3; seed++ {
		if r := hatest.Run(hatest.Options{Seed: seed}); r.Violation != "" {
			fmt.Println("seed", seed, r.Violation)
		}
	}
	one, two := hatest.Run(hatest.Options{Seed: 7}), hatest.Run(hatest.Options{Seed: 7})
	fmt.Println("the same history:", one.Hash == two.Hash)
	// Output: the same history: true
}

// A story is a cluster that is told what happens.
func ExampleStory() {
	s := hatest.NewStory(hatest.Options{Nodes: 2})
	for _, line := range []string{"start a", "advance 10s", "start b", "advance 30s", "status"} {
		out, err := s.Do(line)
		if err != nil {
			log.Fatal(err)
		}
		if line == "status" {
			fmt.Print(out)
		}
	}
	// Output:
	// leader key: a
	// a: primary, timeline 1; has authority
	// b: standby, timeline 1, streams from a
}

// A situation is what one node knows; a rulebook decides in it.
func ExampleParseSituation() {
	s, err := hatest.ParseSituation(`
		me a
		local standby tl 2 lsn 0/90
		vacant since -3s last b
		member c replica running
		peer c standby tl 2 lsn 0/95`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(hatest.FormatDecision(s.Now, ha.Decide(s.Now, &s.View)))
	// Output:
	// vacant.behind: Wal position of c (0/95 on timeline 2) is ahead of my wal position (0/90 on timeline 2)
	//   next +1.51s
}
