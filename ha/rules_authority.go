package ha

import (
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// authorityRules stop a server that may write without the right to (safety sections 1 and 4). They come before everything.
var authorityRules = []Rule{
	{"authority.overdue", authorityOverdue},
	{"authority.lost", authorityLost},
	{"authority.ending", authorityEnding},
	{"authority.none", authorityNone},
	{"authority.unguarded", authorityUnguarded},
}

// authorityOverdue kills a server whose stop, or whose task that had to make room for the stop, does not end in time.
func authorityOverdue(now time.Time, v *View) Verdict {
	t := v.Task
	if t == nil {
		return pass("no task runs")
	}
	switch {
	case t.Task.Kind == postgres.TaskStop && !t.Task.By.IsZero() && now.After(t.Task.By.Add(overdue)):
	case t.Cancelled != "" && t.Task.Kind != postgres.TaskStop && now.After(v.cancelledBy().Add(overdue)):
	default:
		return pass("the running task is in time")
	}
	if now.Before(v.Killed.Add(time.Second)) {
		return pass("it was killed a moment ago")
	}
	return act("the server did not stop in time: it is killed", KillServer{Cause: "stop overdue"})
}

// overdue is how long a stop may miss its time before the server is killed from outside of the task.
const overdue = 300 * time.Millisecond

// cancelledBy is when a cancelled task must have ended.
func (v *View) cancelledBy() time.Time { return v.Task.CancelledAt }

// authorityLost demotes at once when the store has said that the leader key is not ours any more: another may lead already.
func authorityLost(now time.Time, v *View) Verdict {
	if v.Lease.State != LeaseLost {
		return pass("the store has not said that we lost the leader key")
	}
	return v.demote(now, v.lawlessUntil(now), "lost the leader key: "+v.Lease.Cause)
}

// authorityEnding demotes in order when the leader key could not be renewed and the authority is about to end. Until then a store
// that is away costs nothing.
func authorityEnding(now time.Time, v *View) Verdict {
	if !v.leads() {
		return pass("we do not hold the leader key")
	}
	b := v.budget()
	if now.Before(b.Rule) {
		return pass("our authority lasts")
	}
	if w := &v.Watchdog; v.Lease.RenewFailed.IsZero() && b.End.Before(v.Lease.Auth.End()) {
		return v.demote(now, b.Kill, "demoting self before the watchdog resets the machine: it was not kept alive: "+w.Problem)
	}
	return v.demote(now, b.Kill, "demoting self because DCS is not accessible and I was a leader"+v.failsafeProblem())
}

// authorityNone demotes a writable server that never had authority: one that somebody promoted by hand, or that was found running when
// the agent started and whose leader key could not be confirmed in time.
func authorityNone(now time.Time, v *View) Verdict {
	switch {
	case v.leads():
		return pass("we hold the leader key")
	case v.Adopted && now.Before(v.grace()) && v.other() == nil:
		return pass("it was found running; authority is being confirmed")
	case v.Adopted && now.Before(v.grace()) && v.ownOldKey():
		return pass("it was found running; the leader key of our earlier run is being taken over")
	case v.Adopted && now.Before(v.grace()) && v.other().Name == v.Self.Name && !v.nameChecked():
		return pass("it was found running; whether the leader key of our name is ours is being found out")
	}
	return v.demote(now, v.lawlessUntil(now), "demoting self because I do not have the lock and my server is writable")
}

// stopTime is what a stop may take at the given ttl.
func stopTime(ttl time.Duration) time.Duration {
	return NewBudget(Authority{TTL: ttl}, ttl).Stop
}

// lawlessUntil is by when a server that may not write has to be down: a stop that was already under way is given no more time than one
// that begins now.
func (v *View) lawlessUntil(now time.Time) time.Time {
	if t := v.Task; t != nil && t.Task.Kind == postgres.TaskStop && t.Cancelled != "" {
		now = t.CancelledAt
	}
	return now.Add(stopTime(v.Settings.TTL))
}

// demote stops the server by the given time; a task that stands in the way is cancelled first. So is a stop for a hand-over: its checkpoint,
// and the user's before_stop, run while clients still work, and may take minutes.
func (v *View) demote(now, by time.Time, why string) Verdict {
	t := v.Task
	switch {
	case t == nil:
		return act(why, RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast, By: by}, Why: WhyDemote})
	case t.Task.Kind == postgres.TaskStop && (t.Why == WhyDemote || !v.Killed.Before(t.Since)):
		return pass("it is being stopped")
	case t.Task.Kind == postgres.TaskStop && t.Cancelled != "":
		// It had signalled the server before it could be cancelled: the clients are going. What may not outlive the
		// authority is killed.
		if now.Before(by) {
			return pass("it is being stopped")
		}
		return act("our authority ends while the server still stops: it is killed", KillServer{Cause: why})
	case t.Cancelled != "":
		return pass("the task that stands in the way is ending")
	}
	return act(why, CancelTask{Task: t.ID, Cause: why})
}
