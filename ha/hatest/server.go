package hatest

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// record is one entry of a server's log. lsn is where it ends; made tells it from every other record of the world.
type record struct {
	tl   postgres.Timeline
	lsn  postgres.LSN
	row  int // that a client wrote, or what else it is
	made int
}

// What else a record can be.
const (
	recordCheckpoint = 0
	recordOther      = -1 // the begin of a timeline, the end of a segment
	recordPage       = -2 // a page that nobody wrote
)

// pages says whether the record changes pages.
func (r record) pages() bool { return r.row > 0 || r.row == recordPage }

// recordSize is the length of every record of the model.
const recordSize = 100

// server is the model of PostgreSQL: a data directory, and a postmaster if pid is not 0. Package internal/modeltest holds it to the
// real one.
type server struct {
	n     *node
	w     *World
	asked int // pid of the postmaster that was told to promote last: a file says so

	// What a restart finds.
	dir         postgres.DataDir
	unfinished  postgres.TaskKind
	sysid       string
	log         []record
	files       map[postgres.Timeline]postgres.History // the history files in pg_wal; that of a number that was skipped is empty
	history     postgres.History                       // that of tl
	tl          postgres.Timeline                      // of the end of the log
	state       postgres.ControlState
	checkpoint  postgres.LSN // where the latest checkpoint record starts
	controlTL   postgres.Timeline
	minRecovery postgres.Position // how far it has to replay at least before it is consistent
	backup      *postgres.Position
	oldest      postgres.LSN // begin of the oldest segment in pg_wal; what lies before it is gone
	copied      bool         // a clone or rewind has made it, and it has never run: it may be started as a standby only
	incomplete  bool         // it is a copy that was never consistent
	standby     bool         // standby.signal
	upstream    string
	onlyPrimary bool // target_session_attrs=primary

	// The running postmaster.
	pid        int
	inRecovery bool
	target     postgres.Timeline // that recovery goes for
	closed     bool
	stopping   bool // clients are gone
	ready      bool
	readyAt    time.Time
	streaming  bool
	gone       []func() // what those do who wait for this postmaster, when it has died
	waiting    []int    // rows whose commits wait for a synchronous standby: they are not seen here yet
	astray     int      // pid of the postmaster that must not be promoted: it goes for a timeline that it has not reached
	orphans    bool     // the postmaster is dead, and its backends go on answering
	awaited    func()   // what is done when the standby is consistent; nil: nobody waits for that
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
	return !s.n.frozen && (s.orphans || (s.pid != 0 && s.ready && !s.inRecovery && !s.closed && !s.stopping))
}

// write appends a row and acknowledges it.
func (s *server) write(row int) {
	s.w.records++
	s.log = append(s.log, record{s.tl, s.end() + recordSize, row, s.w.records})
}

// writeCheckpoint appends a checkpoint, to which pg_control points from then on.
func (s *server) writeCheckpoint() {
	s.checkpoint, s.controlTL, s.minRecovery = s.end(), s.tl, postgres.Position{}
	s.write(recordCheckpoint)
}

// switchSegment fills the rest of the segment.
func (s *server) switchSegment() {
	s.write(recordOther)
	last := &s.log[len(s.log)-1]
	last.lsn = segment(last.lsn) + segmentSize
}

// restartpoint is what a standby has instead of a checkpoint: the newest one that it has replayed. It has to replay at least up to the
// end of what had changed pages by then.
func (s *server) restartpoint() {
	min, changed, performed := s.minRecovery.LSN, false, false
	for i := len(s.log) - 1; i >= 0; i-- {
		r := s.log[i]
		changed = changed || (r.lsn > min && r.pages())
		if r.row == recordCheckpoint && r.lsn-recordSize > s.checkpoint {
			s.checkpoint, s.controlTL, performed = r.lsn-recordSize, r.tl, true
			s.raiseMinimum(r.tl, r.lsn)
		}
		if performed || r.lsn <= s.checkpoint {
			break
		}
	}
	if changed || !performed {
		s.raiseMinimum(s.tl, s.end())
	}
}

// raiseMinimum notes that a standby has to replay at least up to l.
func (s *server) raiseMinimum(tl postgres.Timeline, l postgres.LSN) {
	if l > s.minRecovery.LSN {
		s.minRecovery = postgres.Position{Timeline: tl, LSN: l}
	}
}

// observe is one look at the server.
func (s *server) observe() postgres.Observation {
	o := postgres.Observation{DataDir: s.dir, Unfinished: s.unfinished}
	if s.dir == postgres.DataDirEmpty {
		return o
	}
	o.Control = &postgres.Control{SystemID: s.sysid, State: s.state, Timeline: s.controlTL, Checkpoint: s.checkpoint, WALLogHints: true,
		MinRecoveryEnd: s.minRecovery.LSN, MinRecoveryTimeline: s.minRecovery.Timeline}
	if s.state == postgres.ControlShutDown || s.state == postgres.ControlShutDownInRecovery {
		o.Control.CheckpointEnd = s.checkpoint + recordSize
	}
	o.History = s.files[s.controlTL]
	o.Standby, o.Closed, o.NeverConsistent = s.standby, s.closed, s.incomplete
	if s.pid == 0 {
		return o
	}
	o.Postmaster, o.PromotionAsked = &postgres.Postmaster{PID: s.pid, Start: uint64(s.pid)}, s.asked == s.pid
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

// start begins a postmaster; it lets clients in later, unless it finds that its log cannot be replayed: then it is to end.
func (s *server) start(asPrimary bool, up *postgres.Upstream) error {
	if s.copied && asPrimary {
		return errors.New("the data directory can only be started as a standby")
	}
	if s.orphans {
		return errors.New("pre-existing shared memory block is still in use")
	}
	if s.dir != postgres.DataDirReady {
		s.w.violate("%s is started on a data directory that is %s", s.n.name, s.dir)
	}
	s.dropSkipped()
	s.w.pids++
	s.pid, s.ready, s.stopping, s.streaming, s.awaited = s.w.pids, false, false, false, nil
	s.standby, s.inRecovery = !asPrimary, true
	s.follow(up)
	s.target = max(s.controlTL, s.minRecovery.Timeline)
	if asPrimary {
		return nil
	}
	if err := s.aim(); err != nil {
		return err
	}
	s.enterRecovery()
	return nil
}

// enterRecovery writes into pg_control that the server replays as a standby.
func (s *server) enterRecovery() {
	crashed := s.state == postgres.ControlInProduction && s.backup == nil && s.minRecovery.LSN == 0
	if s.backup != nil { // what the backup began with is the latest checkpoint now
		s.checkpoint, s.controlTL, s.backup = s.backup.LSN, s.backup.Timeline, nil
	}
	if crashed {
		s.minRecovery = postgres.Position{Timeline: s.tl, LSN: s.end()}
	} else {
		s.raiseMinimum(s.controlTL, s.checkpoint)
	}
	s.state = postgres.ControlArchiveRecovery
}

// started lets clients in.
func (s *server) started(asPrimary bool) {
	s.ready, s.inRecovery, s.readyAt, s.copied, s.incomplete = true, !asPrimary, s.w.eng.now, false, false
	if !asPrimary {
		return
	}
	if s.state != postgres.ControlShutDown {
		s.writeCheckpoint() // crash recovery ends with one
	}
	s.state = postgres.ControlInProduction
}

// die ends the postmaster without a shutdown checkpoint.
func (s *server) die() {
	if s.pid == 0 {
		return
	}
	pid, gone := s.pid, s.gone
	s.pid, s.ready, s.stopping, s.streaming, s.waiting, s.gone, s.awaited = 0, false, false, false, nil, nil, nil
	s.n.exited(pid)
	for _, f := range gone {
		s.n.later(time.Millisecond, f)
	}
	for _, g := range s.n.guards {
		if g.target == pid && !g.dead {
			g.targetDied()
		}
	}
}

// shutDown is the moment in which an orderly stop has written its checkpoint; WAL senders still drain.
func (s *server) shutDown() postgres.LSN {
	if s.inRecovery {
		s.restartpoint()
		s.state = postgres.ControlShutDownInRecovery
		return 0
	}
	s.writeCheckpoint()
	s.state = postgres.ControlShutDown
	return s.end()
}

// recoverSingle is crash recovery in single-user mode: a log that ends with a shutdown checkpoint. It goes for the timeline that pg_control tells
// of: what a standby had replayed of later ones is left out. A copy that was never consistent has no upstream there that would make it so.
func (s *server) recoverSingle() error {
	if s.incomplete {
		return errors.New("the copy was never consistent")
	}
	if s.state == postgres.ControlShutDown || s.state == postgres.ControlShutDownInRecovery {
		return nil
	}
	last := max(s.controlTL, s.minRecovery.Timeline)
	for len(s.log) > 0 && s.log[len(s.log)-1].tl > last {
		s.log = s.log[:len(s.log)-1]
	}
	s.arrive()
	s.writeCheckpoint() // the end of recovery
	s.switchSegment()   // archiving is on, so that nothing that was not archived is removed
	s.writeCheckpoint()
	s.state, s.standby = postgres.ControlShutDown, true
	return nil
}

// checkpointNow is the command CHECKPOINT.
func (s *server) checkpointNow() error {
	switch {
	case s.pid == 0 || !s.ready || s.stopping:
		return errors.New("connection refused")
	case s.inRecovery:
		s.restartpoint()
	default:
		s.writeCheckpoint()
	}
	return nil
}

// checkReached refuses to promote a server that goes for a timeline which it has not reached, as the real executor does.
func (s *server) checkReached(end postgres.LSN) error {
	for t, h := range s.files {
		if end != 0 && len(h) > 0 && h[len(h)-1].LSN > end {
			delete(s.files, t)
			s.astray = s.pid
		}
	}
	if s.astray != 0 && s.astray == s.pid {
		return errors.New("pg_wal has the history of a timeline that was not reached: the server has to be restarted first")
	}
	return nil
}

// promote makes the standby a primary on a new timeline.
func (s *server) promote(want postgres.Timeline) error {
	if want != 0 {
		if err := s.reserve(want); err != nil {
			return err
		}
	}
	s.history = append(s.files[s.target][:len(s.files[s.target]):len(s.files[s.target])],
		postgres.Switch{Parent: s.target, LSN: s.end(), Reason: "no recovery target specified"})
	s.tl = s.newest(s.target) + 1
	s.target = s.tl
	s.files[s.tl] = s.history
	s.inRecovery, s.standby, s.streaming = false, false, false
	s.write(recordOther)
	s.minRecovery = postgres.Position{Timeline: s.tl, LSN: s.end()}
	s.state = postgres.ControlInProduction
	s.w.promoted(s)
	return nil
}

// lineage is what the server says of itself over the replication protocol.
func (s *server) lineage() (*postgres.Lineage, error) {
	if s.pid == 0 || !s.ready || s.stopping || s.closed {
		return nil, errors.New("connection refused")
	}
	return &postgres.Lineage{SystemID: s.sysid, Timeline: s.tl, InRecovery: s.inRecovery, LSN: s.end(), History: s.history}, nil
}

// clone copies the upstream's data.
func (s *server) clone(up *server) error {
	if up.pid == 0 || !up.ready || up.stopping || up.closed {
		return fmt.Errorf("clone from %s: connection refused", up.n.name)
	}
	if up.inRecovery {
		up.restartpoint()
	} else {
		if up.end() != segment(up.end()) {
			up.switchSegment() // a backup begins with a segment of its own
		}
		up.writeCheckpoint()
	}
	start := postgres.Position{Timeline: up.controlTL, LSN: up.checkpoint}
	if !up.inRecovery {
		up.switchSegment() // at the end of a backup
	}
	s.copyFrom(up, start)
	s.state, s.oldest = up.state, segment(start.LSN)   // it streams the log from there on
	s.files = map[postgres.Timeline]postgres.History{} // a base backup brings those that it passes
	for t, h := range up.files {
		if _, passed := up.history.SwitchPoint(t); t == up.tl || (passed && t >= start.Timeline) {
			s.files[t] = h
		}
	}
	return nil
}

// copyFrom makes the data directory what the upstream's is, as a standby's that begins to replay at start.
func (s *server) copyFrom(up *server, start postgres.Position) {
	s.dir, s.unfinished, s.sysid = postgres.DataDirReady, "", up.sysid
	s.log, s.files, s.history, s.tl = append([]record(nil), up.log...), maps.Clone(up.files), up.history, up.tl
	s.checkpoint, s.controlTL, s.minRecovery, s.backup = up.checkpoint, up.controlTL, up.minRecovery, &start
	s.standby, s.copied, s.incomplete, s.oldest = true, true, true, up.oldest
}

// keeps says whether the log from the segment of l on can be read here. There is no archive.
func (s *server) keeps(l postgres.LSN) bool { return segment(l) >= s.oldest }

// wipe empties the data directory.
func (s *server) wipe() {
	*s = server{n: s.n, w: s.w, dir: postgres.DataDirEmpty}
}

// bootstrap makes a new cluster and leaves it running, closed.
func (s *server) bootstrap() {
	s.wipe()
	s.w.pids++
	s.dir, s.sysid, s.tl = postgres.DataDirReady, fmt.Sprintf("70000000000000%05d", s.w.pids), 1
	s.files = map[postgres.Timeline]postgres.History{}
	s.state, s.pid, s.ready, s.closed = postgres.ControlInProduction, s.w.pids, true, true
	s.writeCheckpoint()
}

// bounded is a duration between two bounds.
func (w *World) bounded(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}
