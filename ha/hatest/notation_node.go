package hatest

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// readMe: NAME [can-found] [unfenced] [started TIME].
func readMe(s *situation, w *words) {
	name := w.next()
	s.v.Self = ha.Self{Name: name, Scope: "demo", Version: "4.1.4", StartID: name + "-1", Started: s.now.Add(-time.Hour), Fence: "guard", Fenced: true,
		ConnURL: connURL(name), APIURL: apiURL(name)}
	for w.more() {
		switch x := w.next(); x {
		case "can-found":
			s.v.Self.CanFound = true
		case "unfenced":
			s.v.Self.Fence, s.v.Self.Fenced = "unfenced", false
		case "started":
			s.v.Self.Started = w.time()
		default:
			w.unknown(x)
		}
	}
}

func connURL(name string) string { return "postgres://" + name + ":5432/postgres" }
func apiURL(name string) string  { return "http://" + name + ":8008/patroni" }

// readTags: [nofailover] [priority N].
func readTags(s *situation, w *words) {
	for w.more() {
		switch x := w.next(); x {
		case "nofailover":
			s.v.Settings.Tags.NoFailover = true
		case "priority":
			s.v.Settings.Tags.FailoverPriority = w.number()
		default:
			w.unknown(x)
		}
	}
}

// readSettings: [ttl D] [loop D] [retry D] [lag BYTES] [handover D] [start-timeout D] [check-timeline] [standby-cluster] [slots] [no-rewind] [wipe] [unknown]
// wipe: a diverged data directory may be removed; unknown: the server was not told them yet.
func readSettings(s *situation, w *words) {
	t := &s.v.Settings
	for w.more() {
		switch x := w.next(); x {
		case "ttl":
			t.TTL = w.duration()
			s.v.AskedTTL, s.v.Session.TTL = t.TTL, t.TTL
		case "loop":
			t.LoopWait = w.duration()
		case "retry":
			t.RetryTimeout = w.duration()
		case "lag":
			t.MaximumLagOnFailover = int64(w.number())
		case "handover":
			t.HandoverTimeout = w.duration()
		case "start-timeout":
			t.PrimaryStartTimeout = w.duration()
		case "check-timeline":
			t.CheckTimeline = true
		case "standby-cluster":
			t.StandbyCluster = true
		case "slots":
			t.Postgres.UseSlots = true
		case "no-rewind":
			t.Postgres.UsePgRewind = false
		case "wipe":
			t.Postgres.RemoveOnDiverged = true
		case "unknown":
			s.v.Configured.Sent, s.v.Configured.Done = 0, 0
		default:
			w.unknown(x)
		}
	}
}

// readStore: [unknown] [read TIME] [stale] [urgent] [tried TIME] [failed TIME] [problem TEXT].
func readStore(s *situation, w *words) {
	t := &s.v.Store
	for w.more() {
		switch x := w.next(); x {
		case "unknown":
			*t = ha.StoreView{}
		case "read":
			t.Sent = w.time()
			t.At, t.Tried = t.Sent, t.Sent
		case "stale":
			t.Stale = true
		case "urgent":
			t.Stale, t.Urgent = true, true
		case "tried":
			t.Tried = w.time()
		case "failed":
			t.FailedAt = w.time()
		case "problem":
			t.Problem = w.text()
		default:
			w.unknown(x)
		}
	}
}

// readSession: none | [kept TIME] [failed TIME].
func readSession(s *situation, w *words) {
	for w.more() {
		switch x := w.next(); x {
		case "none":
			s.v.Session = ha.SessionView{}
		case "kept":
			s.v.Session.Kept = w.time()
			s.v.Session.Sent = s.v.Session.Kept
		case "failed":
			s.v.Session.Failed = w.time()
		default:
			w.unknown(x)
		}
	}
}

// readLease: held | doubt | lost | promised, then [sent TIME] [by-failsafe TIME] [since TIME] [timeline N] [late TIME] [renew-failed TIME] [giving] [cause TEXT]. A lease that is
// held shows in the store as well, unless a line for the leader comes later.
func readLease(s *situation, w *words) {
	l := &s.v.Lease
	switch x := w.next(); x {
	case "held", "doubt", "lost", "promised":
		l.State = ha.LeaseState(x)
	case "none":
		l.State = ha.LeaseNone
	default:
		w.unknown(x)
	}
	l.Since, l.Decided = s.now.Add(-time.Minute), s.now.Add(-time.Minute)
	if l.State == ha.LeaseHeld {
		l.Auth = ha.Authority{Sent: s.now.Add(-time.Second), TTL: s.v.Settings.TTL}
		l.Leader = dcs.Meta{Version: 10, Created: 10, Session: ourSession}
		s.v.Store.Cluster.Leader = &dcs.Leader{Name: s.v.Self.Name, Meta: l.Leader}
	}
	if l.State == ha.LeasePromised {
		l.Auth = ha.Authority{Sent: s.now.Add(-time.Second), TTL: s.v.Settings.TTL, ByFailsafe: true}
	}
	for w.more() {
		switch x := w.next(); x {
		case "sent":
			l.Auth.Sent = w.time()
			s.v.Session.Kept, s.v.Session.Sent = l.Auth.Sent, l.Auth.Sent
		case "by-failsafe":
			l.Auth.Sent, l.Auth.ByFailsafe = w.time(), true
		case "since":
			l.Since = w.time()
		case "timeline":
			l.Timeline = w.timeline()
		case "late":
			l.Late, l.Looked = true, w.time()
		case "renew-failed":
			l.RenewFailed, l.RenewProblem = w.time(), "timeout"
		case "giving":
			l.Giving = true
		case "cause":
			l.Cause = w.text()
		default:
			w.unknown(x)
		}
	}
}

// readClaim: [mine] [founded] [failed TIME].
func readClaim(s *situation, w *words) {
	for w.more() {
		switch x := w.next(); x {
		case "mine":
			s.mine = true
		case "founded":
			s.v.Initialize.Founded = true
		case "failed":
			s.v.Initialize.Failed = w.time()
		default:
			w.unknown(x)
		}
	}
}

// readTask: KIND [with NAME] [why WHY] [since TIME] [by TIME] [as-primary] [phase NAME] [says TEXT] [cancelled TIME].
func readTask(s *situation, w *words) {
	t := &ha.TaskView{ID: 7, Task: postgres.Task{Kind: postgres.TaskKind(w.next())}, Since: s.now.Add(-time.Second)}
	for w.more() {
		switch x := w.next(); x {
		case "with":
			t.Task.Upstream = &postgres.Upstream{Name: w.next()}
		case "why":
			t.Why = ha.Why(w.next())
		case "since":
			t.Since = w.time()
		case "by":
			t.Task.By = w.time()
		case "as-primary":
			t.Task.AsPrimary = true
		case "phase":
			t.Phase = postgres.PhaseName(w.next())
		case "says":
			t.Text = w.text()
		case "cancelled":
			t.CancelledAt, t.Cancelled = w.time(), "not needed any more"
		default:
			w.unknown(x)
		}
	}
	s.v.Task = t
	s.v.Lanes[ha.LanePostgres] = ha.Flight{ID: t.ID, Since: t.Since, Name: string(t.Task.Kind)}
}

// readLast is the task that ended last: KIND [why WHY] [at TIME] [failed TEXT].
func readLast(s *situation, w *words) {
	t := &ha.TaskResult{Task: postgres.Task{Kind: postgres.TaskKind(w.next())}, At: s.now.Add(-200 * time.Millisecond)}
	for w.more() {
		switch x := w.next(); x {
		case "why":
			t.Why = ha.Why(w.next())
		case "at":
			t.At = w.time()
		case "failed":
			t.Fault = &ha.Fault{Kind: ha.FaultOther, Text: w.text()}
		default:
			w.unknown(x)
		}
	}
	s.v.LastTask = t
}

// readHandover: WHY [candidate NAME] [end LSN] [since TIME] [best LSN] [reached NAME] [released].
func readHandover(s *situation, w *words) {
	h := &ha.Handover{Why: ha.Why(w.next())}
	for w.more() {
		switch x := w.next(); x {
		case "candidate":
			h.Candidate = w.next()
		case "end":
			h.End, h.EndAt = w.lsn(), s.now.Add(-time.Second)
		case "since":
			h.EndAt = w.time()
		case "best":
			h.Best = w.lsn()
		case "reached":
			h.Reached = w.next()
		case "released":
			h.Released = true
		default:
			w.unknown(x)
		}
	}
	s.v.Handover = h
}

// readFence: [armed] [told TIME] [kill TIME] [of-another | for-start] [dismissed] [failures N] [unguarded TIME] and last failed TIME TEXT | lost TEXT. It was told just now,
// and of the server that runs here, unless the words say otherwise. A server without a guard is so since just now.
func readFence(s *situation, w *words) {
	f := &s.v.Fence
	for w.more() {
		switch x := w.next(); x {
		case "armed":
			f.Armed, f.Order.At, f.Order.Kill = true, s.now, s.now.Add(time.Minute)
		case "told":
			f.Order.At = w.time()
		case "knows": // the latest end that it was told
			f.Until = w.time()
		case "kill":
			f.Order.Kill = w.time()
		case "for-start":
			s.forStart = true
		case "dismissed":
			f.Dismissed = true
		case "of-another":
			f.Order.Postmaster = &postgres.Postmaster{PID: 99, Start: 99}
		case "failures":
			f.Failures = w.number()
		case "unguarded":
			f.Unguarded = w.time()
		case "failed":
			f.Failed, f.Problem = w.time(), w.text()
		case "lost":
			f.Lost = w.text()
		default:
			w.unknown(x)
		}
	}
}

// readBusy: the lanes on which something is under way: store [hangs], observe, fence, configure, slots, watchdog.
func readBusy(s *situation, w *words) {
	lanes := map[string]ha.Lane{"store": ha.LaneStore, "observe": ha.LaneObserve, "fence": ha.LaneFence,
		"configure": ha.LaneConfigure, "slots": ha.LaneSlots, "watchdog": ha.LaneWatchdog}
	for w.more() {
		x := w.next()
		if x == "hangs" { // for a second, and news of the leader key came past it
			s.v.Lanes[ha.LaneStore].Since, s.v.Store.LeaderHint = s.now.Add(-time.Second), s.now.Add(-10*time.Millisecond)
			continue
		}
		lane, ok := lanes[x]
		if !ok {
			w.unknown(x)
		}
		s.v.Lanes[lane] = ha.Flight{ID: 9, Since: s.now.Add(-100 * time.Millisecond), Name: x}
	}
}

// readShutdown: TIME: the agent was asked to end then.
func readShutdown(s *situation, w *words) { s.v.Shutdown = w.time() }

// readCommand: look | await LSN | failsafe NAME, then [at TIME].
func readCommand(s *situation, w *words) {
	c := ha.PendingCommand{ID: 5, At: s.now}
	switch x := w.next(); x {
	case "look":
		c.Command = ha.Look{}
	case "await":
		c.Command = ha.Await{LSN: w.lsn()}
	case "failsafe":
		c.Command = ha.Failsafe{Ask: ha.FailsafeAsk{Name: w.next()}}
	default:
		w.unknown(x)
	}
	for w.more() {
		if x := w.next(); x != "at" {
			w.fail(fmt.Errorf("want at TIME, not %s", x))
		}
		c.At = w.time()
	}
	s.v.Commands = append(s.v.Commands, c)
}
