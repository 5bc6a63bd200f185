package ha

import (
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// foldHint notes which part of what we know of the store is old.
func foldHint(now time.Time, v *View, e Hinted) {
	v.Store.Seen = max(v.Store.Seen, e.Hint.Version)
	key := e.Hint.Key
	member, isMember := strings.CutPrefix(key, "members/")
	switch {
	case isMember:
		foldMemberHint(v, member, e.Hint.Put)
	case key == "status":
		foldStatusHint(v, e.Hint)
	case key == "news":
		v.Store.Stale = true
		newcomer := v.Lease.State == LeaseHeld && findMember(&v.Store.Cluster, string(e.Hint.Value)) == nil // it needs a slot
		v.Store.Urgent = v.Store.Urgent || newcomer || v.eachWordCounts()
	case key == "history", key == "failsafe", key == "optime/leader":
		v.Store.Stale = true
		v.Store.Urgent = v.Store.Urgent || v.eachWordCounts()
	default:
		v.Store.Stale, v.Store.Urgent = true, true
		if key == "leader" || key == "" {
			v.Store.LeaderHint = now
		}
	}
}

// eachWordCounts says whether a member's word may decide something: while nobody leads, or somebody hands over.
func (v *View) eachWordCounts() bool {
	return v.Store.Cluster.Leader == nil || v.Store.Cluster.Failover != nil
}

// foldMemberHint: a member key was written, which put says for certain, or deleted.
func foldMemberHint(v *View, member string, put bool) {
	s := &v.Store
	l := s.Cluster.Leader
	switch {
	case member == v.Self.Name:
		s.Stale, s.Drifted = s.Stale || !put, true // written by us, most of the time
		return
	case findMember(&s.Cluster, member) == nil:
		s.Stale, s.Urgent = true, true // a new member: it needs a slot
	case put:
		s.Drifted = true
	default:
		s.Stale = true
	}
	if v.eachWordCounts() || l.Name == member && !v.leaderReady() { // a new leader, until it runs as primary
		s.Stale, s.Urgent = true, true
	}
}

// foldStatusHint: the leader has written its status, once per loop while there is a writer. Where the hint brings it, nothing has to be read.
func foldStatusHint(v *View, h dcs.Hint) {
	s := &v.Store
	switch {
	case v.Lease.State == LeaseHeld: // our own
	case v.eachWordCounts():
		s.Stale, s.Urgent = true, true
	case h.Value == nil:
		s.Stale = true
	case s.Known && h.Version > s.Cluster.Version:
		if status, ok := dcs.DecodeStatus(h.Value); ok {
			s.Cluster.Status = status
		}
	}
}

// leaderReady says whether the leader's member key was last read as that of a running primary that has made its checkpoint.
func (v *View) leaderReady() bool {
	m := v.leaderMember()
	return m != nil && m.Data.State == dcs.StateRunning && m.Data.Role == dcs.RolePrimary &&
		(m.Data.CheckpointAfterPromote == nil || *m.Data.CheckpointAfterPromote)
}

// answered notes that the store serves, or does not.
func (v *View) answered(now time.Time, f *Fault) {
	if a := v.Store.Answered; f == nil && !a.IsZero() && now.Sub(a) > 2*v.Settings.LoopWait {
		v.Store.Away = now // this process stood still
	}
	if f == nil || f.Kind == FaultConflict || f.Kind == FaultSessionLost {
		v.Store.Answered, v.Store.FailedAt, v.Store.Problem = now, time.Time{}, ""
		return
	}
	if v.Store.FailedAt.IsZero() {
		v.Store.FailedAt = now
	}
	v.Store.Refused, v.Store.Away = now, now
	v.Store.Problem = f.Text
	v.Store.Stale = true
}

func foldLoaded(now time.Time, v *View, e Loaded) {
	v.answered(now, e.Fault)
	if e.Fault != nil {
		v.Store.Urgent = true
		return
	}
	s := &v.Store
	if f := e.Cluster.Failover; f != nil && (s.Cluster.Failover == nil || s.Cluster.Failover.Version != f.Version) {
		v.RequestSeen = now
	}
	was, missed := s.Cluster.Leader, s.Known && ledBetween(&s.Cluster, &e.Cluster)
	if foldStoreChanged(now, v, &e.Cluster) {
		was, missed = nil, false
	}
	s.Known, s.Cluster, s.Sent, s.At = true, e.Cluster, e.Sent, now
	s.Seen = max(s.Seen, e.Cluster.Version)
	if e.Settings != nil {
		foldSettings(now, v, *e.Settings)
	}
	if e.Cluster.Config != nil {
		v.ConfigRaw = e.Cluster.Config.Raw
	}
	v.Newest = max(v.Newest, newestOf(&e.Cluster))
	foldMixed(now, v)
	if m := findMember(&e.Cluster, v.Self.Name); v.Session.ID != "" && (m == nil || m.Meta.Session != v.Session.ID) {
		v.Store.MemberAt = time.Time{} // somebody has deleted our member key
	}
	foldLeaderSeen(now, v)
	foldFailsafeSeen(now, v, e.Sent)
	foldVacancy(now, v, missed)
	foldStoreSettled(now, v, was)
	if v.Rejoin.Leader != leaderLife(&e.Cluster) {
		v.Rejoin = Rejoin{Leader: leaderLife(&e.Cluster), Since: now}
	}
	foldClaimSeen(v)
}

// foldClaimSeen compares what a linearizable read shows of /initialize with what we thought. One that is empty and lives with our own
// session is ours, also if the answer to our claim was lost: nobody else would ever touch it.
func foldClaimSeen(v *View) {
	i, mine := v.Store.Cluster.Initialize, v.Initialize.Mine
	switch {
	case mine != nil && (i == nil || i.Entry.Created != mine.Entry.Created):
		v.Initialize.Mine = nil
	case mine == nil && i != nil && i.SystemID == "" && v.Session.ID != "" && i.Entry.Session == v.Session.ID:
		v.Initialize.Mine = i
	}
}

// foldLeaderSeen compares what a linearizable read shows of the leader key with what we thought.
func foldLeaderSeen(now time.Time, v *View) {
	l := v.Store.Cluster.Leader
	mine := v.mine(l)
	switch {
	case v.Lease.State == LeaseHeld && v.changed() && mine:
		v.Lease = v.leaseOf(now, l.Meta) // it was created again, and the answer to that was lost
	case v.Lease.State == LeaseHeld && v.leadsOn(now):
	case v.Lease.State == LeaseHeld && !mine && l != nil && l.Name == v.Self.Name && !v.Lease.RenewFailed.IsZero() && !v.changed():
		// A renewal of unknown fate may have moved the key to another session of ours: the next renewal tells.
	case v.Lease.State == LeaseHeld && l == nil:
		v.gone(now, "the store shows another leader key, or none")
	case v.Lease.State == LeaseHeld && (!mine || l.Meta.Created != v.Lease.Leader.Created):
		v.lost("the store shows another leader key, or none")
	case v.Lease.State == LeasePromised:
		foldPromised(now, v, mine)
	case v.Lease.State == LeaseDoubt && mine:
		// It is dated from the session's last confirmation, whatever became of the acquire (safety 1.4).
		v.Lease.State, v.Lease.Leader, v.Lease.Since = LeaseHeld, l.Meta, now
		v.Lease.Auth = v.proven()
		v.Lease.Late, v.Lease.Looked, v.Lease.Unconfirmed = true, now, true
	case v.Lease.State == LeaseDoubt || v.Lease.State == LeaseLost:
		if !mine {
			v.Lease = Lease{Cause: v.Lease.Cause}
			v.TookOver = v.TookOver && !(l != nil && l.Name == v.Self.Name) // it did not happen: once more
		}
	case v.Lease.State == LeaseNone && mine:
		v.Lease = v.leaseOf(now, l.Meta)
	}
}

// leaseOf is the lease by a leader key that was found to live with our session.
func (v *View) leaseOf(now time.Time, l dcs.Meta) Lease {
	return Lease{State: LeaseHeld, Leader: l, Since: now, Decided: now, Late: true, Looked: now, Unconfirmed: true, Auth: v.proven()}
}

// proven is the authority that a leader key gives which lives with our session. A keepalive alone proves nothing: a leader of the store that
// was deposed may have answered it.
func (v *View) proven() Authority { return Authority{Sent: v.Session.Proven, TTL: v.Session.TTL} }

func (v *View) lost(cause string) {
	v.Lease = Lease{State: LeaseLost, Cause: cause}
	v.Store.Stale, v.Store.Urgent = true, true
}

// ledBetween says whether somebody has led between two reads: each leader writes one of these keys, at the latest when it acquires. Two
// reads that show nobody are not one vacancy then, and what was heard during the first says nothing about the second.
func ledBetween(was, is *dcs.Cluster) bool {
	return was.Reserved.Version != is.Reserved.Version || was.HistoryVersion != is.HistoryVersion || was.FailsafeVersion != is.FailsafeVersion
}

// foldVacancy remembers who led last, and since when nobody does. missed says that since the last read somebody has led of whom we know nothing.
func foldVacancy(now time.Time, v *View, missed bool) {
	c := &v.Store.Cluster
	switch {
	case c.Leader != nil:
		v.Vacancy = Vacancy{Known: c.Members, LastName: c.Leader.Name, LastSeen: now, Last: findMember(c, c.Leader.Name)}
		return
	case missed && !v.Vacancy.Since.IsZero():
		v.Vacancy = Vacancy{Known: v.Vacancy.Known, Since: now}
	}
	if v.Vacancy.Since.IsZero() {
		v.Vacancy.Since, v.Vacancy.Moved = now, time.Time{}
	}
	if m := findMember(c, v.Vacancy.LastName); m != nil {
		v.Vacancy.Last = m
		v.Vacancy.Ended = v.Vacancy.Ended || m.Data.Role == dcs.RoleDemoted && m.Data.State == dcs.StateStopped
	}
}

func leaderLife(c *dcs.Cluster) dcs.Version {
	if c.Leader == nil {
		return 0
	}
	return c.Leader.Meta.Created
}

func foldSessionKept(now time.Time, v *View, e SessionKept) {
	v.answered(now, e.Fault)
	if e.Fault != nil {
		v.Session.Failed = now
		if e.Fault.Kind == FaultSessionLost {
			v.sessionLost(now)
		}
		return
	}
	if e.Alive.Session != v.Session.ID && v.Lease.State == LeaseHeld && !v.changed() {
		v.gone(now, "our session ended")
	}
	if e.Alive.Session != v.Session.ID {
		v.Store.Stale, v.Store.Urgent = true, true // a store that has forgotten our session may have forgotten more
	}
	kept, proven := e.Sent.Add(-e.Alive.Age), v.Session.Proven
	if e.Alive.Session != v.Session.ID {
		proven = kept // it was opened by a write
	}
	v.Session = SessionView{ID: e.Alive.Session, TTL: e.Alive.TTL, Kept: kept, Sent: e.Sent, Proven: proven, Pace: e.Alive.Pace}
	if e.Alive.Version > v.Store.Seen {
		v.Store.Stale, v.Store.Seen = true, e.Alive.Version
	}
}

func (v *View) sessionLost(now time.Time) {
	if v.Lease.State == LeaseHeld && !v.changed() {
		v.gone(now, "our session ended")
	}
	v.Session = SessionView{}
	v.Store.MemberAt = time.Time{}
}

func foldAcquired(now time.Time, v *View, e Acquired) {
	v.answered(now, e.Fault)
	decided, timeline := v.Lease.Decided, v.Lease.Timeline
	before, held := v.Lease.Auth, v.Lease.State == LeasePromised
	if held && e.Fault != nil {
		v.Store.Stale, v.Store.Urgent = true, true // a read shows what became of it; the promises stand
		if e.Fault.Kind == FaultSessionLost {
			v.sessionLost(now)
		}
		return
	}
	switch {
	case e.Fault == nil:
		v.PromoteFailures, v.Changed = 0, StoreChange{}
		v.Failsafe.Doubt = nil // a write of a former life of the key cannot come any more
		began := e.Sent.Add(-e.Held.Age)
		v.Session = SessionView{ID: e.Held.Leader.Session, TTL: e.Held.TTL, Kept: began, Sent: e.Sent, Proven: began, Pace: e.Held.Pace} // an acquire confirms the session
		v.Lease = Lease{State: LeaseHeld, Leader: e.Held.Leader, Since: now, Decided: decided, Timeline: timeline,
			Auth: Authority{Sent: began, TTL: e.Held.TTL}}
		if held {
			v.Lease.Auth = laterEnd(before, v.Lease.Auth)
		}
		if now.Sub(decided) > time.Second {
			v.Lease.Late, v.Lease.Looked = true, now
		}
	case e.Fault.Kind == FaultUnknown:
		// Nothing is known until a read shows it: the lease stays in doubt.
	case v.Lease.State == LeaseHeld:
		// The key could not be created again in a store that was wiped: our authority lasts as long as it did.
		if e.Fault.Kind == FaultSessionLost {
			v.sessionLost(now)
		}
	case e.Fault.Kind == FaultSessionLost:
		v.Lease = Lease{}
		v.sessionLost(now)
	default:
		v.Lease = Lease{}
		v.TookOver = v.TookOver && e.Fault.Kind == FaultConflict // what did not reach the store is tried again
	}
	v.Store.Stale, v.Store.Urgent = true, true
}

func foldRenewed(now time.Time, v *View, e Renewed) {
	v.answered(now, e.Fault)
	foldFailsafeWritten(now, v, e)
	if v.Store.MemberRides && e.Fault != nil {
		v.Store.MemberAt, v.Store.MemberFailed = time.Time{}, now
	}
	if v.Lease.State != LeaseHeld {
		return
	}
	switch {
	case e.Fault == nil:
		v.Lease.Leader = e.Held.Leader
		v.Lease.Auth = Authority{Sent: e.Sent, TTL: e.Held.TTL}
		v.Lease.RenewFailed, v.Lease.RenewProblem, v.Lease.Unconfirmed = time.Time{}, "", false
		v.Session = SessionView{ID: e.Held.Leader.Session, TTL: e.Held.TTL, Kept: e.Sent, Sent: e.Sent, Proven: e.Sent, Pace: e.Held.Pace}
		v.Store.Seen = max(v.Store.Seen, e.Held.Version)
		if e.Held.Unheard {
			v.Store.Stale, v.Store.Urgent = true, true
		}
	case e.Fault.Kind == FaultConflict:
		v.lost("the store says that the leader key is not ours any more: " + e.Fault.Text)
	case e.Fault.Kind == FaultSessionLost:
		v.sessionLost(now)
	default:
		v.Lease.RenewFailed, v.Lease.RenewProblem = now, e.Fault.Text
	}
}

func foldReleased(now time.Time, v *View, e Released) {
	v.answered(now, e.Fault)
	v.Store.Stale, v.Store.Urgent = true, true
	switch {
	case e.Fault == nil || e.Fault.Kind == FaultConflict || e.Fault.Kind == FaultSessionLost:
		v.Lease = Lease{Cause: "released"}
		if v.Handover != nil {
			h := *v.Handover
			h.Released = true
			v.Handover = &h
		}
	case e.Fault.Kind == FaultUnknown:
		// In doubt until read.
	default:
		// Nothing was written: the key is still ours, but authority has to be proven anew.
		v.Lease.State = LeaseDoubt
	}
}

func foldClaimed(now time.Time, v *View, e Claimed) {
	v.answered(now, e.Fault)
	v.Store.Stale, v.Store.Urgent = true, true
	if e.Fault != nil {
		v.Initialize.Failed = now
		return
	}
	i := e.Initialize
	v.Initialize = ClaimView{Mine: &i}
}

func foldWrote(now time.Time, v *View, e Wrote) {
	v.answered(now, e.Fault)
	if e.What == (Publish{}).Name() {
		if e.Fault != nil {
			v.Store.MemberAt, v.Store.MemberFailed = time.Time{}, now
		}
		if e.Fault.Is(FaultSessionLost) {
			v.sessionLost(now)
		}
		return
	}
	v.Store.WriteFailed = time.Time{}
	if e.Fault != nil {
		v.Store.WriteFailed = now
	}
	// What was written, or refused, has to be seen before it is written again.
	v.Store.Stale, v.Store.Urgent = true, true
}
