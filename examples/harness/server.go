package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/tanist-ha/tanist/postgres"
)

// lab holds all servers, so that replication can flow between them.
type lab struct {
	mu      sync.Mutex
	servers map[string]*server
	pids    int
}

// server is a scripted PostgreSQL: what a node sees of one, and nothing more. Every task succeeds at once. Its log is a list of rows and a
// position; a standby has all of its upstream's log as soon as it is written.
type server struct {
	lab   *lab
	name  string
	works bool // the machine is on

	// The data directory.
	data       bool
	rows       []string
	lsn        postgres.LSN
	timeline   postgres.Timeline
	history    postgres.History
	state      postgres.ControlState
	checkpoint postgres.LSN
	standby    bool // standby.signal
	upstream   string

	// The postmaster.
	pid      int // 0: down
	recovery bool
	closed   bool
}

const (
	systemID   = "7000000000000000001"
	recordSize = 120
)

// Observe implements ha.Postgres.
func (s *server) Observe(context.Context) postgres.Observation {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	if !s.data {
		return postgres.Observation{DataDir: postgres.DataDirEmpty}
	}
	o := postgres.Observation{DataDir: postgres.DataDirReady, Standby: s.standby, History: s.history, Control: &postgres.Control{
		SystemID: systemID, State: s.state, Timeline: s.timeline, Checkpoint: s.checkpoint, WALLogHints: true,
	}}
	switch s.state {
	case postgres.ControlShutDown:
		o.Control.CheckpointEnd = s.checkpoint + recordSize
	case postgres.ControlShutDownInRecovery, postgres.ControlArchiveRecovery:
		o.Control.MinRecoveryEnd, o.Control.MinRecoveryTimeline = s.lsn, s.timeline
	}
	if s.pid == 0 {
		return o
	}
	o.Postmaster, o.Accepting, o.Closed = &postgres.Postmaster{PID: s.pid, Start: 1}, postgres.AcceptingYes, s.closed
	o.SQL = &postgres.SQLFacts{InRecovery: s.recovery, Timeline: s.timeline, Flush: s.lsn}
	if s.recovery {
		o.SQL.Flush, o.SQL.Received, o.SQL.Replayed = 0, s.lsn, s.lsn
		if s.source() != nil {
			o.SQL.Receiver = &postgres.Receiver{Status: "streaming", Host: s.upstream, Port: 5432}
		}
	}
	return o
}

// Run implements ha.Postgres.
func (s *server) Run(_ context.Context, t postgres.Task, phase func(postgres.Phase)) (postgres.Outcome, error) {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	if !s.works {
		return postgres.Outcome{}, errors.New("the machine is off")
	}
	defer s.lab.flow()
	switch t.Kind {
	case postgres.TaskBootstrap:
		s.data, s.timeline, s.lsn, s.closed = true, 1, 0x3000000, true
		s.launch(false)
		return postgres.Outcome{SystemID: systemID}, nil
	case postgres.TaskOpen:
		s.closed = false
	case postgres.TaskStart:
		s.follow(t.Upstream)
		s.launch(!t.AsPrimary)
	case postgres.TaskFollow:
		s.follow(t.Upstream)
	case postgres.TaskStop:
		return s.shutDown(phase), nil
	case postgres.TaskRecover:
		s.log(postgres.ControlShutDown)
	case postgres.TaskPromote:
		s.history = append(slices.Clone(s.history), postgres.Switch{Parent: s.timeline, LSN: s.lsn, Reason: "no recovery target specified"})
		s.timeline = max(s.timeline+1, t.Timeline)
		s.standby, s.recovery, s.state = false, false, postgres.ControlInProduction
	case postgres.TaskClone, postgres.TaskRewind:
		return postgres.Outcome{}, s.copyFrom(s.lab.servers[t.Upstream.Host])
	case postgres.TaskLineage:
		return s.lab.servers[t.Upstream.Host].lineage()
	case postgres.TaskWipe:
		s.data = false
	}
	return postgres.Outcome{}, nil
}

// Configure implements ha.Postgres.
func (s *server) Configure(context.Context, postgres.Settings) error { return nil }

// EnsureSlots implements ha.Postgres.
func (s *server) EnsureSlots(context.Context, []string) error { return nil }

// Exits implements ha.Postgres. No server here ends by itself.
func (s *server) Exits() <-chan postgres.Exit { return nil }

// Disturbed implements ha.Postgres. Nothing else happens to one, either.
func (s *server) Disturbed() <-chan postgres.Postmaster { return nil }

// Kill implements ha.Postgres.
func (s *server) Kill(string) error {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	s.pid = 0
	return nil
}

// power switches the machine on or off, without asking anything that runs on it.
func (s *server) power(on bool) {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	s.works, s.pid = on, 0
}

// write commits a row, as a client would.
func (s *server) write(row string) error {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	if s.pid == 0 || s.recovery || s.closed {
		return errors.New(s.name + " takes no writes")
	}
	s.rows = append(slices.Clone(s.rows), row)
	s.lsn += recordSize
	s.lab.flow()
	return nil
}

func (s *server) launch(recovery bool) {
	s.lab.pids++
	s.pid, s.recovery, s.standby, s.state = s.lab.pids, recovery, recovery, postgres.ControlInProduction
	if recovery {
		s.state = postgres.ControlArchiveRecovery
	}
}

func (s *server) follow(up *postgres.Upstream) {
	s.upstream = ""
	if up != nil {
		s.upstream = up.Host
	}
}

// log ends the log with a shutdown checkpoint.
func (s *server) log(state postgres.ControlState) {
	s.checkpoint, s.state = s.lsn, state
	s.lsn += recordSize
}

// shutDown ends the server in order: whoever streams from it has the end of its log when it is gone.
func (s *server) shutDown(phase func(postgres.Phase)) postgres.Outcome {
	out := postgres.Outcome{Clean: true}
	if s.recovery {
		s.state = postgres.ControlShutDownInRecovery
	} else if s.pid != 0 {
		s.log(postgres.ControlShutDown)
		s.lab.flow()
		out.End = s.lsn
		phase(postgres.Phase{Name: postgres.PhaseShutDown, LSN: s.lsn})
	}
	s.pid = 0
	return out
}

// lineage is what a server says of itself over the replication protocol.
func (s *server) lineage() (postgres.Outcome, error) {
	if s.pid == 0 {
		return postgres.Outcome{}, errors.New("connection refused")
	}
	return postgres.Outcome{Lineage: &postgres.Lineage{SystemID: systemID, Timeline: s.timeline, InRecovery: s.recovery, LSN: s.lsn, History: s.history}}, nil
}

// copyFrom makes the data directory a standby's of up.
func (s *server) copyFrom(up *server) error {
	if up.pid == 0 {
		return errors.New("connection refused")
	}
	s.data, s.standby, s.state = true, true, postgres.ControlArchiveRecovery
	s.rows, s.lsn, s.timeline, s.history = up.rows, up.lsn, up.timeline, up.history
	return nil
}

// source is the server that s streams from; nil: it streams from none, as none is named or their logs do not fit.
func (s *server) source() *server {
	up := s.lab.servers[s.upstream]
	switch {
	case s.pid == 0 || !s.recovery || up == nil || up.pid == 0 || s.timeline > up.timeline:
		return nil
	case s.timeline == up.timeline && s.lsn <= up.lsn:
		return up
	}
	if point, ok := up.history.SwitchPoint(s.timeline); ok && s.lsn <= point {
		return up
	}
	return nil
}

// flow lets every standby receive what its upstream has. The lock is held.
func (l *lab) flow() {
	for range l.servers { // once for each level that a cascade can have
		for _, s := range l.servers {
			if up := s.source(); up != nil {
				s.rows, s.lsn, s.timeline, s.history = up.rows, up.lsn, up.timeline, up.history
			}
		}
	}
}

// follows says whether the one server streams from the other.
func (l *lab) follows(name, upstream string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.servers[name]
	return s.upstream == upstream && s.source() != nil
}

// contents is what a server holds.
func (l *lab) contents(name string) (rows int, timeline postgres.Timeline) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.servers[name].rows), l.servers[name].timeline
}
