package modeltest

import (
	"fmt"
	"slices"

	"github.com/tanist-ha/tanist/postgres"
)

// seen is what one side shows of one server.
type seen struct {
	postgres.Observation
	rows    []int
	lineage *postgres.Lineage // nil: nobody could ask it
	source  string            // the server that its WAL receiver is connected to
}

// face is what must be the same on both sides. Numbers that mean nothing by themselves (positions, process ids) are not in it.
type face struct {
	DataDir    postgres.DataDir
	Unfinished postgres.TaskKind
	State      postgres.ControlState
	Signal     bool // standby.signal
	Runs       bool
	Accepting  postgres.Accepting
	Closed     bool
	Never      bool // consistent
	InRecovery bool
	Timeline   postgres.Timeline
	Checkpoint postgres.Timeline // of the latest checkpoint
	History    string            // the timelines that led to the running server's
	Source     string            // streams from
	Rows       string
}

func (s seen) face() face {
	f := face{DataDir: s.DataDir, Unfinished: s.Unfinished, Signal: s.Standby, Runs: s.Postmaster != nil, Accepting: s.Accepting, Closed: s.Closed,
		Never: s.NeverConsistent}
	if s.Control != nil {
		f.State, f.Checkpoint = s.Control.State, s.Control.Timeline
	}
	if s.SQL == nil {
		return f
	}
	f.InRecovery, f.Timeline, f.Source, f.Rows = s.SQL.InRecovery, s.SQL.Timeline, s.source, fmt.Sprint(s.rows)
	if s.lineage != nil {
		for _, sw := range s.lineage.History {
			f.History += fmt.Sprintf("%d ", sw.Parent)
		}
	}
	return f
}

// flushed says whether a running standby's minimum recovery point is the end of what it has replayed.
func (s seen) flushed() bool {
	return s.SQL != nil && s.SQL.InRecovery && s.Control != nil && s.Control.MinRecoveryEnd == s.SQL.Replayed
}

// position is where the log of a server ends, as far as that is known: pg_control tells it of a primary that was shut down, of a standby
// only how far it must replay at least.
func (s seen) position() (postgres.Position, bool) {
	if s.SQL != nil {
		p := s.SQL.Position()
		return p, p.Timeline != 0
	}
	st, _, ok := postgres.StandingOf(s.Observation)
	if !ok || !st.Wrote {
		return postgres.Position{}, false
	}
	p := st.Position
	p.LSN = max(p.LSN, st.End)
	return p, true
}

// picture is what one side shows of all servers.
type picture map[string]seen

func (p picture) names() []string {
	var names []string
	for n := range p {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// order compares how much two servers hold of the log of the one on the newer timeline, as an election does.
func (p picture) order(x, y string) string {
	a, okA := p[x].position()
	b, okB := p[y].position()
	if !okA || !okB {
		return "?"
	}
	newest, of := a.Timeline, p[x]
	if b.Timeline > newest {
		newest, of = b.Timeline, p[y]
	}
	var history postgres.History
	switch {
	case of.lineage != nil:
		history = of.lineage.History
	case of.Control.Timeline == newest:
		history = of.Observation.History
	case newest > 1:
		return "?"
	}
	switch n, ok := postgres.Compare(a, b, newest, history); {
	case !ok:
		return "apart"
	case n < 0:
		return "<"
	case n > 0:
		return ">"
	}
	return "="
}

// verdict is the answer to: may x stream from y?
func (p picture) verdict(x, y string) string {
	s, _, ok := postgres.StandingOf(p[x].Observation)
	if !ok || p[y].lineage == nil {
		return "?"
	}
	return string(postgres.Diverged(s, *p[y].lineage).Divergence)
}

// writer is the primary on whose timeline the named server is.
func (p picture) writer(name string) string {
	at, _ := p[name].position()
	for n, s := range p {
		if s.SQL != nil && !s.SQL.InRecovery && s.SQL.Timeline == at.Timeline {
			return n
		}
	}
	return ""
}
