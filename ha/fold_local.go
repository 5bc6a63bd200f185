package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

func foldObserved(now time.Time, v *View, e Observed) {
	l := &v.Local
	if t := v.LastTask; t != nil && e.Sent.Before(t.At) {
		l.Stale = true // it looked before the last task was done
		return
	}
	if p := e.Observation.Postmaster; p != nil && *p == l.Dead {
		l.Stale = true // it looked before that postmaster ended
		return
	}
	if l.Known && l.Obs.SQL != nil {
		l.Before, l.BeforeSent = l.Obs.SQL.Position(), l.Sent
	}
	if p, ok := l.position(); ok && e.Observation.SQL != nil && !v.Vacancy.Since.IsZero() && l.Sent.After(v.Vacancy.Since) &&
		e.Observation.SQL.Position().LSN > p.LSN {
		v.Vacancy.Moved = now
	}
	old := *l
	if !l.Known && e.Observation.Postmaster != nil && !e.Observation.Standby {
		v.Adopted = true
	}
	l.Known, l.Obs, l.Sent, l.At = true, e.Observation, e.Sent, now
	l.Obs.Closed = l.Obs.Closed || l.Closed
	foldAlive(now, v, &old)
	foldStreaming(now, v)
	foldSilent(now, v)
}

// foldAlive notes how the server lives, and a death that no exit event has told.
func foldAlive(now time.Time, v *View, old *LocalView) {
	l := &v.Local
	if l.Obs.Postmaster == nil {
		if old.Obs.Postmaster != nil && v.Task == nil {
			foldDied(now, v)
		}
		return
	}
	l.LastAlive, l.Crashed, l.Unswept = now, time.Time{}, false
	if l.Obs.SQL != nil {
		l.WasPrimary = !l.Obs.SQL.InRecovery
		l.StartFailures, l.StartProblem = 0, ""
		if l.WasPrimary {
			l.Demoted = false
		}
	}
}

// foldStreaming notes since when a running standby receives nothing.
func foldStreaming(now time.Time, v *View) {
	s := v.Local.Obs.SQL
	switch {
	case s == nil || !s.InRecovery || (s.Receiver != nil && s.Receiver.Status == "streaming"):
		v.Local.NotStreaming = time.Time{}
	case v.Local.NotStreaming.IsZero():
		v.Local.NotStreaming = now
	}
}

// foldSilent notes since when a server that runs answers no SQL.
func foldSilent(now time.Time, v *View) {
	switch o := &v.Local.Obs; {
	case o.Postmaster == nil || o.SQL != nil:
		v.Local.Silent = time.Time{}
	case v.Local.Silent.IsZero():
		v.Local.Silent = now
	}
}

// position is how far our log reaches, if the server answers.
func (l *LocalView) position() (postgres.Position, bool) {
	if !l.Known || l.Obs.SQL == nil {
		return postgres.Position{}, false
	}
	return l.Obs.SQL.Position(), true
}

func foldExited(now time.Time, v *View, e Exited) {
	l := &v.Local
	l.Dead = e.Exit.Postmaster
	if l.Obs.Postmaster == nil || *l.Obs.Postmaster != e.Exit.Postmaster {
		l.Stale = true
		return
	}
	if v.Task == nil || v.Task.Task.Kind != postgres.TaskStop {
		foldDied(now, v)
	}
	l.Obs.Postmaster, l.Obs.SQL, l.Obs.SQLError, l.Obs.Accepting = nil, nil, "", postgres.AcceptingNo
	l.Stale = true
}

// foldDied notes that the server ended without having been told.
func foldDied(now time.Time, v *View) {
	if v.Local.WasPrimary {
		v.Local.Crashed, v.Local.Unswept = now, true
	}
	v.Local.Stale = true
}

func foldTaskBegun(now time.Time, v *View, a RunTask) {
	switch a.Task.Kind {
	case postgres.TaskStop:
		if a.Why == WhyRejoin {
			v.Rejoin.Restarts++
			v.Rejoin.Lineage = nil // where the log ends is known only after the stop
		}
		if a.Why == WhyDemote {
			v.Local.Demoted = true
			v.Demotions++
		}
		switch a.Why {
		case WhySwitchover, WhyShutdown:
			if v.Lease.State == LeaseHeld {
				h := &Handover{Why: a.Why}
				if p, ok := v.Local.position(); ok {
					h.Timeline = p.Timeline
				}
				if f := v.Store.Cluster.Failover; f != nil && a.Why == WhySwitchover {
					h.Candidate, h.Request = f.Candidate, f.Version
				}
				v.Handover = h
			}
		}
	case postgres.TaskOpen:
		v.Initialize.Opened = true
	case postgres.TaskPromote, postgres.TaskStart:
		if p := v.Local.Obs.Postmaster; a.Task.Kind == postgres.TaskPromote && p != nil {
			v.Local.PromotionAsked = *p
		}
		if a.Task.Kind == postgres.TaskPromote || a.Task.AsPrimary {
			v.Local.WasPrimary = true // it may be, from now on
			v.Handover = nil
		}
	}
}

func foldPhase(now time.Time, v *View, e TaskPhase) {
	if v.Task == nil || v.Task.ID != e.ID {
		return
	}
	t := *v.Task
	if e.Phase.Name == postgres.PhaseProgress {
		t.Text = e.Phase.Text
	} else {
		t.Phase = e.Phase.Name
		v.Local.Stale = true
	}
	v.Task = &t
	if e.Phase.Name == postgres.PhaseShutDown && v.Handover != nil {
		h := *v.Handover
		h.End, h.EndAt = e.Phase.LSN, now
		v.Handover = &h
	}
}

func foldTaskDone(now time.Time, v *View, e TaskDone) {
	t := v.Task
	if t == nil {
		return
	}
	v.Task = nil
	v.LastTask = &TaskResult{Task: t.Task, Why: t.Why, At: now, Fault: e.Fault, Outcome: e.Outcome}
	v.Local.Stale = true
	switch t.Task.Kind {
	case postgres.TaskStart, postgres.TaskPromote:
		foldStarted(now, v, t, e)
	case postgres.TaskStop:
		foldStopped(now, v, t, e)
	case postgres.TaskBootstrap:
		v.Local.Closed = e.Fault == nil
		if e.Fault != nil {
			v.Problem = "bootstrap: " + e.Fault.Text
		}
		v.Initialize.Founded = e.Fault == nil
	case postgres.TaskOpen:
		if e.Fault == nil {
			v.Local.Closed, v.Local.Obs.Closed = false, false
		}
	case postgres.TaskFollow:
		v.Local.Upstream, v.Local.UpstreamSet = t.Task.Upstream, e.Fault == nil
	case postgres.TaskLineage:
		foldLineage(now, v, e)
	case postgres.TaskRecover:
		v.Rejoin.Recovered = true
	case postgres.TaskRewind:
		foldRewound(now, v, e)
	case postgres.TaskClone:
		if e.Fault != nil && t.Task.Upstream != nil {
			v.peer(t.Task.Upstream.Name, func(p *PeerView) { p.CloneFailed = now })
		}
		v.Local.WasPrimary, v.Local.Cloned = false, e.Fault == nil
	case postgres.TaskWipe:
		v.Rejoin.Restarts = 0
		if e.Fault == nil {
			v.Local.StartFailures, v.Local.StartProblem = 0, "" // they were those of the old data
		}
		v.Rejoin.Rewinds, v.Rejoin.Problem, v.Initialize.Founded, v.Initialize.Opened = 0, "", false, false
	}
}

func foldStarted(now time.Time, v *View, t *TaskView, e TaskDone) {
	if t.Task.Kind == postgres.TaskStart {
		v.Local.Closed = false
		v.Local.Upstream, v.Local.UpstreamSet = t.Task.Upstream, e.Fault == nil
	}
	if e.Fault == nil {
		v.Local.Cloned = false
		if t.Task.Kind == postgres.TaskPromote || t.Task.AsPrimary {
			v.Lease.Late = false // from now on it is the primary of this lease
		}
		return
	}
	if t.Task.Kind == postgres.TaskPromote {
		v.PromoteFailures++
		return
	}
	if t.Cancelled == "" || t.Cancelled == startTooSlow {
		v.Local.StartFailures++
	} else {
		v.Local.Cloned = false // who leads now may not be whom it was cloned from: pg_control tells where it stands
	}
	v.Local.StartFailed, v.Local.StartProblem = now, e.Fault.Text
}

// foldStopped takes the server for down only where the task says so; an observation follows in any case.
func foldStopped(now time.Time, v *View, t *TaskView, e TaskDone) {
	if e.Fault != nil {
		return
	}
	o := &v.Local.Obs
	if o.Postmaster != nil {
		v.Local.Dead = *o.Postmaster
	}
	v.Adopted = false
	o.Postmaster, o.SQL, o.Accepting, o.Closed = nil, nil, postgres.AcceptingNo, false
	v.Local.Closed, v.Local.Unswept = false, false
	if t.Why != WhyCrash { // else it was down already, and a crash stays one
		v.Local.Crashed = time.Time{}
	}
	if h := v.Handover; h != nil && h.End == 0 && e.Outcome.Clean {
		n := *h
		n.End, n.EndAt = e.Outcome.End, now
		v.Handover = &n
	}
}

func foldLineage(now time.Time, v *View, e TaskDone) {
	r := &v.Rejoin
	r.At, r.LocalAt = now, v.Local.Sent
	r.Lineage = e.Outcome.Lineage
	if r.Rewinds == 0 {
		r.Problem = ""
	}
	if e.Fault != nil {
		r.Lineage, r.Failed, r.Problem = nil, now, e.Fault.Text
	}
	if r.Lineage != nil && !r.Lineage.InRecovery {
		r.Tries = 0
		return
	}
	r.Tries++
	if r.First.IsZero() {
		r.First = now
	}
}

func foldRewound(now time.Time, v *View, e TaskDone) {
	r := &v.Rejoin
	r.Lineage = nil
	if e.Fault != nil {
		r.Rewinds++
		r.Failed, r.Problem = now, e.Fault.Text
		return
	}
	r.Rewound, r.Rewinds, r.Problem = r.Rewound+1, 0, ""
	v.Local.WasPrimary = false
}

func findMember(c *dcs.Cluster, name string) *dcs.Member {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return &c.Members[i]
		}
	}
	return nil
}
