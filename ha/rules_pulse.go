package ha

import (
	"reflect"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// pulseRules keep facts and promises fresh. Each begins something on a lane that is free and lets the later rules speak.
var pulseRules = []Rule{
	{"pulse.configure", pulseConfigure},
	{"pulse.observe", pulseObserve},
	{"pulse.sweep", pulseSweep},
	{"pulse.hung", pulseHung},
	{"pulse.renew", pulseRenew},
	{"pulse.failsafe", pulseFailsafe},
	{"pulse.fence", pulseFence},
	{"pulse.session", pulseSession},
	{"pulse.load", pulseLoad},
	{"pulse.publish", pulsePublish},
	{"pulse.slots", pulseSlots},
	{"pulse.answer", pulseAnswer},
	{"pulse.promise", pulsePromise},
}

// retry is the pause between two attempts at an overdue renewal.
const retry = 100 * time.Millisecond

// pulseConfigure hands changed settings to the server, before anything else is asked of it.
func pulseConfigure(now time.Time, v *View) Verdict {
	c := &v.Configured
	switch {
	case c.Done == c.Version:
		return pass("the server knows the settings")
	case !v.free(LaneConfigure):
		return pass("settings are being handed over")
	case now.Before(c.Failed.Add(v.Settings.LoopWait)) && !c.Failed.IsZero():
		return pass("the settings could not be handed over: " + c.Problem)
	}
	return act("the settings changed", Configure{v.Settings.Postgres})
}

// pulseObserve looks at the server once per loop, and at once when something has happened to it.
func pulseObserve(now time.Time, v *View) Verdict {
	switch {
	case !v.free(LaneObserve):
		return pass("being observed")
	case v.Local.Stale || !v.Local.Known:
		return act("something happened to the server", Observe{})
	case !now.Before(v.Local.Sent.Add(v.Settings.LoopWait)):
		return act("it is time for a look", Observe{})
	case v.startsAsPrimary() && v.Local.Obs.Postmaster == nil && !now.Before(v.Local.Sent.Add(5*retry)):
		return act("a server is being started: the fence has to be told which", Observe{})
	}
	return pass("observed a moment ago")
}

// pulseSweep ends what a server that has crashed left: its backends may go on answering their clients. The guard does that, too, unless it is
// frozen or gone at that moment (safety 5.4).
func pulseSweep(now time.Time, v *View) Verdict {
	l := v.LastTask
	switch {
	case !v.Local.Unswept || v.running():
		return pass("no server has crashed, or what it left was swept")
	case v.Task != nil:
		return pass("work on the server is under way: it sweeps first, or fails")
	case l != nil && l.Task.Kind == postgres.TaskStop && l.Fault != nil && now.Before(l.At.Add(time.Second)):
		return pass("what is left of the server could not be ended: " + l.Fault.Text)
	}
	return act("the server has crashed: what is left of it is swept", RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate}, Why: WhyCrash})
}

// hung is when a request to the store counts as one that hangs: most are answered within some milliseconds.
const hung = 3 * retry

// pulseHung gives up a leader's request that hangs while news of the leader key came past it: the store can be reached again, and may have
// ended our session (safety 1.7). The next request asks.
func pulseHung(now time.Time, v *View) Verdict {
	switch f := &v.Lanes[LaneStore]; {
	case v.Lease.State != LeaseHeld || f.ID == 0 || f.Given || !v.Store.LeaderHint.After(f.Since):
		return pass("no request is behind the news of the leader key")
	case now.Before(f.Since.Add(hung)):
		return pass("the request was sent a moment ago")
	default:
		return act("the leader key may have changed while a request hangs: it is given up", GiveUpRequest{f.ID, "news of the leader key came past it"})
	}
}

// pulseRenew proves to ourselves that we still hold the leader key, in time to try twice. An overdue renewal is repeated at once.
func pulseRenew(now time.Time, v *View) Verdict {
	switch {
	case v.Lease.State != LeaseHeld:
		return pass("we do not hold the leader key")
	case v.changed():
		return pass("the store that could confirm it does not answer any more")
	case !v.free(LaneStore):
		return pass("the store is being asked already")
	case now.Before(v.renewAt()):
		return pass("renewed this loop")
	}
	return act("the leader key is to be renewed", v.renewal(now))
}

// renewAt is when the next renewal is due.
func (v *View) renewAt() time.Time {
	switch at := v.ClockJump.At; {
	case !v.Lease.RenewFailed.IsZero():
		return v.Lease.RenewFailed.Add(retry)
	case v.Lease.Unconfirmed && !v.Lease.Giving:
		return v.Lease.Since
	case v.ClockJump.By > 0 && v.Lease.Auth.Sent.Before(at):
		return at // the machine may have been frozen
	}
	if at := v.moveAt(); v.Settings.TTL != v.AskedTTL && at.Before(v.Lease.Auth.Sent.Add(v.budget().Period)) {
		return at
	}
	return v.Lease.Auth.Sent.Add(v.budget().Period)
}

// moveAt is when the leader key may move to a session of the ttl that is set now. The guard's deadlines only ever grow: under a shorter
// session than the one that it was told of, it would let the server live on after the key. It is told of no more than the shorter one would
// allow (see order), and the move waits until that is more than it knows.
func (v *View) moveAt() time.Time {
	if v.Settings.TTL >= v.AskedTTL || v.Fence.Until.IsZero() {
		return time.Time{}
	}
	// A moment later, so that the fence is told of the shorter session's steps at once: those of a long one begin earlier (failsafe seed 240).
	return v.Fence.Until.Add(time.Millisecond - NewBudget(Authority{TTL: v.Settings.TTL}, v.Settings.LoopWait).Kill.Sub(time.Time{}))
}

func (v *View) renewal(now time.Time) RenewKey {
	ttl := v.Settings.TTL
	if now.Before(v.moveAt()) {
		ttl = v.AskedTTL
	}
	r := dcs.Renew{Leader: v.Lease.Leader, TTL: ttl, Status: v.status(), Member: v.member(), Failsafe: v.failsafeNews()}
	r.Member.TanistTTL = seconds(ttl)
	r.Publish = v.memberRides(now, r.Member)
	if !v.Lease.RenewFailed.IsZero() {
		r.Status, r.Publish = nil, false // a store that takes no writes may still prove that the key is ours
	}
	return RenewKey{r}
}

// memberRides says whether the renewal takes the member key along, which saves a request: what has changed, and a new position in the loop before it
// would be published by itself. Where a renewal follows the other (ZooKeeper, with a ttl of few ticks) there is no other time for it.
func (v *View) memberRides(now time.Time, m dcs.MemberData) bool {
	s := &v.Store
	switch {
	case !s.MemberFailed.IsZero() && now.Before(s.MemberFailed.Add(v.sessionRetry(now))):
		return false // it shall not make renewals fail
	case s.MemberAt.IsZero():
		return true
	}
	return !sameMember(m, s.Member, now.Before(s.MemberAt.Add(v.positionPause()-v.Settings.LoopWait)))
}

// pulseSession keeps the session of the member key alive while we do not lead (a leader's renewal does that, too).
func pulseSession(now time.Time, v *View) Verdict {
	s := &v.Session
	switch {
	case v.Lease.State == LeaseHeld && !v.changed():
		return pass("the renewal keeps the session")
	case v.foreign() && v.changed():
		return pass("the store holds another cluster")
	case !v.free(LaneStore):
		return pass("the store is being asked already")
	case !v.Local.Known || !v.nameChecked():
		return pass("we have not announced ourselves yet")
	case !s.Failed.IsZero() && now.Before(s.Failed.Add(v.sessionRetry(now))):
		return pass("the session could not be kept a moment ago")
	case s.ID != "" && s.Failed.IsZero() && now.Before(s.Sent.Add(v.sessionPeriod())) && v.AskedTTL == v.sessionTTL():
		return pass("the session was kept this loop")
	}
	return act("the session is to be kept", v.keepSession())
}

// keepSession asks for our session with the ttl that it is to have.
func (v *View) keepSession() KeepSession {
	r := dcs.KeepAlive{TTL: v.sessionTTL(), Member: v.member()}
	r.Member.TanistTTL = seconds(r.TTL)
	return KeepSession{r}
}

// sessionTTL is that of the session that is to be asked for. The leader key of an earlier run is taken over with no shorter session than it
// had: that run's guard may let the server live for so long, and another would lead before (safety 1.3 and 5.6).
func (v *View) sessionTTL() time.Duration {
	if v.holds() || v.TookOver || !v.ownOldKey() {
		return v.Settings.TTL
	}
	return max(v.Settings.TTL, v.keyTTL(v.Self.Name))
}

// keyTTL is the ttl that a member's key tells of its session; 0: nothing.
func (v *View) keyTTL(name string) time.Duration {
	m := findMember(&v.Store.Cluster, name)
	if m == nil {
		return 0
	}
	return time.Duration(min(m.Data.TanistTTL, maxTTL)) * time.Second
}

// maxTTL bounds what is believed of a ttl in a member key, in seconds.
const maxTTL = 24 * 3600

func (v *View) sessionPeriod() time.Duration { return min(v.Settings.LoopWait, v.Settings.TTL/3) }

// sessionRetry is the pause after a failed request to the store: short at first, half a second in a long outage.
func (v *View) sessionRetry(now time.Time) time.Duration {
	if now.Sub(v.Store.FailedAt) < 2*time.Second {
		return retry
	}
	return 5 * retry
}

// calmLoops is how many loops a change may wait that nothing is decided by, and driftLoops how many one that is most likely a member's new
// position: all of them read by all would cost the store the square of their number. Who races reads them anew in any case.
const (
	calmLoops  = 3
	driftLoops = 30
)

// pulseLoad reads the store when something has changed: at once if anything is decided by it.
func pulseLoad(now time.Time, v *View) Verdict {
	s := &v.Store
	switch {
	case !v.free(LaneStore):
		return pass("the store is being asked already")
	case s.Known && !s.Stale && !s.Drifted:
		return pass("nothing has changed")
	case s.Problem != "" && now.Before(s.Tried.Add(v.sessionRetry(now))):
		return pass("DCS is not accessible: " + s.Problem)
	case s.Known && !s.Urgent && now.Before(s.Sent.Add(calmLoops*v.Settings.LoopWait)):
		return pass("what has changed can wait")
	case s.Known && !s.Stale && now.Before(s.Sent.Add(driftLoops*v.Settings.LoopWait)):
		return pass("only members' positions have changed")
	}
	return act("the store has changed", LoadCluster{})
}

// readFirst reads the store to answer a question. One that did not serve a moment ago is given a moment: it may refuse at once, over and over.
func (v *View) readFirst(now time.Time, question string) Verdict {
	if at := v.Store.Tried.Add(v.sessionRetry(now)); v.Store.Problem != "" && now.Before(at) {
		return wait(at, "%s DCS is not accessible: %s", question, v.Store.Problem)
	}
	return act(question, LoadCluster{})
}

// pulsePublish writes our member key: at once when what others decide by has changed, positions once per loop.
func pulsePublish(now time.Time, v *View) Verdict {
	s := &v.Store
	switch {
	case v.Session.ID == "" || !v.free(LaneStore) || !v.Local.Known:
		return pass("not now")
	case !s.MemberFailed.IsZero() && now.Before(s.MemberFailed.Add(v.sessionRetry(now))):
		return pass("could not be published a moment ago")
	}
	m := v.member()
	if !s.MemberAt.IsZero() && sameMember(m, s.Member, now.Before(s.MemberAt.Add(v.positionPause()))) {
		return pass("published as it is")
	}
	return act("our member key is old", Publish{m})
}

// positionPause is how long a position may stand in the member key; a leader's stands in /status, too, with each renewal.
func (v *View) positionPause() time.Duration {
	if v.Lease.State == LeaseHeld {
		return 6 * v.Settings.LoopWait
	}
	return v.Settings.LoopWait
}

// sameMember compares two member keys, with or without their positions.
func sameMember(a, b dcs.MemberData, withoutPositions bool) bool {
	if withoutPositions {
		a.XLogLocation, a.ReceiveLSN, a.ReplayLSN = b.XLogLocation, b.ReceiveLSN, b.ReplayLSN
	}
	return reflect.DeepEqual(a, b)
}

// pulseSlots keeps a replication slot for each member that streams from us, so that a standby that is away finds its WAL.
func pulseSlots(now time.Time, v *View) Verdict {
	switch {
	case !v.free(LaneSlots) || v.Task != nil || v.Local.Obs.SQL == nil || v.Local.Closed:
		return pass("not now")
	case v.mayWrite() && !v.Lease.Auth.Holds(now), v.Lease.State == LeasePromised:
		return pass("we do not lead")
	}
	want := v.wantSlots()
	if v.Configured.Slots == joinNames(want) && sameSlots(want, v.Local.Obs.SQL.Slots) {
		return pass("the slots are there")
	}
	if now.Before(v.Configured.SlotsAt.Add(v.Settings.LoopWait)) && v.Configured.Slots == joinNames(want) {
		return pass("the slots were seen to this loop")
	}
	if len(want) == 0 && len(physical(v.Local.Obs.SQL.Slots)) == 0 {
		return pass("no slots are wanted")
	}
	return act("the members have changed: slots", EnsureSlots{want})
}

func physical(have []postgres.Slot) []postgres.Slot {
	var p []postgres.Slot
	for _, s := range have {
		if s.Physical {
			p = append(p, s)
		}
	}
	return p
}

func sameSlots(want []string, have []postgres.Slot) bool {
	p := physical(have)
	if len(p) != len(want) {
		return false
	}
	for _, w := range want {
		found := false
		for _, s := range p {
			found = found || s.Name == w
		}
		if !found {
			return false
		}
	}
	return true
}

// pulseAnswer answers a command whose answer is known.
func pulseAnswer(now time.Time, v *View) Verdict {
	for _, c := range v.Commands {
		switch cmd := c.Command.(type) {
		case Look:
			if v.Local.Sent.After(c.At) || v.Local.Sent.Equal(c.At) {
				return act("a fresh look was asked for", Reply{Command: c.ID})
			}
			if v.free(LaneObserve) {
				return act("a fresh look is asked for", Observe{})
			}
		case Await:
			if p, ok := v.Local.position(); ok && p.LSN >= cmd.LSN {
				return act("the awaited position is reached", Reply{Command: c.ID})
			}
			if v.free(LaneObserve) && !now.Before(v.Local.Sent.Add(awaitPause)) {
				return act("a position is awaited", Observe{})
			}
		}
	}
	return pass("nobody waits for an answer")
}

// awaitPause is the time between two looks at our position while somebody awaits it; a hand-over takes one or two.
const awaitPause = 5 * time.Millisecond

// nextPulse is when the heartbeat has something to do at the latest.
func nextPulse(now time.Time, v *View) time.Time {
	next := now.Add(v.Settings.LoopWait)
	soon := func(t time.Time) {
		if t.After(now) {
			next = earliest(next, t)
		}
	}
	soon(v.Local.Sent.Add(v.Settings.LoopWait))
	if v.startsAsPrimary() {
		soon(v.Local.Sent.Add(5 * retry))
	}
	v.authorityPulse(now, soon)
	v.nextFailsafe(now, soon)
	if v.Store.Drifted {
		soon(v.Store.Sent.Add(driftLoops * v.Settings.LoopWait))
	}
	if v.Store.Stale {
		soon(v.Store.Sent.Add(calmLoops * v.Settings.LoopWait))
		soon(v.Store.Tried.Add(v.sessionRetry(now)))
	}
	soon(v.Failsafe.Promise.Until)
	soon(v.Store.MemberAt.Add(v.positionPause()))
	soon(v.Store.MemberFailed.Add(v.sessionRetry(now)))
	soon(v.Configured.Failed.Add(v.Settings.LoopWait))
	soon(v.Configured.SlotsAt.Add(v.Settings.LoopWait))
	v.watchdogPulse(soon)
	soon(v.Fence.Failed.Add(v.fencePause()))
	if !v.Fence.Unguarded.IsZero() {
		soon(v.guardBy())
	}
	if f := v.Store.Cluster.Failover; f != nil && f.ScheduledAt != nil {
		soon(*f.ScheduledAt)
	}
	soon(v.Store.WriteFailed.Add(time.Second))
	if v.Store.Problem != "" {
		soon(v.Store.Refused.Add(v.sessionRetry(now)))
	}
	if v.Adopted {
		soon(v.grace())
	}
	if t := v.Task; t != nil {
		soon(t.Task.By.Add(overdue))
		soon(t.CancelledAt.Add(overdue))
		soon(t.CancelledAt.Add(stopTime(v.Settings.TTL)))
		soon(v.Killed.Add(time.Second))
	}
	for _, c := range v.Commands {
		if _, ok := c.Command.(Await); ok {
			soon(v.Local.Sent.Add(awaitPause))
		}
	}
	return next
}

// authorityPulse is when a renewal or a keepalive is due, or a step of the end of authority.
func (v *View) authorityPulse(now time.Time, soon func(time.Time)) {
	if v.Lease.State == LeaseHeld {
		b := v.budget()
		soon(v.Lanes[LaneStore].Since.Add(hung))
		soon(v.renewAt())
		soon(b.Rule)
		soon(b.Kill)
		soon(b.End)
	}
	switch {
	case v.Lease.State == LeaseHeld && !v.changed(): // the renewal keeps the session
	case !v.Session.Failed.IsZero():
		soon(v.Session.Failed.Add(v.sessionRetry(now)))
	default:
		soon(v.Session.Sent.Add(v.sessionPeriod()))
	}
}
