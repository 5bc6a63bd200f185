package hatest

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tanist-ha/tanist/ha"
)

var (
	seedsFlag   = flag.Uint64("sim.seeds", 600, "how many seeds TestSeeds runs, and each mutant at most")
	firstFlag   = flag.Uint64("sim.first", 1, "the first seed of TestSeeds")
	seedFlag    = flag.Uint64("sim.seed", 0, "run this seed alone and print its history")
	profileFlag = flag.String("sim.profile", "", "play this profile of faults alone; everything is that of all faults")
)

// TestMain lets the heap grow: a simulation makes little that lives long, and collecting it over and over is a third of its time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// seeds is how many seeds a sweep has; with -short only a few, as each costs a tenth of a second.
func seeds() uint64 {
	if testing.Short() {
		return min(*seedsFlag, 10)
	}
	return *seedsFlag
}

// sweep runs seeds from first on, on all processors, until there were n or done says that it has seen enough. done is called for one
// result at a time, in no particular order.
func sweep(first, n uint64, options func(seed uint64) Options, done func(seed uint64, r Result) bool) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var next atomic.Uint64
	var enough atomic.Bool
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !enough.Load() {
				i := next.Add(1) - 1
				if i >= n {
					return
				}
				o := options(first + i)
				o.Seed = first + i
				r := Run(o)
				mu.Lock()
				if done(o.Seed, r) {
					enough.Store(true)
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
}

// tail is the end of a history: what a person needs first to see what went wrong.
func tail(log string) string {
	const lines = 60
	all := strings.Split(strings.TrimRight(log, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// histogram counts the rules that fired.
type histogram map[ha.RuleID]uint64

func (h histogram) add(m map[ha.RuleID]uint64) {
	for id, n := range m {
		h[id] += n
	}
}

// print lists the rules that fired, most frequent first, in three columns, and those that never did.
func (h histogram) print(w io.Writer) {
	ids := slices.SortedFunc(maps.Keys(h), func(a, b ha.RuleID) int {
		switch {
		case h[a] > h[b]:
			return -1
		case h[a] < h[b]:
			return 1
		}
		return strings.Compare(string(a), string(b))
	})
	const columns = 3
	rows := (len(ids) + columns - 1) / columns
	for row := range rows {
		var line strings.Builder
		for i := row; i < len(ids); i += rows {
			fmt.Fprintf(&line, "%10d %-26s", h[ids[i]], ids[i])
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
	var never []string
	for _, id := range ha.StandardRules().IDs() {
		if h[id] == 0 {
			never = append(never, string(id))
		}
	}
	fmt.Fprintf(w, "%d rules fired; never: %s\n", len(ids), strings.Join(never, ", "))
}
