//go:build linux

package hangtest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/internal/testcluster"
)

// The guard of the real program: it becomes a guard before its heavy packages take memory. What is not private is shared with the agent,
// which runs the same file.
func TestMemoryOfTheProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	programs, err := testcluster.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer programs.Remove()
	clock, err := bootclock.New()
	if err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(guard.Config{Executable: programs.Tanist(), Boottime: clock.Boottime})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var pid int
	if _, err := fmt.Sscanf(g.Describe(), "guard %d", &pid); err != nil {
		t.Fatal(err)
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int{}
	for line := range strings.Lines(string(rollup)) {
		var name string
		var kb int
		if n, _ := fmt.Sscanf(line, "%s %d kB", &name, &kb); n == 2 {
			sizes[name] = kb
		}
	}
	t.Logf("%s: resident %d kB, of it anonymous %d kB, of files %d kB, locked %d kB", g.Describe(), sizes["Rss:"], sizes["Anonymous:"],
		sizes["Rss:"]-sizes["Anonymous:"], sizes["Locked:"])
	if sizes["Anonymous:"] > 2<<10 {
		t.Errorf("%d kB of anonymous memory: has a package come between the start of the program and the guard?", sizes["Anonymous:"])
	}
	if sizes["Rss:"] > 8<<10 {
		t.Errorf("%d kB resident: more than an ordinary user may lock", sizes["Rss:"])
	}
}
