package hatest_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/tanist-ha/tanist/ha/hatest"
)

// TestScenarios plays the stories of testdata/scenarios. A file is one cluster from its first minute on; each block is commands (see
// Story.Do) and what followed:
//
//	do
//	kill host a
//	advance 40s
//	----
//
// The first block may have the arguments nodes=N and config=JSON. With -rewrite the answers are written anew.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		t.Parallel()
		var story *hatest.Story
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if story == nil {
				o := hatest.Options{}
				d.MaybeScanArgs(t, "nodes", &o.Nodes)
				d.MaybeScanArgs(t, "config", &o.Config)
				story = hatest.NewStory(o)
			}
			var b strings.Builder
			for line := range strings.Lines(d.Input) {
				out, err := story.Do(strings.TrimSpace(line))
				b.WriteString(out)
				if err != nil {
					t.Fatalf("%s: %v", d.Pos, err)
				}
			}
			return b.String()
		})
	})
}
