package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// leaderRules say what the holder of the leader key does.
var leaderRules = []Rule{
	{"leader.doubt", leaderDoubt},
	{"leader.giving-up", leaderGivingUp},
	{"leader.late", leaderLate},
	{"leader.crash-hand-over", leaderCrashHandOver},
	{"leader.start-failed", leaderStartFailed},
	{"leader.system-id", leaderSystemID},
	{"leader.fence-refused", leaderFenceRefused},
	{"leader.watchdog", leaderWatchdog},
	{"leader.start", leaderStart},
	{"leader.not-ready", leaderNotReady},
	{"leader.promote-failed", leaderPromoteFailed},
	{"leader.arm", leaderArm},
	{"leader.promote", leaderPromote},
	{"leader.open", leaderOpen},
	{"leader.request-failed", leaderRequestFailed},
	{"leader.request-odd", leaderRequestOdd},
	{"leader.request-poll", leaderRequestPoll},
	{"leader.request", leaderRequest},
	{"leader.config", leaderConfig},
	{"leader.history", leaderHistory},
	{"leader.checkpoint", leaderCheckpoint},
	{"leader.failsafe", leaderFailsafe},
	{"leader.idle", leaderIdle},
}

// leaderDoubt reads before anything else when an acquire or a release had an unknown outcome.
func leaderDoubt(now time.Time, v *View) Verdict {
	switch {
	case v.Lease.State != LeaseDoubt:
		return pass("the leader key is ours for certain")
	case !v.free(LaneStore):
		return rest("the leader key was asked for or given up; waiting for the answer")
	case v.Store.Problem != "" && now.Before(v.Store.Tried.Add(v.sessionRetry(now))):
		return wait(v.Store.Tried.Add(v.sessionRetry(now)), "it is unknown whether the leader key is ours, and DCS is not accessible: %s", v.Store.Problem)
	}
	return act("is the leader key ours?", LoadCluster{})
}

// leaderGivingUp repeats a release of unknown fate until the store has said that the key is not ours any more: the first one may still be
// on its way, and nobody may lead under a key that goes in the middle.
func leaderGivingUp(now time.Time, v *View) Verdict {
	switch {
	case !v.Lease.Giving || v.mayWrite():
		return pass("the leader key was not given up")
	case !v.free(LaneStore) || v.storeRests(now):
		return rest("the leader key is given up; the store is busy")
	}
	return act("the leader key is given up: the last attempt was not answered", v.release(v.state()))
}

// leaderLate looks again at the grounds of an acquire that took long: the node may have been frozen between the decision and the request,
// and others may have led meanwhile (safety 3.6). If a fresh look would not race, the key is released.
func leaderLate(now time.Time, v *View) Verdict {
	if !v.Lease.Late || v.primary() || !v.running() || v.Local.Obs.SQL == nil {
		return pass("the key was acquired on fresh grounds")
	}
	self, _ := v.Local.position()
	r := v.race(now, v.Lease.Looked, self)
	h := v.Store.Cluster.History
	behind := len(h) > 0 && self.Timeline < postgres.Timeline(h[len(h)-1].Timeline)
	switch {
	case v.Store.Sent.Before(v.Lease.Looked) && v.free(LaneStore):
		return v.readFirst(now, "the acquire was late: the store is read again")
	case v.Store.Sent.Before(v.Lease.Looked):
		return rest("the acquire was late: reading the store again")
	case len(r.ask) > 0:
		return act("the acquire was late: asking the members again", r.ask...)
	case r.pending != "":
		return wait(r.until, "the acquire was late: waiting for the answer of %s", r.pending)
	case v.Local.Sent.Before(r.heard) && v.free(LaneObserve):
		return act("the acquire was late: our own position is read again", Observe{})
	case v.Local.Sent.Before(r.heard):
		return rest("the acquire was late: reading our own position")
	case (r.writable != "" || r.ahead != "" || behind) && v.free(LaneStore):
		return act("the acquire was late, and on a second look this node should not lead: the key is released", v.release(dcs.StateRunning))
	case r.writable != "" || r.ahead != "" || behind:
		return rest("this node should not lead; the store is busy")
	}
	return pass("the acquire was late, but a second look says the same")
}

// leaderCrashHandOver gives the key to a standby at once when PostgreSQL crashed and primary_start_timeout is 0.
func leaderCrashHandOver(now time.Time, v *View) Verdict {
	if v.running() || v.Local.Crashed.IsZero() || v.Settings.PrimaryStartTimeout > 0 {
		return pass("no crash that is to be handed over")
	}
	return v.crashHandOver(now, v.Local.Crashed, "PostgreSQL crashed and primary_start_timeout is 0")
}

// leaderStartFailed hands over when the server cannot be started: to a standby after the first failure, to nobody in particular after the
// third (safety section 15).
func leaderStartFailed(now time.Time, v *View) Verdict {
	n := v.Local.StartFailures
	if v.running() || n == 0 {
		return pass("no failed start")
	}
	if n >= 3 && v.free(LaneStore) {
		return act("the server failed to start three times: the leader key is released", v.release(dcs.StateStartFailed))
	}
	return v.crashHandOver(now, v.Local.StartFailed, "failed to start postgres")
}

// askCandidates lists the polls that are due to know who could lead instead of us, and says whether answers are awaited.
func (v *View) askCandidates(now time.Time) (ask []Action, waiting bool) {
	for _, m := range v.candidates("") {
		p := v.Peers[m.Name]
		switch {
		case !p.At.IsZero() && now.Sub(p.At) < v.Settings.LoopWait && !p.AskedAt.Before(v.Lease.Since):
		case p.Asking != 0:
			waiting = true
		default:
			ask = append(ask, PollPeer{m})
		}
	}
	return ask, waiting
}

// crashHandOver releases the key over a dead server if a standby answers, once what is left of the server is swept. Who the members are is read
// first: a leader at rest reads the store seldom.
func (v *View) crashHandOver(now, since time.Time, why string) Verdict {
	ask, waiting := v.askCandidates(now)
	switch {
	case v.Store.Sent.Before(since) && v.Store.Problem == "" && v.free(LaneStore):
		return act(why+": who are the members now?", LoadCluster{})
	case v.Store.Sent.Before(since) && v.Store.Problem == "":
		return rest("%s: reading the members", why)
	case len(ask) > 0:
		return act(why+": who could lead?", ask...)
	case v.couldLead(now) == nil && waiting:
		return rest("%s: waiting for the standbys to answer", why)
	case v.couldLead(now) == nil:
		return pass(why + ", but nobody else could lead")
	case v.Local.Unswept:
		return rest("%s: what is left of the server is not swept yet", why)
	case !v.free(LaneStore):
		return rest("%s: the store is busy", why)
	}
	return act(why+": removed leader key after trying and failing to start postgres", v.release(dcs.StateCrashed))
}

// renewFirst waits for a renewal when too little authority is left to start or promote a server in (safety 1.4 and section 4).
func (v *View) renewFirst(now time.Time) Verdict {
	b := v.budget()
	left := b.Rule.Sub(now)
	if v.Lease.Auth.Sent.Add(v.Lease.Auth.TTL/2).After(now) && left >= b.Stop && !v.Lease.Unconfirmed {
		return pass("there is enough authority")
	}
	if v.free(LaneStore) && !now.Before(v.Lease.RenewFailed.Add(retry)) {
		return act("too little authority is left: renewing first", v.renewal(now))
	}
	return rest("too little authority is left: renewing first")
}

// leaderStart starts a server that is down under our key. It becomes writable at once only if it was the primary under this same key, which
// nobody else can have held since, and with the fence armed (safety 5.3); else it starts as a standby, to be promoted.
func leaderStart(now time.Time, v *View) Verdict {
	if v.running() {
		return pass("the server runs")
	}
	if !v.hasData() {
		return rest("we hold the leader key, and there is no data to start: %s", v.Local.Obs.Problem)
	}
	if d := v.startPause(now); d.matched {
		return d
	}
	if d := v.renewFirst(now); d.matched {
		return d
	}
	t := postgres.Task{Kind: postgres.TaskStart, AsPrimary: !v.Local.Obs.Standby && !v.Lease.Late, Slots: v.wantSlots()}
	if t.AsPrimary && !v.armed(now) {
		return v.arm(now)
	}
	if t.AsPrimary {
		return act("starting primary after failure", RunTask{Task: t, Why: WhyCrash})
	}
	return act("had the session lock, starting as a secondary first", RunTask{Task: postgres.Task{Kind: postgres.TaskStart}, Why: WhyCrash})
}

// leaderNotReady waits for a server that runs and does not answer. Health checks say 503 meanwhile.
func leaderNotReady(now time.Time, v *View) Verdict {
	if v.Local.Obs.SQL != nil {
		return pass("the server answers")
	}
	if v.free(LaneObserve) && now.Sub(v.Local.Sent) >= 5*retry {
		return act("does the server answer now?", Observe{})
	}
	return wait(v.Local.Sent.Add(5*retry), "the server does not answer: %s", v.Local.Obs.SQLError)
}

// leaderPromoteFailed releases the key when the promotion failed three times, or was refused by pre_promote.
func leaderPromoteFailed(now time.Time, v *View) Verdict {
	l := v.LastTask
	if v.primary() || l == nil || l.Task.Kind != postgres.TaskPromote || l.Fault == nil || l.At.Before(v.Lease.Since) {
		return pass("no promotion has failed")
	}
	if now.Before(l.At.Add(time.Second)) && v.PromoteFailures < 3 {
		return wait(l.At.Add(time.Second), "the promotion failed: %s", l.Fault)
	}
	if v.PromoteFailures < 3 {
		return pass("the promotion is tried again")
	}
	// A promotion was asked of this server and may still happen: it has to be stopped before the key may go.
	return v.demoteThenRelease(now, "the promotion failed three times: "+l.Fault.Text)
}

// demoteThenRelease stops the server and gives the key up.
func (v *View) demoteThenRelease(now time.Time, why string) Verdict {
	if v.running() {
		return act(why, RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast, By: v.budget().Kill}, Why: WhyDemote})
	}
	if !v.free(LaneStore) {
		return rest("%s; the store is busy", why)
	}
	return act(why, v.release(dcs.StateStopped))
}

// leaderPromote promotes the server: the fence is armed, the authority is young.
func leaderPromote(now time.Time, v *View) Verdict {
	if v.primary() {
		return pass("the server is a primary")
	}
	if d := v.renewFirst(now); d.matched {
		return d
	}
	self, _ := v.Local.position()
	reserved := max(v.Lease.Timeline, postgres.Timeline(v.Store.Cluster.Reserved.Timeline))
	switch {
	case reserved > self.Timeline:
	case v.free(LaneStore):
		return act("no timeline above ours is reserved: the key is released, to be acquired with one", v.release(dcs.StateRunning))
	default:
		return rest("no timeline is reserved for us; the store is busy")
	}
	return act("promoted self to leader by acquiring session lock",
		RunTask{Task: postgres.Task{Kind: postgres.TaskPromote, Slots: v.wantSlots(), Timeline: reserved, End: self.LSN}})
}

// leaderOpen lets clients into a server that was founded and never opened: its founder's agent has died in between.
func leaderOpen(now time.Time, v *View) Verdict {
	switch {
	case !v.closed() || !v.primary():
		return pass("the server is open")
	case v.systemID() != v.localSystemID():
		return pass("/initialize has to say first that the cluster is this one")
	case !v.armed(now):
		return v.arm(now)
	}
	return v.open(now)
}

// leaderIdle is the normal state of a leader.
func leaderIdle(now time.Time, v *View) Verdict {
	return rest("no action. I am (%s), the leader with the lock", v.Self.Name)
}
