package ha

import (
	"github.com/tanist-ha/tanist/postgres"
	"maps"
	"time"
)

// Fold records what happened at now. It remembers facts and holds no policy.
func Fold(now time.Time, v View, e Event) View {
	if id, lane, ends := endOf(e); ends {
		if !v.ends(id, lane, e) {
			return v // belongs to an earlier action
		}
		if lane != LanePeer {
			v.Lanes[lane] = Flight{}
		}
	}
	switch e := e.(type) {
	case Begun:
		foldBegun(now, &v, e)
	case Hinted:
		foldHint(now, &v, e)
	case Loaded:
		foldLoaded(now, &v, e)
	case SessionKept:
		foldSessionKept(now, &v, e)
	case Acquired:
		foldAcquired(now, &v, e)
	case Renewed:
		foldRenewed(now, &v, e)
	case Released:
		foldReleased(now, &v, e)
	case Claimed:
		foldClaimed(now, &v, e)
	case Wrote:
		foldWrote(now, &v, e)
	case Observed:
		foldObserved(now, &v, e)
	case Exited:
		foldExited(now, &v, e)
	case TaskPhase:
		foldPhase(now, &v, e)
	case TaskDone:
		foldTaskDone(now, &v, e)
	case PeerAnswered:
		foldPeer(now, &v, e)
	default:
		foldRest(now, &v, e)
	}
	if v.Lease.State == LeaseHeld {
		v.Adopted = false
	}
	foldGuarded(now, &v)
	return v
}

// foldRest records the events that touch one field.
func foldRest(now time.Time, v *View, e Event) {
	switch e := e.(type) {
	case SettingsChanged:
		foldSettings(now, v, e.Settings)
	case Configured:
		v.Configured.Failed, v.Configured.Problem = time.Time{}, ""
		if e.Fault != nil {
			v.Configured.Failed, v.Configured.Problem = now, e.Fault.Text
		} else {
			v.Configured.Done = v.Configured.Sent
			v.Local.Stale = true
		}
	case SlotsEnsured:
		v.Configured.SlotsAt = now
		if e.Fault != nil {
			v.Configured.Slots = ""
		}
	case Disturbed:
		v.Local.Stale = v.Local.Stale || e.Postmaster != v.Local.Dead
	case FailsafeAnswered:
		foldFailsafe(now, v, e)
	case FenceArmed:
		foldFenceArmed(now, v, e)
	case FenceDisarmed:
		foldFenceDisarmed(now, v, e)
	case FenceLost:
		foldFenceLost(v, e)
	case WatchdogChecked, WatchdogArmed, WatchdogDisarmed:
		foldWatchdog(now, v, e)
	case ClockJumped:
		foldClockJumped(now, v, e)
	case ShutdownAsked:
		if v.Shutdown.IsZero() {
			v.Shutdown = now
		}
	case Commanded:
		v.Commands = append(v.Commands[:len(v.Commands):len(v.Commands)], PendingCommand{e.ID, e.Command, now})
	case CommandDropped:
		v.dropCommand(e.ID)
	}
}

// endOf tells which action e ends, and on which lane.
func endOf(e Event) (id uint64, lane Lane, ends bool) {
	switch e := e.(type) {
	case Loaded:
		return e.ID, LaneStore, true
	case SessionKept:
		return e.ID, LaneStore, true
	case Acquired:
		return e.ID, LaneStore, true
	case Renewed:
		return e.ID, LaneStore, true
	case Released:
		return e.ID, LaneStore, true
	case Claimed:
		return e.ID, LaneStore, true
	case Wrote:
		return e.ID, LaneStore, true
	case Observed:
		return e.ID, LaneObserve, true
	case TaskDone:
		return e.ID, LanePostgres, true
	case Configured:
		return e.ID, LaneConfigure, true
	case SlotsEnsured:
		return e.ID, LaneSlots, true
	case FenceArmed:
		return e.ID, LaneFence, true
	case FenceDisarmed:
		return e.ID, LaneFence, true
	case WatchdogChecked:
		return e.ID, LaneWatchdog, true
	case WatchdogArmed:
		return e.ID, LaneWatchdog, true
	case WatchdogDisarmed:
		return e.ID, LaneWatchdog, true
	case FailsafeAnswered:
		return e.ID, LaneFailsafe, true
	case PeerAnswered:
		return e.ID, LanePeer, true
	}
	return 0, LaneNow, false
}

// ends says whether the action id is the one under way.
func (v *View) ends(id uint64, lane Lane, e Event) bool {
	if lane == LanePeer {
		return v.Peers[e.(PeerAnswered).Answer.Name].Asking == id
	}
	return v.Lanes[lane].ID == id
}

// foldBegun notes that an action is under way.
func foldBegun(now time.Time, v *View, e Begun) {
	lane := e.Action.lane()
	if lane != LaneNow && lane != LanePeer {
		v.Lanes[lane] = Flight{ID: e.ID, Since: now, Name: e.Action.Name()}
	}
	switch a := e.Action.(type) {
	case RunTask:
		v.Task = &TaskView{ID: e.ID, Task: a.Task, Why: a.Why, Since: now}
		foldTaskBegun(now, v, a)
	case GiveUpRequest:
		v.Lanes[LaneStore].Given = true
	case CancelTask:
		if v.Task != nil && v.Task.ID == a.Task {
			t := *v.Task
			t.Cancelled, t.CancelledAt = a.Cause, now
			v.Task = &t
		}
	case EndHandover:
		if v.Handover != nil && a.Why != "" {
			v.FailedRequest, v.FailedWhy = v.Handover.Request, a.Why
		}
		v.Handover = nil
	case ForgetClaim:
		v.Initialize = ClaimView{Failed: now}
	case KillServer:
		v.Killed = now
	case ArmFence:
		if a.Order.Kill.After(v.Fence.Until) {
			v.Fence.Until = a.Order.Kill
		}
	case ArmWatchdog:
		foldWatchdogAsked(v, a.Order)
	case DisarmFence:
		v.Fence.Dismissed = true
	case Observe:
		v.Local.Stale = false
	case Configure:
		v.Configured.Sent = v.Configured.Version
	case EnsureSlots:
		v.Configured.Slots = joinNames(a.Want)
	case PollPeer:
		v.peer(a.Member.Name, func(p *PeerView) { p.Asking, p.Sent = e.ID, now })
	case AwaitPeer:
		v.peer(a.Member.Name, func(p *PeerView) { p.Asking, p.Sent = e.ID, now })
	case Reply:
		v.dropCommand(a.Command)
		if a.Promise != nil {
			v.Failsafe.Promise = *a.Promise
		}
	case AskFailsafe:
		v.Failsafe.Asked = a.Members
	case Quit:
		v.Done, v.Fatal = true, a.Problem
	default:
		foldStoreBegun(now, v, e.Action)
	}
}

// foldStoreBegun notes what a request to the store may have changed from now on, whatever becomes of it.
func foldStoreBegun(now time.Time, v *View, action Action) {
	switch a := action.(type) {
	case LoadCluster:
		v.Store.Stale, v.Store.Urgent, v.Store.Drifted, v.Store.Tried = false, false, false, now
	case Publish:
		v.Store.Member, v.Store.MemberAt = a.Member, now
	case KeepSession:
		v.Store.Member, v.Store.MemberAt, v.AskedTTL = a.Request.Member, now, a.Request.TTL
	case RenewKey:
		v.AskedTTL = a.Request.TTL
		v.Failsafe.Writing = a.Request.Failsafe
		if v.Store.MemberRides = a.Request.Publish; v.Store.MemberRides {
			v.Store.Member, v.Store.MemberAt = a.Request.Member, now
		}
	case AcquireKey:
		if a.Request.Takeover != nil {
			foldTakeOver(now, v)
		}
		v.Store.Member, v.Store.MemberAt = a.Request.Member, now
		if v.Lease.State == LeasePromised || (v.Lease.State == LeaseHeld && v.changed()) {
			v.Lease.Decided, v.Lease.Timeline = now, postgres.Timeline(a.Request.Timeline) // what we hold stands, whatever becomes of the request
		} else {
			v.Lease = Lease{State: LeaseDoubt, Decided: now, Timeline: postgres.Timeline(a.Request.Timeline)}
		}
	case ReleaseKey:
		v.Store.Member, v.Store.MemberAt = a.Request.Member, now
		v.Lease.State, v.Lease.Auth = LeaseDoubt, Authority{}
		v.Lease.Cause, v.Lease.Giving = "released", true
	}
}

// peer changes what is remembered of one member, in a copy of the map.
func (v *View) peer(name string, change func(*PeerView)) {
	m := maps.Clone(v.Peers)
	if m == nil {
		m = map[string]PeerView{}
	}
	p := m[name]
	change(&p)
	m[name] = p
	v.Peers = m
}

func (v *View) dropCommand(id uint64) {
	var keep []PendingCommand
	for _, c := range v.Commands {
		if c.ID != id {
			keep = append(keep, c)
		}
	}
	v.Commands = keep
}

// foldSettings makes s the settings in force. While a member lives that is not tanist, the times are those that Patroni counts with.
func foldSettings(now time.Time, v *View, s Settings) {
	v.Asked = Timeouts{s.TTL, s.LoopWait, s.RetryTimeout}
	if v.Mixed && s.WithPatroni.TTL != 0 {
		s.TTL, s.LoopWait, s.RetryTimeout = s.WithPatroni.TTL, s.WithPatroni.LoopWait, s.WithPatroni.RetryTimeout
	}
	if s.TTL != v.Settings.TTL && v.Settings.TTL != 0 {
		v.LastTTL, v.LeastTTL, v.TTLChanged = max(v.Settings.TTL, v.w(now)), min(v.Settings.TTL, v.least(now)), now
	}
	v.Settings = s
	v.Configured.Version++
}

// foldMixed notes whether members of another kind live in the cluster, and lets the times follow (safety 11.2).
func foldMixed(now time.Time, v *View) {
	mixed := false
	for i := range v.Store.Cluster.Members {
		m := &v.Store.Cluster.Members[i]
		mixed = mixed || (m.Name != v.Self.Name && m.Data.Tanist == "" && m.Meta.Session != "") // without a session: somebody's manual put
	}
	if mixed == v.Mixed {
		return
	}
	v.Mixed = mixed
	s := v.Settings
	s.TTL, s.LoopWait, s.RetryTimeout = v.Asked.TTL, v.Asked.LoopWait, v.Asked.RetryTimeout
	foldSettings(now, v, s)
}

// foldPeer records what a member said, or that it was silent.
func foldPeer(now time.Time, v *View, e PeerAnswered) {
	v.peer(e.Answer.Name, func(p *PeerView) {
		p.Asking, p.At, p.AskedAt, p.Answer = 0, now, e.Sent, e.Answer
		// What rests on an older look, as the server has not answered since, is asked again once, and then taken for what there is (safety 3.2).
		seen, old := now.Add(-e.Answer.Age), p.Old
		if p.Old = e.Answer.Reachable && seen.Before(e.Sent); p.Old && !old {
			p.AskedAt = seen
		}
		switch {
		case e.Answer.Reachable:
			p.SilentSince = time.Time{}
		case p.SilentSince.IsZero():
			p.SilentSince = e.Sent
		}
	})
	v.Newest = max(v.Newest, e.Answer.Position.Timeline)
	if h := v.Handover; h != nil && e.LSN != 0 && e.LSN == h.End && sameTimeline(e.Answer.Position.Timeline, h.Timeline) {
		n := *h
		n.Best = max(n.Best, e.Answer.Position.LSN)
		if e.Answer.Reachable && e.Answer.Position.LSN >= h.End && !e.Answer.WatchdogFailed { // one that may not lead takes nothing over
			n.Reached = e.Answer.Name
		}
		v.Handover = &n
	}
}
