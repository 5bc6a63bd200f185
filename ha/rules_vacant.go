package ha

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// vacantRules say what a node with data does while nobody holds the leader key (safety section 3).
var vacantRules = []Rule{
	{"vacant.handed-over", vacantHandedOver},
	{"vacant.down", vacantDown},
	{"vacant.not-ready", vacantNotReady},
	{"vacant.not-allowed", vacantNotAllowed},
	{"vacant.fence-refused", vacantFenceRefused},
	{"vacant.watchdog", vacantWatchdog},
	{"vacant.promised", vacantPromised},
	{"vacant.not-in-failsafe", vacantNotInFailsafe},
	{"vacant.failsafe-start", vacantFailsafeStart},
	{"vacant.session", vacantSession},
	{"vacant.candidate-named", vacantCandidateNamed},
	{"vacant.lease-alive", vacantLeaseAlive},
	{"vacant.store-changed", vacantStoreChanged},
	{"vacant.handed-to-us", vacantHandedToUs},
	{"vacant.not-founded", vacantNotFounded},
	{"vacant.newcomer", vacantNewcomer},
	{"vacant.left-behind", vacantLeftBehind},
	{"vacant.poll", vacantPoll},
	{"vacant.primary-alive", vacantPrimaryAlive},
	{"vacant.own-position", vacantOwnPosition},
	{"vacant.receiving", vacantReceiving},
	{"vacant.behind", vacantBehind},
	{"vacant.priority", vacantPriority},
	{"vacant.timeline", vacantTimeline},
	{"vacant.lagging", vacantLagging},
	{"vacant.acquire", vacantAcquire},
}

// handedOverPatience is how long the node that has given the key up stays out of the race for it.
const handedOverPatience = 5 * time.Second

// vacantHandedOver lets another take the key that we have just given up.
func vacantHandedOver(now time.Time, v *View) Verdict {
	end := v.Vacancy.Since.Add(handedOverPatience)
	if v.Lease.Cause != "released" || v.Vacancy.LastName != v.Self.Name || !now.Before(end) {
		return pass("we have not just handed over")
	}
	return wait(end, "we have handed over: waiting for the new leader").until(end)
}

// vacantDown starts the server as a standby of nobody: only who runs can tell its position, and it can be promoted at once.
func vacantDown(now time.Time, v *View) Verdict {
	if v.running() {
		return pass("the server runs")
	}
	if d := v.startPause(now); d.matched {
		return d
	}
	return act("starting as a secondary", RunTask{Task: postgres.Task{Kind: postgres.TaskStart}})
}

// startPause grows with each failed start, up to loop_wait: never a hot loop.
func (v *View) startPause(now time.Time) Verdict {
	n := v.Local.StartFailures
	if n == 0 {
		return pass("no failed start")
	}
	pause := min(time.Duration(n*n)*500*time.Millisecond, v.Settings.LoopWait)
	if at := v.Local.StartFailed.Add(pause); now.Before(at) {
		return wait(at, "failed to start (%d times): %s", n, v.Local.StartProblem)
	}
	return pass("the pause after a failed start is over")
}

// vacantNotReady waits until the server answers with its position.
func vacantNotReady(now time.Time, v *View) Verdict {
	if v.Local.Obs.SQL != nil {
		return pass("the server answers")
	}
	if v.free(LaneObserve) && now.Sub(v.Local.Sent) >= retry {
		return act("the server does not answer yet", Observe{})
	}
	return wait(v.Local.Sent.Add(retry), "the server does not answer: %s", v.Local.Obs.SQLError)
}

// vacantNotAllowed keeps a node out of the race by its own settings.
func vacantNotAllowed(now time.Time, v *View) Verdict {
	switch {
	case v.primary():
		return pass("the server is a primary already")
	case v.Settings.Tags.NoFailover:
		return rest("following a different leader because I am not allowed to promote (nofailover)")
	case v.Settings.StandbyCluster:
		return rest("the configuration asks for a standby cluster, which this release does not support: it never promotes")
	}
	return pass("this node may lead")
}

// vacantSession renews the session first if less than half of it is left.
func vacantSession(now time.Time, v *View) Verdict {
	if !v.sessionTooOld(now) {
		return pass("the session is young enough")
	}
	if !v.free(LaneStore) || (v.Store.Problem != "" && now.Before(v.Session.Failed.Add(v.sessionRetry(now)))) {
		return rest("the session has to be renewed before a race; the store is busy or not accessible")
	}
	return act("the session is renewed before a race", v.keepSession())
}

// vacantLeaseAlive waits while the last leader's member key still says that its server runs as primary: a store may end a session
// early, and that server may not know yet. It ends when the key goes or says otherwise, when that node answers that it is not
// writable, or after W (safety 3.1).
func vacantLeaseAlive(now time.Time, v *View) Verdict {
	last := v.lastPrimary()
	if last == nil {
		return pass("no other member says that it runs as primary")
	}
	end := v.Vacancy.Since.Add(v.w(now))
	p := v.Peers[last.Name]
	switch {
	case !now.Before(end):
		return pass("the last leader's authority is over, whatever its member key says")
	case p.Answer.writesNoMore() && !p.AskedAt.Before(v.Vacancy.Since):
		return pass(last.Name + " answers that it is not writable")
	case p.Asking == 0 && (p.AskedAt.Before(v.Vacancy.Since) || now.Sub(p.At) >= time.Second):
		return act("is "+last.Name+" still writable?", PollPeer{*last})
	}
	return wait(earliest(end, p.At.Add(time.Second)), "the leader key is gone, but %s may still be writable", last.Name).until(end)
}

// lastPrimary is another member whose key says that it runs as primary.
func (v *View) lastPrimary() *dcs.Member {
	for i := range v.Store.Cluster.Members {
		if m := &v.Store.Cluster.Members[i]; m.Name != v.Self.Name && runsAsPrimary(m) {
			return m
		}
	}
	return nil
}

// vacantCandidateNamed lets the candidate of a switchover or failover go first, as long as it answers as a standby that may lead.
func vacantCandidateNamed(now time.Time, v *View) Verdict {
	f := v.Store.Cluster.Failover
	if f == nil || f.Candidate == "" || f.Candidate == v.Self.Name || !requestDue(now, f) || f.Version == v.FailedRequest {
		return pass("no other candidate is named")
	}
	m := findMember(&v.Store.Cluster, f.Candidate)
	end := v.Vacancy.Since.Add(v.w(now))
	p := v.Peers[f.Candidate]
	asked := !p.At.IsZero() && !p.AskedAt.Before(v.Vacancy.Since)
	switch {
	case m == nil || noFailover(m) || !now.Before(end):
		return pass("the named candidate " + f.Candidate + " cannot lead")
	case asked && (!p.Answer.Reachable || !p.Answer.InRecovery):
		return pass("the named candidate " + f.Candidate + " does not answer as a standby")
	case p.Asking == 0 && (!asked || now.Sub(p.At) >= time.Second):
		return act("can the named candidate "+f.Candidate+" lead?", PollPeer{*m})
	}
	return wait(earliest(end, p.At.Add(time.Second)), "waiting for %s, the named candidate", f.Candidate).until(end)
}

// vacantHandedToUs takes a key that the last leader released for us, after it had stopped and we had all of its log: nobody needs
// to be asked.
func vacantHandedToUs(now time.Time, v *View) Verdict {
	if !v.handedToUs(now) || !v.free(LaneStore) || v.Store.Urgent {
		return pass("the key was not released for us")
	}
	return act("the leader has handed over to us", v.acquire())
}

// acquire asks for the leader key as things stand.
func (v *View) acquire() AcquireKey {
	return AcquireKey{dcs.Acquire{Expect: v.expect(), Member: v.member(), Timeline: uint32(v.nextTimeline())}}
}

// vacantNotFounded lets W pass when the cluster has no /initialize although we have data: the store may have been wiped, and a leader may
// live. A server that is found running as primary is that leader.
func vacantNotFounded(now time.Time, v *View) Verdict {
	end := v.Vacancy.Since.Add(v.w(now))
	if v.systemID() != "" || (v.primary() && !v.closed()) || !now.Before(end) || v.changed() {
		return pass("the cluster is known in the store, or enough time has passed")
	}
	if v.Store.Cluster.Initialize != nil {
		return rest("somebody founds the cluster %s anew although there is data here; waiting", v.Self.Scope)
	}
	return wait(end, "the store does not know the cluster, but there is data here: waiting for a leader that may live").until(end)
}

// vacantNewcomer lets the other members announce themselves before a node races that has seen no leader since it started: after a long
// outage of the store, all member keys have expired, and those who were there come back at once. After an end of the whole cluster the last
// leader may be the last to come back, too: who lacks some of what it had waits for it for W.
func vacantNewcomer(now time.Time, v *View) Verdict {
	if v.Vacancy.LastName != "" || v.primary() {
		return pass("we know who led last")
	}
	lag, end := v.lag(), v.Vacancy.Since.Add(v.newcomerTime())
	if lag > 0 {
		end = v.Vacancy.Since.Add(v.w(now))
	}
	switch {
	case !now.Before(end):
		return pass("we have waited for the others")
	case lag > 0:
		return v.whileBehind(now, end, fmt.Sprintf("this node has just started, and lacks %d bytes of what the last leader had: waiting for other members to announce themselves", lag))
	}
	return wait(end, "this node has just started: waiting for other members to announce themselves").until(end)
}

// whileBehind waits until end, and looks at our own position each second: a server that has just started goes on to replay what it has.
func (v *View) whileBehind(now, end time.Time, why string) Verdict {
	next := v.Local.Sent.Add(time.Second)
	if v.free(LaneObserve) && !now.Before(next) {
		return act(why, Observe{})
	}
	return wait(earliest(next, end), "%s", why).until(end)
}

// newcomerTime is how long members of a store that knows nobody are given to announce themselves.
func (v *View) newcomerTime() time.Duration { return min(v.Settings.RetryTimeout, 5*time.Second) }

// vacantLeftBehind waits for a leader that has ended in order before anybody had all of its log: it is most likely to come back, with rows
// that a promotion here would lose for a planned act. It ends when that node's member key goes, or after W;
// only then are the others asked, so that what they say is young when it counts.
func vacantLeftBehind(now time.Time, v *View) Verdict {
	end, last := v.Vacancy.Since.Add(v.w(now)), v.Vacancy.LastName
	switch {
	case !v.Vacancy.Ended || v.named(now) || v.primary() || v.lag() <= 0:
		return pass("we lack nothing of a leader that has ended in order")
	case findMember(&v.Store.Cluster, last) == nil || !now.Before(end):
		return pass(last + " does not come back")
	}
	return v.whileBehind(now, end, fmt.Sprintf("%s has ended in order with %d bytes of the log that are not here: waiting for it to come back", last, v.lag()))
}

// vacantPoll asks every member how far its log reaches, as of a moment after the vacancy.
func vacantPoll(now time.Time, v *View) Verdict {
	self, _ := v.Local.position()
	r := v.race(now, v.Vacancy.Since, self)
	switch {
	case len(r.ask) > 0:
		return act("nobody leads: asking the members", r.ask...)
	case r.pending != "":
		return wait(r.until, "waiting for the answer of %s", r.pending)
	}
	return pass("all members have answered, or were silent")
}

// vacantPrimaryAlive keeps out of the race while some member answers as writable.
func vacantPrimaryAlive(now time.Time, v *View) Verdict {
	self, _ := v.Local.position()
	r := v.race(now, v.Vacancy.Since, self)
	if r.writable == "" {
		return pass("no member answers as writable")
	}
	return r.waitFor(v.Peers[r.writable].At.Add(answerAge), "%s is still alive and writable", r.writable)
}

// vacantOwnPosition looks at our own log once more after the answers, so that candidates of a primary that still writes do not
// disqualify each other.
func vacantOwnPosition(now time.Time, v *View) Verdict {
	self, _ := v.Local.position()
	r := v.race(now, v.Vacancy.Since, self)
	switch {
	case !v.Local.Sent.Before(r.heard) && v.Local.Sent.After(v.Vacancy.Since):
		return pass("our own position is as young as the answers")
	case v.free(LaneObserve):
		return act("our own position is read after the answers", Observe{})
	}
	return rest("reading our own position")
}

// vacantReceiving waits while WAL still arrives: the old primary lives. It ends when the log rests, or after primary_race_backoff (W if
// the last leader has a guard, or is not known).
func vacantReceiving(now time.Time, v *View) Verdict {
	if v.primary() || v.Vacancy.Moved.IsZero() {
		return pass("our log rests")
	}
	end := v.Vacancy.Since.Add(v.Settings.PrimaryRaceBackoff)
	if v.Vacancy.guarded() {
		end = v.Vacancy.Since.Add(v.w(now))
	}
	still := v.Vacancy.Moved.Add(5 * retry)
	if !now.Before(end) || !now.Before(still) {
		return pass("our log rests, or was waited for long enough")
	}
	if v.free(LaneObserve) && now.Sub(v.Local.Sent) >= retry {
		return act("does our log still grow?", Observe{})
	}
	return wait(earliest(v.Local.Sent.Add(retry), end), "WAL still arrives: the old primary may live").until(end)
}

// vacantBehind keeps a node out of the race while a member that may lead has more of the log, or a newer timeline.
func vacantBehind(now time.Time, v *View) Verdict {
	self, _ := v.Local.position()
	r := v.race(now, v.Vacancy.Since, self)
	if r.ahead == "" {
		return pass("no member that may lead is ahead")
	}
	return r.waitFor(v.Peers[r.ahead].At.Add(answerAge), "Wal position of %s (%s) is ahead of my wal position (%s)", r.ahead, r.by, self)
}

// vacantPriority lets a member with as much log and a higher failover_priority go first, unless an operator named this node.
func vacantPriority(now time.Time, v *View) Verdict {
	self, _ := v.Local.position()
	r := v.race(now, v.Vacancy.Since, self)
	switch {
	case r.tied == "" || v.primary():
		return pass("no member with as much log has a higher priority")
	case v.chosen(now):
		return pass("an operator named this node")
	}
	return r.waitFor(v.Peers[r.tied].At.Add(answerAge), "%s has equally tolerable WAL position and a higher priority than this node", r.tied)
}

// vacantTimeline keeps a node out of the race that is on an older timeline than the cluster has reached: always for a primary that was
// left behind, for standbys if check_timeline is set.
func vacantTimeline(now time.Time, v *View) Verdict {
	h := v.Store.Cluster.History
	self, _ := v.Local.position()
	if len(h) == 0 || self.Timeline > postgres.Timeline(h[len(h)-1].Timeline) || self.Timeline == 0 {
		return pass("no newer timeline is known")
	}
	newest := h[len(h)-1].Timeline + 1
	if v.primary() || v.Settings.CheckTimeline {
		return rest("our timeline %d is older than the cluster's, %d", self.Timeline, newest)
	}
	return pass("our timeline is older than the cluster's, but check_timeline is off")
}

// lag is how many bytes this node lacks of what the last leader had when it said so last; below zero: it has more.
func (v *View) lag() int64 {
	self, _ := v.Local.position()
	return int64(v.Store.Cluster.Status.Optime) - int64(self.LSN)
}

// chosen says whether an operator named this node as the candidate of a switchover or failover.
func (v *View) chosen(now time.Time) bool {
	f := v.Store.Cluster.Failover
	return requestDue(now, f) && f.Candidate == v.Self.Name
}

// vacantLagging keeps a standby out of the race that is further behind the leader's last known position than maximum_lag_on_failover,
// unless an operator named it.
func vacantLagging(now time.Time, v *View) Verdict {
	if v.chosen(now) || v.primary() || v.lag() <= v.Settings.MaximumLagOnFailover {
		return pass("we are not too far behind the leader's last known position")
	}
	return rest("this node lacks %d bytes of what the leader had, more than maximum_lag_on_failover", v.lag())
}

// vacantAcquire asks for the leader key.
func vacantAcquire(now time.Time, v *View) Verdict {
	switch {
	case !v.free(LaneStore):
		return rest("about to ask for the leader key; the store is busy")
	case v.Store.Urgent:
		return v.readFirst(now, "is the leader key still free?")
	}
	return act("no member is ahead: asking for the leader key", v.acquire())
}
