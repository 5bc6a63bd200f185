package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// ourPostmaster is the server that runs here.
var ourPostmaster = postgres.Postmaster{PID: 100, Start: 100}

// readLocal: unknown | empty | unfinished TASK | foreign TEXT | unreadable TEXT | down | starting | standby | primary, then
// [tl N] [control STATE] [control-tl N] [signal] [sysid ID] [runs] [silent] [lsn LSN] [history N@LSN ...] and [seen TIME] [stale] [closed]
// [streaming] [not-streaming TIME] [crashed TIME] [unswept] [was-primary] [cloned] [start-failed N TIME] [stray-history] [promotion-asked] [asked] [never-consistent]. A STATE has hyphens.
func readLocal(s *situation, w *words) {
	l := &s.v.Local
	kind := w.next()
	if !s.localKind(kind, w) {
		return
	}
	for w.more() {
		x := w.next()
		if s.localState(x, w) {
			continue
		}
		switch x {
		case "seen":
			l.Sent = w.time()
			l.At = l.Sent
		case "stale":
			l.Stale = true
		case "closed":
			l.Closed, l.Obs.Closed = true, true
		case "not-streaming":
			l.NotStreaming = w.time()
		case "crashed":
			l.Crashed, l.WasPrimary = w.time(), true
		case "unswept":
			l.Unswept = true
		case "was-primary":
			l.WasPrimary = true
		case "cloned":
			l.Cloned = true
		case "start-failed":
			l.StartFailures, l.StartFailed, l.StartProblem = w.number(), w.time(), "could not start"
		case "stray-history":
			l.StartProblem = "FATAL:  requested timeline 6 is not a child of this server's history"
		case "never-consistent":
			l.Obs.NeverConsistent = true
		case "asked": // by an earlier run of the agent
			l.Obs.PromotionAsked = true
		case "promotion-asked":
			l.PromotionAsked = ourPostmaster
		default:
			w.unknown(x)
		}
	}
}

// localKind sets the kind of the server; false: there is no more to say.
func (s *situation) localKind(kind string, w *words) bool {
	l := &s.v.Local
	o := &l.Obs
	switch kind {
	case "unknown":
		l.Known = false
		o.DataDir, o.Control = "", nil
	case "empty":
		o.DataDir, o.Control = postgres.DataDirEmpty, nil
	case "unfinished":
		o.DataDir, o.Control, o.Unfinished = postgres.DataDirUnfinished, nil, postgres.TaskKind(w.next())
	case "foreign", "unreadable":
		o.DataDir, o.Control, o.Problem = postgres.DataDir(kind), nil, w.text()
		return false
	case "down":
	case "starting", "standby", "primary":
		s.localRuns(kind)
	default:
		w.unknown(kind)
	}
	return true
}

// localRuns makes the server one that runs.
func (s *situation) localRuns(kind string) {
	l := &s.v.Local
	o := &l.Obs
	pm := ourPostmaster
	o.Postmaster, o.Standby = &pm, kind != "primary"
	o.Control.State = postgres.ControlArchiveRecovery
	if kind == "starting" {
		o.Accepting, o.SQLError = postgres.AcceptingStarting, "the database system is starting up"
		return
	}
	o.Accepting, o.SQL = postgres.AcceptingYes, &postgres.SQLFacts{InRecovery: kind == "standby", Timeline: 1, ServerVersion: 150000}
	s.localPosition(0x90)
	if kind == "primary" {
		o.Control.State, l.WasPrimary = postgres.ControlInProduction, true
	}
}

// localPosition sets how far the log reaches.
func (s *situation) localPosition(lsn postgres.LSN) {
	o := &s.v.Local.Obs
	switch {
	case o.SQL != nil && o.SQL.InRecovery:
		o.SQL.Received, o.SQL.Replayed = lsn, lsn
	case o.SQL != nil:
		o.SQL.Flush = lsn
	case o.Control == nil:
	case o.Control.State == postgres.ControlShutDownInRecovery || o.Control.State == postgres.ControlArchiveRecovery:
		o.Control.MinRecoveryEnd, o.Control.MinRecoveryTimeline = lsn, o.Control.Timeline
	default:
		o.Control.Checkpoint, o.Control.CheckpointEnd = lsn, lsn+recordSize
	}
}

// localState reads a word that concerns what was observed; false: it is another word.
func (s *situation) localState(x string, w *words) bool {
	o := &s.v.Local.Obs
	switch x {
	case "tl":
		tl := w.timeline()
		if o.SQL != nil {
			o.SQL.Timeline = tl
		}
		if o.Control != nil {
			o.Control.Timeline = tl
		}
	case "control-tl":
		o.Control.Timeline = w.timeline()
	case "lsn":
		s.localPosition(w.lsn())
	case "control":
		o.Control.State = controlState(w.next())
	case "signal":
		o.Standby = true
	case "sysid":
		o.Control.SystemID = w.next()
	case "history":
		o.History = w.switches()
	case "runs": // a server on a data directory that should have none
		pm := ourPostmaster
		o.Postmaster, o.Accepting = &pm, postgres.AcceptingStarting
	case "silent": // it runs and does not answer
		o.SQL, o.SQLError, o.Accepting = nil, "timeout", postgres.AcceptingNo
	case "streaming":
		o.SQL.Receiver = &postgres.Receiver{Status: "streaming", Timeline: o.SQL.Timeline, Port: 5432}
	default:
		return false
	}
	return true
}

// controlState reads a state of pg_control, with hyphens for spaces.
func controlState(x string) postgres.ControlState {
	b := []byte(x)
	for i := range b {
		if b[i] == '-' {
			b[i] = ' '
		}
	}
	return postgres.ControlState(b)
}

// readUpstream: NAME | none: whom our server was last configured to stream from by us.
func readUpstream(s *situation, w *words) {
	if s.upstream = w.next(); s.upstream == "none" {
		s.upstream = "-"
	}
}

// readRejoin: lineage tl N lsn LSN [in-recovery] [sysid ID] [switches N@LSN ...] | [since TIME] [asked TIME] [first TIME] [tries N] [recovered] [rewinds N]
// [failed TIME TEXT].
func readRejoin(s *situation, w *words) {
	r := &s.v.Rejoin
	for w.more() {
		switch x := w.next(); x {
		case "lineage":
			r.Lineage, r.At = &postgres.Lineage{SystemID: SystemID, Timeline: 1}, s.now.Add(-time.Second)
		case "tl":
			r.Lineage.Timeline = w.timeline()
		case "lsn":
			r.Lineage.LSN = w.lsn()
		case "in-recovery":
			r.Lineage.InRecovery = true
		case "sysid":
			r.Lineage.SystemID = w.next()
		case "switches":
			r.Lineage.History = w.switches()
		case "asked":
			r.At = w.time()
		case "since":
			r.Since = w.time()
		case "first":
			r.First = w.time()
		case "tries":
			r.Tries = w.number()
		case "recovered":
			r.Recovered = true
		case "rewinds":
			r.Rewinds = w.number()
		case "failed":
			r.Failed, r.Problem = w.time(), w.text()
		default:
			w.unknown(x)
		}
	}
}
