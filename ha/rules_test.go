package ha_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/hatest"
)

// TestRules decides in the situations of testdata/rules. Each block is a situation (see hatest.Situation) and what a node does in it:
//
//	decide
//	me a
//	local standby tl 2 lsn 0/90
//	----
//	vacant.behind: Wal position of c (0/95 on timeline 2) is ahead of my wal position (0/90 on timeline 2)
//	  next +1.51s
//
// With -rewrite the answers are written anew; the difference is for review.
func TestRules(t *testing.T) {
	eachSituation(t, func(t *testing.T, d *datadriven.TestData, s *hatest.Situation) string {
		return hatest.FormatDecision(s.Now, ha.Decide(s.Now, &s.View))
	})
}

// TestRuleCoverage holds every rule to a situation that names it in the expected answer, and whose answer changes when the rule is
// removed (safety 14.5): then the test would notice a rule that is gone.
func TestRuleCoverage(t *testing.T) {
	covered := map[ha.RuleID]bool{}
	eachSituation(t, func(t *testing.T, d *datadriven.TestData, s *hatest.Situation) string {
		decision := ha.Decide(s.Now, &s.View)
		id := decision.Reason.Rule
		if !strings.HasPrefix(d.Expected, string(id)+": ") {
			return d.Expected // TestRules says so
		}
		without, err := ha.StandardRules().Replace(id, removed)
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		if answer := safely(func() string { return hatest.FormatDecision(s.Now, without.Decide(s.Now, &s.View)) }); answer == d.Expected {
			t.Errorf("%s: the answer is the same without the rule %s", d.Pos, id)
			return d.Expected
		}
		covered[id] = true
		return d.Expected
	})
	for _, id := range ha.StandardRules().IDs() {
		if !covered[id] {
			t.Errorf("no situation in testdata/rules names the rule %s and needs it", id)
		}
	}
}

// safely answers even where a rule relies on an earlier one so much that it panics without it.
func safely(answer func() string) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprint("panic: ", p)
		}
	}()
	return answer()
}

// removed is what stands in the place of a rule that is not there.
func removed(time.Time, *ha.View) ha.Verdict { return ha.Pass("removed") }

func eachSituation(t *testing.T, answer func(*testing.T, *datadriven.TestData, *hatest.Situation) string) {
	t.Helper()
	datadriven.Walk(t, "testdata/rules", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "decide" {
				t.Fatalf("%s: there is no command %q", d.Pos, d.Cmd)
			}
			s, err := hatest.ParseSituation(d.Input)
			if err != nil {
				return "error: " + err.Error()
			}
			return answer(t, d, s)
		})
	})
}
