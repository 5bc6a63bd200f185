package ha

import (
	"cmp"
	"reflect"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// followRules say what a node does while somebody else leads.
var followRules = []Rule{
	{"follow.own-key", followOwnKey},
	{"follow.leader-unready", followLeaderUnready},
	{"follow.recover", followRecover},
	{"follow.lineage", followLineage},
	{"follow.unrelated", followUnrelated},
	{"follow.stop-to-rewind", followStopToRewind},
	{"follow.rewind", followRewind},
	{"follow.wipe", followWipe},
	{"follow.incomplete", followIncomplete},
	{"follow.start", followStart},
	{"follow.found-starting", followFoundStarting},
	{"follow.not-ready", followNotReady},
	{"follow.upstream", followUpstream},
	{"follow.stuck", followStuck},
	{"follow.idle", followIdle},
}

// notStreamingPatience is how long a running standby may be without a stream before its log is compared with the leader's.
const notStreamingPatience = 3 * time.Second

// followOwnKey waits for a leader key under our name that is not ours to expire: a name is no proof.
func followOwnKey(now time.Time, v *View) Verdict {
	l := v.other()
	if l == nil || l.Name != v.Self.Name {
		return pass("the leader key has another name")
	}
	if l.Meta.Session == "" {
		return rest("the leader key names this node but has no session: it never expires; delete the key /leader of this cluster")
	}
	// Whoever holds that session was an earlier run of this agent, which has ended before this one began, or is another agent.
	end := v.Self.Started.Add(max(v.w(now), v.keyTTL(v.Self.Name)))
	if !now.Before(end) {
		return rest("the leader key names this node, but under a session that is not ours; another agent of this name keeps it, or a backup of the store brought it back: waiting for it to expire")
	}
	return wait(end, "the leader key names this node, but under a session that is not ours: waiting for it to expire").until(end)
}

// unreadyPatience is how long a running standby waits for a leader to say that it is a primary. Its agent may have died with the promotion
// done: what its server acknowledges until the guard ends it must not stay without a standby.
const unreadyPatience = time.Second

// followLeaderUnready waits for a leader that is not a running primary yet, or publishes nothing. A standby that runs asks the leader's
// server after a second.
func followLeaderUnready(now time.Time, v *View) Verdict {
	l, m := v.other(), v.leaderMember()
	switch {
	case l == nil:
		return rest("no leader is known")
	case m == nil && l.Meta.Session == "":
		return rest("the leader key names %q, which has no member key, and has no session: it never expires; delete the key /leader of this cluster", l.Name)
	case m == nil:
		return rest("the leader %s has no member key", l.Name)
	case v.running() && !v.repointed():
		return pass("the server runs, and streams from the right member")
	case runsAsPrimary(m) && m.Data.State == dcs.StateRunning && m.Data.Role != dcs.RolePromoted:
		return pass("the leader runs")
	}
	asked := v.Rejoin.Since.Add(unreadyPatience)
	if v.standby() && !v.Rejoin.Since.IsZero() && !now.Before(asked) {
		return pass("the leader does not say that it runs as primary: its server is asked")
	}
	return wait(asked, "waiting for the leader %s to run as primary", l.Name)
}

// followRecover brings the log of a crashed server to its end in single-user mode, so that it can be compared. It is tried once;
// a standby start does the same.
func followRecover(now time.Time, v *View) Verdict {
	c := v.Local.Obs.Control
	if v.running() || c == nil || v.Rejoin.Recovered {
		return pass("no crash recovery is needed")
	}
	if v.Local.Obs.Standby || (c.State != postgres.ControlInProduction && c.State != postgres.ControlShuttingDown && c.State != postgres.ControlCrashRecovery) {
		return pass("the server ended in order, or was a standby")
	}
	return act("doing crash recovery in a single user mode", RunTask{Task: postgres.Task{Kind: postgres.TaskRecover}, Why: WhyRejoin})
}

// lineageWanted says whether our log has to be compared with the leader's before the next step.
func (v *View) lineageWanted(now time.Time) bool {
	if v.running() {
		if v.repointed() || v.foundStarting() {
			return v.verdict().Divergence == postgres.DivergenceUnknown
		}
		silent := v.Local.NotStreaming
		return v.standby() && !silent.IsZero() && now.Sub(silent) >= notStreamingPatience && now.Sub(v.Rejoin.At) >= v.Settings.LoopWait
	}
	if v.Local.Cloned {
		return false
	}
	if _, _, ok := postgres.StandingOf(v.Local.Obs); !ok && (v.Local.Obs.Standby || v.Rejoin.Recovered) {
		return false // only a start, as a standby of nobody, brings its log to an end that can be compared
	}
	return v.Rejoin.Lineage == nil || v.verdict().Divergence == postgres.DivergenceUnknown
}

// repointed says whether a running standby has to be pointed at another server than it was.
func (v *View) repointed() bool {
	u := v.upstream()
	return v.standby() && u != nil && !(v.Local.UpstreamSet && reflect.DeepEqual(u, v.Local.Upstream))
}

// verdict judges our log against the leader's, as far as known.
func (v *View) verdict() postgres.Verdict {
	if v.Local.Cloned {
		return postgres.Verdict{Divergence: postgres.DivergenceNone, Reason: "it was cloned a moment ago"}
	}
	if v.Rejoin.Lineage == nil {
		return postgres.Verdict{Divergence: postgres.DivergenceUnknown, Reason: "the leader was not asked yet"}
	}
	s, why, ok := postgres.StandingOf(v.Local.Obs)
	if !ok {
		return postgres.Verdict{Divergence: postgres.DivergenceUnknown, Reason: why}
	}
	return postgres.Diverged(s, *v.Rejoin.Lineage)
}

// lineagePatience is how long a server that is down waits for the leader to tell its history before it is started without. A copy that was
// never consistent waits for as long as there is a leader: of nobody, it may never let anybody in.
const lineagePatience = 10 * time.Second

// followLineage asks the leader for its timeline and history: before a server is started that may hold what the leader lacks, and when a
// running standby gets no stream.
func followLineage(now time.Time, v *View) Verdict {
	r := &v.Rejoin
	switch {
	case !v.lineageWanted(now):
		return pass("our log was compared with the leader's, or streams")
	case !r.At.IsZero() && now.Before(r.At.Add(v.lineagePause())):
		return wait(r.At.Add(v.lineagePause()), "our log could not be compared with the leader's: %s", cmp.Or(r.Problem, v.verdict().Reason))
	case !v.running() && !v.Local.Obs.NeverConsistent && !r.First.IsZero() && now.Sub(r.First) > lineagePatience:
		return pass("the leader could not be compared with for a while: " + r.Problem)
	case v.leaderUpstream() == nil:
		return pass("the leader publishes no address")
	}
	return act("is our log a part of the leader's?", RunTask{Task: postgres.Task{Kind: postgres.TaskLineage, Upstream: v.leaderUpstream()}, Why: WhyRejoin})
}

// lineagePause grows with the attempts in vain.
func (v *View) lineagePause() time.Duration {
	return min(time.Duration(max(v.Rejoin.Tries, 1))*3*retry, v.Settings.LoopWait)
}

// leaderUpstream is the leader itself, even where we stream from another member.
func (v *View) leaderUpstream() *postgres.Upstream { return v.upstreamOf(v.leaderMember()) }

// followUnrelated stops short of touching anything when the leader is another cluster.
func followUnrelated(now time.Time, v *View) Verdict {
	if d := v.verdict(); d.Divergence == postgres.DivergenceUnrelated {
		return rest("the leader is another cluster: %s", d.Reason)
	}
	return pass("the leader is of our cluster, or was not asked")
}

// diverged says whether our log has to be rewound or replaced.
func (v *View) diverged() (postgres.Verdict, bool) {
	d := v.verdict()
	return d, d.Divergence == postgres.DivergenceRewind || d.Divergence == postgres.DivergenceClone
}

// maxRewinds is how often a data directory is rewound against one leader, with or without success: one that was rewound and has diverged
// all the same is not helped by doing it again.
const maxRewinds = 3

// canRepair says whether a diverged data directory may be rewound or replaced.
func (v *View) canRepair(d postgres.Verdict) (rewind, clone bool) {
	c, s, r := v.Local.Obs.Control, &v.Settings.Postgres, &v.Rejoin
	rewind = d.Divergence == postgres.DivergenceRewind && s.UsePgRewind && c != nil && (c.Checksums || c.WALLogHints) && r.Rewinds < maxRewinds && r.Rewound < maxRewinds
	clone = s.RemoveOnDiverged || (s.RemoveOnRewindFailure && (r.Rewinds > 0 || r.Rewound > 0))
	return rewind, clone
}

// followStopToRewind stops a running standby whose log diverged.
func followStopToRewind(now time.Time, v *View) Verdict {
	d, yes := v.diverged()
	if !yes || !v.running() {
		return pass("nothing to stop")
	}
	if rewind, clone := v.canRepair(d); !rewind && !clone {
		return rest("this standby diverged from the leader and cannot stream: %s; reinitialize it, or set use_pg_rewind", d.Reason)
	}
	return act("diverged from the leader: "+d.Reason, RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast}, Why: WhyRejoin})
}

// followRewind rewinds, once the leader has made its checkpoint.
func followRewind(now time.Time, v *View) Verdict {
	d, yes := v.diverged()
	if rewind, _ := v.canRepair(d); !yes || !rewind {
		return pass("nothing to rewind, or it cannot be rewound")
	}
	if m := v.leaderMember(); m.Data.CheckpointAfterPromote != nil && !*m.Data.CheckpointAfterPromote {
		return rest("waiting for the leader %s to checkpoint after its promotion", m.Name)
	}
	if at := v.Rejoin.Failed.Add(time.Second); v.Rejoin.Rewinds > 0 && now.Before(at) {
		return wait(at, "pg_rewind failed: %s", v.Rejoin.Problem)
	}
	return act("running pg_rewind from "+v.leaderUpstream().Name+": "+d.Reason,
		RunTask{Task: postgres.Task{Kind: postgres.TaskRewind, Upstream: v.leaderUpstream()}, Why: WhyRejoin})
}

// followWipe empties a diverged data directory where the configuration allows that; a new clone follows.
func followWipe(now time.Time, v *View) Verdict {
	d, yes := v.diverged()
	if !yes && (v.running() || (v.Rejoin.Restarts < 3 && !v.strayHistory())) {
		return pass("our log is a part of the leader's")
	}
	if _, clone := v.canRepair(d); !clone {
		return pass("the configuration does not allow to remove the data directory: " + d.Reason)
	}
	why := d.Reason
	if !yes && v.strayHistory() {
		why = v.Local.StartProblem
	}
	return act("reinitializing due to diverged timelines: "+why, RunTask{Task: postgres.Task{Kind: postgres.TaskWipe}, Why: WhyRejoin})
}

// strayHistory says whether PostgreSQL itself says that the log does not fit, where it was not seen to have diverged: it takes the newest
// timeline that it finds a history file of, in pg_wal or in the archive, also one that was left. Such a server never starts again.
func (v *View) strayHistory() bool {
	problem := v.Local.StartProblem
	return v.leaderReady() && v.verdict().Divergence != postgres.DivergenceUnrelated && v.Local.StartFailures >= 3 &&
		(strings.Contains(problem, "is not a child of this server's history") || strings.Contains(problem, "does not contain minimum recovery point"))
}

// followIncomplete leaves a copy down that was never consistent and is not known to be a part of the leader's log. It may lack the end of its
// own, which only who has that can send: started of nobody it would ask for it for ever. (One that was never started, and that pg_control tells
// nothing of, has it: a base backup.) With nobody leading it is started all the same, see vacant.down and task.old-leader.
func followIncomplete(now time.Time, v *View) Verdict {
	d := v.verdict()
	_, _, known := postgres.StandingOf(v.Local.Obs)
	switch {
	case v.running() || !v.Local.Obs.NeverConsistent || !known:
		return pass("the server runs, or was consistent once, or was never started")
	case d.Divergence == postgres.DivergenceNone:
		return pass("it is a part of the leader's log")
	case d.Divergence == postgres.DivergenceUnknown:
		return rest("this copy was never consistent, and is not started before it was compared with the leader's log: %s", d.Reason)
	}
	return rest("this copy was never consistent, and has diverged from the leader: %s; reinitialize it", d.Reason)
}

// followStart starts the server as a standby of its upstream.
func followStart(now time.Time, v *View) Verdict {
	if v.running() {
		return pass("the server runs")
	}
	if d := v.startPause(now); d.matched {
		return d
	}
	if d := v.verdict(); d.Divergence != postgres.DivergenceNone {
		// It may run, for readers and for a race; it may not stream before its log was compared.
		return act("starting as a secondary of nobody: "+d.Reason, RunTask{Task: postgres.Task{Kind: postgres.TaskStart}, Why: WhyRejoin})
	}
	return act("starting as a secondary", RunTask{Task: postgres.Task{Kind: postgres.TaskStart, Upstream: v.upstream()}, Why: WhyRejoin})
}

// foundStarting says whether a copy that was never consistent runs and lets nobody in, without a start of ours being under way.
func (v *View) foundStarting() bool {
	o := &v.Local.Obs
	return v.running() && o.SQL == nil && o.Accepting == postgres.AcceptingStarting && o.NeverConsistent
}

// followFoundStarting stops an incomplete copy that lets nobody in, and was found so when the agent started: whom it asks for its log is not
// known, and it cannot be pointed at another before. It is started anew, as a standby of the leader. What was consistent once is left alone.
func followFoundStarting(now time.Time, v *View) Verdict {
	end := v.Self.Started.Add(v.Settings.LoopWait)
	switch {
	case !v.foundStarting():
		return pass("no incomplete copy is starting")
	case v.verdict().Divergence != postgres.DivergenceNone || !v.leaderReady():
		return pass("it was not compared with the leader's log")
	case now.Before(end):
		return pass("it may let clients in yet")
	case now.Sub(v.Local.Sent) >= time.Second && v.free(LaneObserve):
		return act("does this copy let clients in by now?", Observe{})
	case now.Sub(v.Local.Sent) >= time.Second:
		return rest("looking whether this copy lets clients in by now")
	}
	return act("this copy was never consistent, and asks we do not know whom for its log: it is started anew",
		RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast}, Why: WhyRejoin})
}

// followNotReady waits for a standby that does not answer yet. It is looked at twice a second, and ever less often: its recovery may take hours, and each
// look is a line in its log.
func followNotReady(now time.Time, v *View) Verdict {
	if v.Local.Obs.SQL != nil {
		return pass("the server answers")
	}
	pause := 5 * retry
	if !v.Local.Silent.IsZero() {
		pause = min(max(pause, v.Local.Sent.Sub(v.Local.Silent)/4), v.Settings.LoopWait)
	}
	if v.free(LaneObserve) && now.Sub(v.Local.Sent) >= pause {
		return act("does the server answer now?", Observe{})
	}
	return wait(v.Local.Sent.Add(pause), "the server does not answer: %s", v.Local.Obs.SQLError)
}

// followUpstream points the standby at the leader, or at the member that replicatefrom names.
func followUpstream(now time.Time, v *View) Verdict {
	u := v.upstream()
	switch {
	case u == nil:
		return rest("the leader publishes no address to stream from")
	case !v.repointed():
		return pass("it streams from the right member")
	case v.verdict().Divergence != postgres.DivergenceNone:
		return rest("not following %s before our log was compared with the leader's: %s", u.Name, v.verdict().Reason)
	case v.primary():
		return rest("a primary is being demoted")
	}
	if l := v.LastTask; l != nil && l.Task.Kind == postgres.TaskFollow && l.Fault != nil && now.Before(l.At.Add(time.Second)) {
		return wait(l.At.Add(time.Second), "following %s failed: %s", u.Name, l.Fault)
	}
	return act("following "+u.Name, RunTask{Task: postgres.Task{Kind: postgres.TaskFollow, Upstream: u}})
}

// followStuck restarts a standby that gets no stream although its log fits the leader's: what it has received but not replayed may lie on a branch
// that was left, and only a restart replays it, so that the next comparison shows it. After two restarts in vain it is cloned anew, where
// remove_data_directory_on_diverged_timelines allows that.
func followStuck(now time.Time, v *View) Verdict {
	since, patience := v.Local.NotStreaming, max(3*v.Settings.LoopWait, 5*notStreamingPatience)
	switch {
	case since.IsZero() || now.Sub(since) < patience:
		return pass("it streams, or has not been without a stream for long")
	case v.Rejoin.Lineage == nil || now.Sub(v.Rejoin.At) > 2*v.Settings.LoopWait || v.verdict().Divergence != postgres.DivergenceNone:
		return pass("the leader has not told that our log fits")
	case v.Rejoin.Restarts >= 2 && !v.Settings.Postgres.RemoveOnDiverged:
		return rest("this standby gets no stream although its log fits, and two restarts were in vain; reinitialize it")
	}
	return act("it gets no stream although its log fits: it is restarted",
		RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast}, Why: WhyRejoin})
}

// followIdle is the normal state of a standby.
func followIdle(now time.Time, v *View) Verdict {
	next := time.Time{}
	if s := v.Local.NotStreaming; !s.IsZero() {
		next = s.Add(notStreamingPatience)
		if !next.After(now) {
			next = v.Rejoin.At.Add(v.Settings.LoopWait)
		}
		if v.free(LaneObserve) && now.Sub(v.Local.Sent) >= time.Second {
			return act("does the standby stream?", Observe{})
		}
		next = earliest(next, v.Local.Sent.Add(time.Second))
	}
	return wait(next, "no action. I am (%s), a secondary, and following a leader (%s)", v.Self.Name, v.Store.Cluster.Leader.Name)
}
