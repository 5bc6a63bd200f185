package ha

import (
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// Times of the fence (safety 5.6 and 5.7).
const (
	rearmTime  = 100 * time.Millisecond // a writable server whose fence was lost is guarded again by then, or demoted
	rearmPause = 20 * time.Millisecond  // between two attempts to arm a fence for a server that nobody guards
)

// guarded says whether the fence has acknowledged an order for the server that runs here, or for the one that is about to be started if none
// does. An order for a postmaster that has died is none for its successor. A node without a fence has nobody to ask.
func (v *View) guarded() bool {
	f, pm := &v.Fence, v.Local.Obs.Postmaster
	switch {
	case !v.Self.Fenced:
		return true
	case !f.Armed || f.Dismissed:
		return false
	case f.Order.Postmaster == nil:
		return pm == nil || v.startsAsPrimary()
	}
	return pm != nil && *pm == *f.Order.Postmaster
}

// startsAsPrimary says whether a server is being started that will be writable: the fence knows it by its process, we perhaps not yet.
func (v *View) startsAsPrimary() bool {
	return v.Task != nil && v.Task.Task.Kind == postgres.TaskStart && v.Task.Task.AsPrimary
}

// armTimeout is how long the fence may take to acknowledge: half of what is left until the one that is armed ends the server, so that there is
// time for another one.
func (v *View) armTimeout(now time.Time) time.Duration {
	if f := &v.Fence; v.guarded() && f.Armed {
		return min(fenceTimeout, max(f.Order.Fast.Sub(now)/2, rearmPause))
	}
	return fenceTimeout
}

// armed says whether the server is guarded until the end of our authority as it was confirmed last.
func (v *View) armed(now time.Time) bool {
	return !v.Self.Fenced || (v.guarded() && !v.order(now).Kill.After(v.Fence.Order.Kill))
}

// guardBy is when a server that may write and that nobody guards is demoted: soon if its fence was lost, before the next renewal is relied
// on and within the rules' time from the agent's start if it was found or promoted by somebody else.
func (v *View) guardBy() time.Time {
	since := v.Fence.Unguarded
	if v.Fence.Lost != "" {
		return since.Add(rearmTime)
	}
	if v.Lease.Since.After(since) {
		since = v.Lease.Since
	}
	by := since.Add(v.budget().Period)
	if g := v.grace(); g.After(since) && g.Before(by) {
		return g
	}
	return by
}

// authorityUnguarded demotes a server that may write while nobody would stop it if this agent froze: its fence was lost and could not be
// armed again at once, or it was found running, or promoted by hand, and no fence takes it.
func authorityUnguarded(now time.Time, v *View) Verdict {
	f := &v.Fence
	switch {
	case f.Unguarded.IsZero():
		return pass("the fence guards the server, or there is none")
	case !v.leads():
		return pass("without the leader key, no fence is armed")
	case now.Before(v.guardBy()):
		return pass("the fence is being armed")
	}
	why := f.Problem
	if why == "" {
		why = f.Lost
	}
	if why == "" {
		why = "it does not answer"
	}
	return v.demote(now, earliest(v.lawlessUntil(now), v.budget().Kill), "demoting self because nobody guards my server: the fence cannot be armed: "+why)
}

// pulseFence tells the guard of the new end of our authority, and dismisses it when the server is proven to be down, or in recovery with no
// promotion asked of it. A fence that was lost over a server that may write is armed again at once.
func pulseFence(now time.Time, v *View) Verdict {
	f := &v.Fence
	switch {
	case !v.Self.Fenced:
		return pass("there is no fence")
	case !v.free(LaneFence):
		return pass("the fence is being told")
	case !f.Failed.IsZero() && now.Before(f.Failed.Add(v.fencePause())):
		return pass("the fence did not take the last order: " + f.Problem)
	case f.Armed && v.harmless():
		return act("the server cannot write: the fence is dismissed", DisarmFence{v.Local.Obs.Postmaster})
	case !v.leads() || !v.mayWrite():
		return pass("nothing to extend")
	case v.guarded() && !v.free(LaneWatchdog):
		return pass("the watchdog is being told: how long we may go on is known in a moment")
	case v.guarded() && f.Order.Postmaster == nil && v.startsAsPrimary() && v.Local.Obs.Postmaster == nil:
		return pass("the fence guards the server that is being started; we do not know its process yet")
	}
	o := v.order(now)
	switch {
	case !now.Before(o.Fast):
		return pass("our authority has ended")
	case !v.guarded() || o.Kill.After(f.Order.Kill) || (f.Order.Postmaster == nil && o.Postmaster != nil):
		return act("the fence is told until when we hold authority", ArmFence{o})
	}
	return pass("the fence knows the end of our authority")
}

// fencePause is the time between two attempts to tell the fence something.
func (v *View) fencePause() time.Duration {
	if v.Fence.Unguarded.IsZero() {
		return retry
	}
	return rearmPause
}

// harmless says whether a look that is younger than all we have begun shows the server down, or in recovery with no promotion asked of
// it (safety 5.5).
func (v *View) harmless() bool {
	o := &v.Local.Obs
	switch {
	case v.Fence.Order.Postmaster == nil && v.holds() && !v.startFailed():
		return false // it is armed for the server that is about to be started
	case v.mayWrite() || v.Task != nil || v.Local.Stale || !v.Local.Sent.After(v.Fence.Order.At):
		return false
	case v.LastTask != nil && v.Local.Sent.Before(v.LastTask.At):
		return false
	case o.Postmaster != nil:
		return o.SQL != nil && o.SQL.InRecovery
	}
	return true // the fence refuses if the server lives
}

// startFailed says whether the start that the fence was armed for has ended without a server: what it left, the fence sweeps.
func (v *View) startFailed() bool {
	l := v.LastTask
	return l != nil && l.Task.Kind == postgres.TaskStart && l.Task.AsPrimary && l.Fault != nil && !l.At.Before(v.Fence.Order.At)
}

// order is what the fence has to know now.
func (v *View) order(now time.Time) FenceOrder {
	a := v.bounded()
	if v.Settings.TTL > 0 {
		a.TTL = min(a.TTL, v.Settings.TTL)
	}
	o := NewBudget(a, v.Settings.LoopWait).Order()
	o.Postmaster, o.At = v.Local.Obs.Postmaster, now
	return o
}

// arm tells the fence until when we hold authority, before anything may write.
func (v *View) arm(now time.Time) Verdict {
	if d := v.renewFirst(now); d.matched {
		return d
	}
	switch {
	case !v.free(LaneFence):
		return rest("arming the fence")
	case !v.Fence.Failed.IsZero() && now.Before(v.Fence.Failed.Add(retry)):
		return wait(v.Fence.Failed.Add(retry), "the fence cannot be armed: %s", v.Fence.Problem)
	}
	return act("the fence is armed before anything can write", ArmFence{v.order(now)})
}

// startDismiss waits until the fence is dismissed before anything is done to a server that is down: it sweeps what a dead postmaster has
// left, and has to be armed anew for the next one.
func startDismiss(now time.Time, v *View) Verdict {
	f := &v.Fence
	switch {
	case !v.Self.Fenced || v.running() || v.Task != nil:
		return pass("a server runs, or nothing guards it")
	case !f.Armed && (v.holds() || v.free(LaneFence)):
		return pass("the fence is not armed")
	case f.Armed && f.Order.Postmaster == nil && v.holds() && !f.Dismissed:
		return pass("the fence is armed for the server that is about to be started")
	case f.Problem != "":
		return rest("the server is down, and the fence does not let go of it: %s", f.Problem)
	}
	return rest("the server is down: what is left of it is swept, and the fence dismissed")
}

// fenceTries is how often a fence is armed in vain before the leader key is given up.
const fenceTries = 3

// leaderFenceRefused gives the leader key up when the fence cannot be armed: nothing may write here then, and another node may be able to.
func leaderFenceRefused(now time.Time, v *View) Verdict {
	f := &v.Fence
	switch {
	case v.mayWrite() || v.armed(now) || f.Failures < fenceTries || !f.Failed.After(v.Lease.Since):
		return pass("the fence is armed, or can be")
	case !v.free(LaneStore) || v.storeRests(now):
		return rest("the fence cannot be armed: %s; the store is busy", f.Problem)
	}
	return act("the fence cannot be armed, and the leader key is released: "+f.Problem, v.release(v.state()))
}

// vacantFenceRefused lets others go first for a loop when our fence could not be armed a moment ago.
func vacantFenceRefused(now time.Time, v *View) Verdict {
	f := &v.Fence
	end := f.Failed.Add(v.Settings.LoopWait)
	if !v.Self.Fenced || f.Failures < fenceTries || !now.Before(end) {
		return pass("the fence can be armed, as far as known")
	}
	return wait(end, "the fence could not be armed: %s; others may lead", f.Problem).until(end)
}

// leaderArm arms the fence before a promotion, when nothing else is to be waited for (safety 3.5): it would be dismissed again over a server
// that cannot write.
func leaderArm(now time.Time, v *View) Verdict {
	if v.primary() || v.armed(now) {
		return pass("the fence is armed, or needs not be")
	}
	return v.arm(now)
}

// foldTakeOver notes that the leader key of our earlier run is asked for: that run's guard may know of an end as late as our session's.
func foldTakeOver(now time.Time, v *View) {
	v.TookOver = true
	if until := NewBudget(Authority{Sent: now, TTL: v.AskedTTL}, v.Settings.LoopWait).Kill; until.After(v.Fence.Until) {
		v.Fence.Until = until
	}
}

// foldFenceArmed records the guard's acknowledgement, or that there was none: then it counts as dead. What a guard has acknowledged that
// was lost meanwhile guards nothing.
func foldFenceArmed(now time.Time, v *View, e FenceArmed) {
	if e.Fence != "" {
		v.Self.Fence = e.Fence
	}
	f := &v.Fence
	switch {
	case e.Fault != nil:
		if f.Armed {
			f.Lost = "it did not acknowledge: " + e.Fault.Text
		}
		f.Armed, f.Failed, f.Problem = false, now, e.Fault.Text
		f.Failures++
	case f.Suspect == e.ID:
		f.Failed = time.Time{}
	default:
		*f = FenceView{Armed: true, Order: e.Order, Until: f.Until, Fired: f.Fired, Unguarded: f.Unguarded}
	}
}

// foldFenceDisarmed records that the guard has let go.
func foldFenceDisarmed(now time.Time, v *View, e FenceDisarmed) {
	f := &v.Fence
	if e.Fault != nil { // it may still be carried out: until it is armed again, it guards nothing
		f.Failed, f.Problem = now, e.Fault.Text
		return
	}
	f.Dismissed = false
	f.Armed, f.Until, f.Lost, f.Failed, f.Problem = false, time.Time{}, "", time.Time{}, ""
}

// foldFenceLost records the end of the guard. An order that is under way may have reached the one that is gone.
func foldFenceLost(v *View, e FenceLost) {
	f := &v.Fence
	f.Armed, f.Lost, f.Failed, f.Suspect = false, e.Loss.Cause, time.Time{}, v.Lanes[LaneFence].ID
	if e.Loss.Fired {
		f.Fired++
		f.Until = time.Time{}
	}
	v.Local.Stale = true
}

// foldGuarded notes since when a server that may write has been without a guard.
func foldGuarded(now time.Time, v *View) {
	switch f := &v.Fence; {
	case !v.Self.Fenced || v.guarded() || !v.mayWrite():
		f.Unguarded = time.Time{}
	case f.Unguarded.IsZero():
		f.Unguarded = now
	}
}
