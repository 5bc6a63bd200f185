package hatest

import (
	"errors"
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// record is one entry of a server's log: a row that a client wrote, or (row 0) a checkpoint. lsn is where it ends.
type record struct {
	tl  postgres.Timeline
	lsn postgres.LSN
	row int
}

// recordSize is the length of every record of the model.
const recordSize = 100

// server is the model of PostgreSQL: a data directory, and a postmaster if pid is not 0.
type server struct {
	n *node
	w *World

	// What a restart finds.
	dir         postgres.DataDir
	unfinished  postgres.TaskKind
	sysid       string
	log         []record
	history     postgres.History
	tl          postgres.Timeline
	state       postgres.ControlState
	checkpoint  postgres.LSN // start of the last shutdown checkpoint
	controlTL   postgres.Timeline
	standby     bool // standby.signal
	upstream    string
	onlyPrimary bool // target_session_attrs=primary

	// The running postmaster.
	pid        int
	inRecovery bool
	closed     bool
	stopping   bool // clients are gone
	ready      bool
	readyAt    time.Time
	streaming  bool
}

// end is the end of the log.
func (s *server) end() postgres.LSN {
	if len(s.log) == 0 {
		return startLSN
	}
	return s.log[len(s.log)-1].lsn
}

const startLSN postgres.LSN = 0x3000000

// writable says whether an ordinary client's commit would be acknowledged now.
func (s *server) writable() bool {
	return s.pid != 0 && s.ready && !s.inRecovery && !s.closed && !s.stopping
}

// write appends a row and acknowledges it.
func (s *server) write(row int) {
	s.log = append(s.log, record{s.tl, s.end() + recordSize, row})
}

// observe is one look at the server.
func (s *server) observe() postgres.Observation {
	o := postgres.Observation{DataDir: s.dir, Unfinished: s.unfinished}
	if s.dir == postgres.DataDirEmpty {
		return o
	}
	o.Control = &postgres.Control{SystemID: s.sysid, State: s.state, Timeline: s.controlTL, Checkpoint: s.checkpoint, WALLogHints: true}
	if s.state == postgres.ControlShutDown {
		o.Control.CheckpointEnd = s.checkpoint + recordSize
	}
	if s.state == postgres.ControlShutDownInRecovery || s.state == postgres.ControlArchiveRecovery {
		o.Control.MinRecoveryEnd, o.Control.MinRecoveryTimeline = s.end(), s.tl
	}
	if s.controlTL == s.tl {
		o.History = s.history
	}
	o.Standby, o.Closed = s.standby, s.closed
	if s.pid == 0 {
		return o
	}
	o.Postmaster = &postgres.Postmaster{PID: s.pid, Start: uint64(s.pid)}
	if !s.ready || s.stopping {
		o.Accepting, o.SQLError = postgres.AcceptingStarting, "the database system is starting up or shutting down"
		return o
	}
	o.Accepting = postgres.AcceptingYes
	o.SQL = &postgres.SQLFacts{InRecovery: s.inRecovery, Timeline: s.tl, ServerVersion: 150000}
	if s.inRecovery {
		o.SQL.Received, o.SQL.Replayed = s.end(), s.end()
		if s.streaming {
			o.SQL.Receiver = &postgres.Receiver{Status: "streaming", Host: s.upstream, Port: 5432}
		}
	} else {
		o.SQL.Flush = s.end()
	}
	return o
}

// start begins a postmaster; it lets clients in later.
func (s *server) start(asPrimary bool, up *postgres.Upstream) {
	s.w.pids++
	s.pid, s.ready, s.stopping, s.streaming = s.w.pids, false, false, false
	s.standby, s.inRecovery = !asPrimary, true
	s.follow(up)
	if !asPrimary && (s.state == postgres.ControlInProduction || s.state == postgres.ControlShutDown) {
		s.state = postgres.ControlArchiveRecovery
	}
}

// started lets clients in.
func (s *server) started(asPrimary bool) {
	s.ready, s.inRecovery, s.readyAt = true, !asPrimary, s.w.eng.now
	if asPrimary {
		s.state = postgres.ControlInProduction
	} else {
		s.state = postgres.ControlArchiveRecovery
	}
}

// die ends the postmaster without a shutdown checkpoint.
func (s *server) die() {
	if s.pid == 0 {
		return
	}
	pid := s.pid
	s.pid, s.ready, s.stopping, s.streaming = 0, false, false, false
	s.n.exited(pid)
}

// shutDown is the moment in which an orderly stop has written its checkpoint; WAL senders still drain.
func (s *server) shutDown() postgres.LSN {
	if s.inRecovery {
		s.state = postgres.ControlShutDownInRecovery
		return 0
	}
	s.checkpoint = s.end()
	s.log = append(s.log, record{s.tl, s.end() + recordSize, 0})
	s.state, s.controlTL = postgres.ControlShutDown, s.tl
	return s.end()
}

// promote makes the standby a primary on a new timeline.
func (s *server) promote(tl postgres.Timeline) {
	s.history = append(s.history[:len(s.history):len(s.history)], postgres.Switch{Parent: s.tl, LSN: s.end(), Reason: "no recovery target specified"})
	s.tl = max(tl, s.tl+1)
	s.inRecovery, s.standby, s.streaming = false, false, false
	s.state = postgres.ControlInProduction
	s.w.promoted(s)
}

// pull copies what the upstream has, as a WAL receiver does, if the two logs fit.
func (s *server) pull(up *server) {
	was := s.streaming
	s.streaming = false
	if s.onlyPrimary && up.inRecovery {
		return
	}
	if up.pid == 0 || up.dir != postgres.DataDirReady || (!up.ready && !up.stopping) || up.sysid != s.sysid {
		return
	}
	if s.tl > up.tl || (s.tl == up.tl && s.end() > up.end()) {
		return
	}
	if s.tl < up.tl {
		point, ok := up.history.SwitchPoint(s.tl)
		if !ok || s.end() > point {
			return
		}
	}
	s.streaming = true
	from := s.end()
	if from == up.end() && s.tl == up.tl && was {
		return // nothing new, and what is here was compared when it came
	}
	for i := len(up.log) - 1; i >= 0; i-- {
		if up.log[i].lsn <= from {
			s.log = append(s.log, up.log[i+1:]...)
			s.adopt(up)
			return
		}
	}
	s.log = append(s.log, up.log...)
	s.adopt(up)
}

// adopt takes over the timeline of what was received.
func (s *server) adopt(up *server) {
	s.tl, s.history, s.controlTL = up.tl, up.history, up.tl
	s.w.checkPrefix(s, up)
}

// lineage is what the server says of itself over the replication protocol.
func (s *server) lineage() (*postgres.Lineage, error) {
	if s.pid == 0 || !s.ready || s.stopping {
		return nil, errors.New("connection refused")
	}
	return &postgres.Lineage{SystemID: s.sysid, Timeline: s.tl, InRecovery: s.inRecovery, LSN: s.end(), History: s.history}, nil
}

// clone copies the upstream's data.
func (s *server) clone(up *server) error {
	if up.pid == 0 || !up.ready || up.stopping || up.closed {
		return fmt.Errorf("clone from %s: connection refused", up.n.name)
	}
	s.copyFrom(up)
	s.state = postgres.ControlArchiveRecovery
	return nil
}

// copyFrom makes the data directory what the upstream's is, as a standby's.
func (s *server) copyFrom(up *server) {
	s.dir, s.unfinished, s.sysid = postgres.DataDirReady, "", up.sysid
	s.log, s.history, s.tl, s.controlTL = append([]record(nil), up.log...), up.history, up.tl, up.tl
	s.standby = true
}

// wipe empties the data directory.
func (s *server) wipe() {
	*s = server{n: s.n, w: s.w, dir: postgres.DataDirEmpty}
}

// bootstrap makes a new cluster and leaves it running, closed.
func (s *server) bootstrap() {
	s.wipe()
	s.w.pids++
	s.dir, s.sysid, s.tl, s.controlTL = postgres.DataDirReady, fmt.Sprintf("70000000000000%05d", s.w.pids), 1, 1
	s.state, s.pid, s.ready, s.closed = postgres.ControlInProduction, s.w.pids, true, true
	s.log = []record{{1, startLSN + recordSize, 0}}
}

// bounded is a duration between two bounds.
func (w *World) bounded(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

// follow points the server at another.
func (s *server) follow(up *postgres.Upstream) {
	s.upstream, s.onlyPrimary, s.streaming = "", false, false
	if up != nil {
		s.upstream, s.onlyPrimary = up.Host, up.Primary
	}
}
