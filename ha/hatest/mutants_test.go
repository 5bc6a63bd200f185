package hatest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// mutant is a defect that breaks one claim of the safety design. A simulator that does not find it proves nothing.
type mutant struct {
	name    string
	options func(t *testing.T) Options
}

var mutants = []mutant{
	{"authority dated from the reply", func(*testing.T) Options {
		return Options{Profile: Late, Mutant: Mutant{Event: datedFromReply}}
	}},
	{"unknown taken for no", func(*testing.T) Options {
		return Options{Mutant: Mutant{Event: unknownIsNo}}
	}},
	{"race ignores the timeline", func(t *testing.T) Options {
		return Options{Profile: Branches, Rules: replaced(t, map[ha.RuleID]check{
			"vacant.behind": behindByLSN, "vacant.timeline": passing, "leader.late": passing})}
	}},
	{"key released though the server did not stop", func(t *testing.T) Options {
		return Options{Profile: Stuck, Rules: replaced(t, map[ha.RuleID]check{
			"handover.stop-failed": releaseAnyway})}
	}},
	{"cluster opened before /initialize says which it is", func(t *testing.T) Options {
		return Options{Profile: Founding, Rules: replaced(t, map[ha.RuleID]check{"found.write-system-id": passing, "leader.system-id": writtenLater})}
	}},
	{"fence off", func(*testing.T) Options { return Options{NoFence: true} }},
}

// TestMutants looks for the first seed that catches each mutant, and shows that the unchanged code passes the same seeds.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("plays hundreds of histories")
	}
	for _, m := range slices.Concat(mutants, fenceMutants, watchdogMutants, failsafeMutants, storeMutants) {
		t.Run(m.name, func(t *testing.T) {
			o := m.options(t)
			tried, caught := uint64(0), uint64(0)
			why := ""
			sweep(1, seeds(), func(uint64) Options { return o }, func(seed uint64, r Result) bool {
				tried++
				if r.Violation != "" && (caught == 0 || seed < caught) {
					caught, why = seed, r.Violation
				}
				return caught != 0
			})
			if caught == 0 {
				t.Fatalf("not caught within %d seeds", tried)
			}
			fmt.Printf("mutant %q: caught by seed %d: %.160s\n", m.name, caught, why)
			sweep(1, caught, func(uint64) Options { return Options{Profile: o.Profile, SlowAnswers: o.SlowAnswers, Config: o.Config} }, func(seed uint64, r Result) bool {
				if r.Violation != "" {
					t.Errorf("the unchanged code does not pass seed %d: %s\n%s", seed, r.Violation, tail(r.Log))
				}
				return r.Violation != ""
			})
		})
	}
}

// datedFromReply dates authority from the moment in which its confirmation is looked at (safety 1.2).
func datedFromReply(now time.Time, e ha.Event) ha.Event {
	switch x := e.(type) {
	case ha.Renewed:
		x.Sent = now
		return x
	case ha.SessionKept:
		x.Sent = now
		return x
	case ha.Acquired:
		x.Sent = now
		return x
	}
	return e
}

// unknownIsNo takes a request of unknown fate for one that was refused (safety 1.4, 1.5).
func unknownIsNo(_ time.Time, e ha.Event) ha.Event {
	no := func(f *ha.Fault) *ha.Fault {
		if f.Is(ha.FaultUnknown) {
			return &ha.Fault{Kind: ha.FaultConflict, Text: f.Text}
		}
		return f
	}
	switch x := e.(type) {
	case ha.Renewed:
		x.Fault = no(x.Fault)
		return x
	case ha.SessionKept:
		x.Fault = no(x.Fault)
		return x
	case ha.Acquired:
		x.Fault = no(x.Fault)
		return x
	case ha.Released:
		x.Fault = no(x.Fault)
		return x
	case ha.Claimed:
		x.Fault = no(x.Fault)
		return x
	case ha.Wrote:
		x.Fault = no(x.Fault)
		return x
	}
	return e
}

type check = func(now time.Time, v *ha.View) ha.Verdict

// replaced is the rulebook with some checks replaced.
func replaced(t *testing.T, checks map[ha.RuleID]check) *ha.Rulebook {
	t.Helper()
	rules := ha.StandardRules()
	for id, c := range checks {
		var err error
		if rules, err = rules.Replace(id, c); err != nil {
			t.Fatal(err)
		}
	}
	return rules
}

func passing(time.Time, *ha.View) ha.Verdict { return ha.Pass("mutant") }

// behindByLSN compares positions by their length alone (safety 3.2).
func behindByLSN(_ time.Time, v *ha.View) ha.Verdict {
	mine := v.Local.Obs.SQL.Position()
	for name, p := range v.Peers {
		if name != v.Self.Name && p.Answer.Reachable && !p.AskedAt.Before(v.Vacancy.Since) && p.Answer.Position.LSN > mine.LSN {
			return ha.Act("mutant: a longer log")
		}
	}
	return ha.Pass("mutant: no longer log")
}

// releaseAnyway gives the leader key up although the server did not stop (safety 7.4).
func releaseAnyway(_ time.Time, v *ha.View) ha.Verdict {
	l := v.LastTask
	if v.Task != nil || v.Handover.Released || l == nil || l.Task.Kind != postgres.TaskStop || l.Fault == nil ||
		v.Lease.State != ha.LeaseHeld {
		return ha.Pass("mutant: the server stops, or has stopped")
	}
	if v.Lanes[ha.LaneStore].ID != 0 {
		return ha.Act("mutant: the store is busy")
	}
	m := v.Store.Member
	m.Role, m.State = dcs.RoleDemoted, dcs.StateStopped
	return ha.Act("mutant: the key is released", ha.ReleaseKey{Request: dcs.Release{Leader: v.Lease.Leader, Member: m}})
}

// writtenLater writes /initialize when nothing else is to be done, long after clients were let in.
func writtenLater(_ time.Time, v *ha.View) ha.Verdict {
	i := v.Store.Cluster.Initialize
	if (i != nil && i.SystemID != "") || v.Task != nil || !v.Vacancy.LastSeen.IsZero() && v.Store.At.Sub(v.Lease.Since) < 10*time.Second {
		return ha.Pass("mutant")
	}
	if v.Lanes[ha.LaneStore].ID != 0 || v.Local.Obs.Control == nil || v.Store.Urgent {
		return ha.Pass("mutant")
	}
	return ha.Act("mutant: late", ha.WriteInitialize{Prev: i, SystemID: v.Local.Obs.Control.SystemID})
}
