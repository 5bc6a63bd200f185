package instance

import (
	"context"
	"maps"
	"path/filepath"
	"sync"

	"github.com/tanist-ha/tanist/postgres"
)

// eye is what Observe keeps between two looks.
type eye struct {
	mu     sync.Mutex // one look at a time
	conn   postgres.Conn
	untrip func()              // ends the watch over conn's backend
	of     postgres.Postmaster // whose connection conn is
	memory timelineMemory

	diskMu  sync.Mutex
	disk    chan diskFacts // the look at the disk that is under way; nil: none
	control controlCache   // owned by that look

	pendingMu sync.Mutex
	pending   map[string][2]string
}

func (e *eye) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drop()
}

// drop gives the kept connection up. e.mu is held.
func (e *eye) drop() {
	if e.conn != nil {
		e.untrip()
		closeConn(e.conn)
		e.conn, e.untrip = nil, nil
	}
}

func (e *eye) setPending(p map[string][2]string) {
	e.pendingMu.Lock()
	e.pending = p
	e.pendingMu.Unlock()
}

// diskFacts is the part of an observation that files tell.
type diskFacts struct {
	dataDir postgres.DataDir
	problem string
	control *postgres.Control
	history postgres.History
	standby bool
	never   bool   // consistent
	status  string // of postmaster.pid

	unfinished postgres.TaskKind
	asked      postgres.Postmaster // told to promote
}

// Observe looks once, within the context's deadline. It never fails: what could not be seen is absent.
func (i *Instance) Observe(ctx context.Context) postgres.Observation {
	var o postgres.Observation
	d := i.lookAtDisk(ctx)
	o.DataDir, o.Problem, o.Control, o.History, o.Standby = d.dataDir, d.problem, d.control, d.history, d.standby
	o.Unfinished, o.Closed, o.NeverConsistent = d.unfinished, i.closed.Load(), d.never
	r := i.postmaster()
	if r == nil {
		i.eye.mu.Lock()
		i.eye.drop()
		i.eye.mu.Unlock()
		return o
	}
	o.Postmaster = &postgres.Postmaster{PID: r.id.PID, Start: r.id.Start}
	o.PromotionAsked = d.asked == r.id
	facts, err := i.lookBySQL(ctx, r)
	switch {
	case err == nil:
		o.SQL, o.Accepting = facts, postgres.AcceptingYes
	default:
		o.SQLError = err.Error()
		o.Accepting = acceptingDespite(err, d.status)
	}
	i.eye.pendingMu.Lock()
	o.PendingRestart = maps.Clone(i.eye.pending)
	i.eye.pendingMu.Unlock()
	return o
}

// acceptingDespite judges by the error of a connection, and by postmaster.pid if nothing answered.
func acceptingDespite(err error, status string) postgres.Accepting {
	switch code := serverCode(err); {
	case code == postgres.CodeCannotConnectNow:
		return postgres.AcceptingStarting
	case code == postgres.CodeAdminShutdown || code == postgres.CodeCrashShutdown:
		return postgres.AcceptingNo
	case code != "":
		return postgres.AcceptingYes // it refuses us, so it answers
	case status == statusStarting:
		return postgres.AcceptingStarting
	}
	return postgres.AcceptingNo
}

// lookAtDisk reads the files in a goroutine of their own: a disk that hangs must not hang the agent. At most one such
// goroutine exists.
func (i *Instance) lookAtDisk(ctx context.Context) diskFacts {
	e := &i.eye
	e.diskMu.Lock()
	result := e.disk
	if result == nil {
		result = make(chan diskFacts, 1)
		e.disk = result
		i.goroutines.Add(1)
		go func() {
			defer i.goroutines.Done()
			d := i.readDisk(ctx)
			e.diskMu.Lock()
			e.disk = nil
			e.diskMu.Unlock()
			result <- d
		}()
	}
	e.diskMu.Unlock()
	select {
	case d := <-result:
		result <- d // for others who wait for the same look
		return d
	case <-ctx.Done():
		return diskFacts{dataDir: postgres.DataDirUnreadable, problem: "the disk of the data directory does not answer"}
	}
}

func (i *Instance) readDisk(ctx context.Context) diskFacts {
	var d diskFacts
	d.dataDir, d.problem = i.condition()
	if m := i.readMarker(); m != nil && d.dataDir == postgres.DataDirUnfinished {
		d.unfinished = m.Work
	}
	if d.dataDir != postgres.DataDirReady && d.dataDir != postgres.DataDirUnfinished {
		return d
	}
	control, err := i.cachedControl(ctx, &i.eye.control)
	if err != nil {
		if d.dataDir == postgres.DataDirReady {
			d.problem = err.Error()
		}
	} else {
		d.control = control
		d.history, _ = i.readHistory(control.Timeline) // absent: then empty
		d.never, _ = i.neverConsistent(control)        // a label that cannot be read: PostgreSQL says so
	}
	d.asked = i.promotionAsked()
	d.standby = exists(filepath.Join(i.cfg.DataDir, "standby.signal"))
	if f, err := i.readPidFile(); err == nil && f != nil {
		d.status = f.status
		if r := i.current.Load(); r != nil {
			r.remember(f)
		}
	}
	return d
}
