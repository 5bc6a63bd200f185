package ha

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// watchdogRules look after the watchdog, which resets the machine if this agent and its fence are frozen together (safety section 6). It is
// armed before a server can write, kept alive by confirmed renewals alone, and stopped when nothing can write any more.
var watchdogRules = []Rule{
	{"watchdog.check", watchdogCheck},
	{"watchdog.refused", watchdogRefused},
	{"watchdog.keep", watchdogKeep},
	{"watchdog.dismiss", watchdogDismiss},
	{"watchdog.hold", watchdogHold},
}

func watchdogAsked(_ time.Time, v *View) (bool, string) {
	return v.Settings.Watchdog.Mode != WatchdogOff || v.Watchdog.State.Running, "no watchdog is asked for"
}

// watchdogCheck looks once per loop whether the watchdog could be armed, so that a node that must have one knows before it races that it
// has none.
func watchdogCheck(now time.Time, v *View) Verdict {
	w := &v.Watchdog
	switch {
	case v.Self.Watchdog == "" || w.State.Running:
		return pass("there is none, or it runs")
	case !v.free(LaneWatchdog) || now.Before(w.Checked.Add(v.Settings.LoopWait)):
		return pass("looked at this loop")
	}
	return act("could the watchdog be armed?", CheckWatchdog{})
}

// watchdogRefused demotes a leader that must have a watchdog and cannot arm it.
func watchdogRefused(now time.Time, v *View) Verdict {
	why := v.watchdogRefuses(now)
	switch {
	case why == "":
		return pass("the watchdog is armed, can be, or is not required")
	case !v.holds() || !v.mayWrite():
		return pass("nothing can write here")
	case v.Task != nil && v.Task.Task.Kind == postgres.TaskStop:
		return pass("the server is being stopped")
	}
	return v.demote(now, v.lawlessUntil(now), "demoting self because a watchdog is required: "+why)
}

// watchdogKeep keeps the watchdog alive, once for each renewal that the store has confirmed, and only if the device then ends before our
// authority does. It also arms it for a server that writes already: one that was adopted, or whose watchdog came late. A changed ttl
// changes what it counts.
func watchdogKeep(now time.Time, v *View) Verdict {
	w := &v.Watchdog
	o := v.watchdogOrder(now)
	switch {
	case !v.leads() || v.Settings.Watchdog.Mode == WatchdogOff:
		return pass("we do not hold the leader key, or want no watchdog")
	case !w.State.Running && !v.mayWrite():
		return pass("nothing can write yet")
	case !v.free(LaneWatchdog):
		return pass("the watchdog is being told")
	case (!w.State.Running || (v.watchdogTimes().short() && !w.State.Endless)) && v.watchdogTrouble(now) != "":
		return pass("no watchdog: " + v.watchdogTrouble(now))
	case !o.Renewal.After(w.Used) && w.State.Running && w.Tried == o.Timeout:
		return pass("it was kept alive after the last renewal")
	case !w.Failed.IsZero() && now.Before(w.Failed.Add(watchdogPause)):
		return pass("it was not kept alive: " + w.Problem)
	case !v.watchdogLate(now, o) && (w.State.Running || o.Renewal.After(w.Used)):
		return act("the leader key is renewed: the watchdog is kept alive", ArmWatchdog{o})
	case w.State.Running || !v.free(LaneStore) || now.Before(v.Lease.RenewFailed.Add(retry)) || !v.holds():
		return pass("the renewal took so long that the watchdog would outlive it")
	}
	return act("too little authority is left for the watchdog: renewing first", v.renewal(now))
}

// watchdogDismiss stops the watchdog when nothing can write here: the server is down, or a standby with no promotion pending. After a stop that
// failed it stays on.
func watchdogDismiss(now time.Time, v *View) Verdict {
	w := &v.Watchdog
	switch {
	case !w.State.Running || w.State.Endless:
		return pass("it does not run, or cannot be stopped")
	case !v.free(LaneWatchdog):
		return pass("the watchdog is being told")
	case !w.StopFailed.IsZero() && now.Before(w.StopFailed.Add(watchdogPause)):
		return pass("it could not be stopped a moment ago")
	case v.Settings.Watchdog.Mode == WatchdogOff:
		return act("watchdog.mode is off: the watchdog is stopped", DisarmWatchdog{})
	case v.Settings.Watchdog.Mode == WatchdogAutomatic && v.watchdogTimes().short():
		return act("the watchdog is stopped: "+v.watchdogTrouble(now), DisarmWatchdog{})
	}
	if why := v.watchdogNeeded(now); why != "" {
		return pass(why)
	}
	return act("nothing can write here: the watchdog is stopped", DisarmWatchdog{})
}

// watchdogHold keeps alive a device that cannot be stopped, while nothing can write here: else each demotion would reset the machine.
func watchdogHold(now time.Time, v *View) Verdict {
	w := &v.Watchdog
	switch {
	case !w.State.Running || !w.State.Endless:
		return pass("it does not run, or can be stopped")
	case !v.free(LaneWatchdog) || now.Before(w.Order.At.Add(w.State.Timeout/3)) || now.Before(w.Failed.Add(watchdogPause)):
		return pass("it was kept alive a moment ago")
	case v.watchdogNeeded(now) != "":
		return pass(v.watchdogNeeded(now))
	}
	o := v.watchdogOrder(now)
	o.Most, o.Before, o.Renewal = 0, time.Time{}, time.Time{}
	return act("nothing can write here, and the watchdog cannot be stopped: it is kept alive", ArmWatchdog{o})
}

// watchdogPause is the time between two attempts at a device that does not obey.
const watchdogPause = 2 * retry

// watchdogNeeded says why the watchdog must stay on; "": nothing can write, and nothing is about to.
func (v *View) watchdogNeeded(now time.Time) string {
	switch t := v.Task; {
	case v.mayWrite():
		return "the server may write"
	case t != nil && t.Task.Kind == postgres.TaskStop && (v.Local.WasPrimary || v.promotionPending() || !v.Local.Obs.Standby):
		return "the server is being stopped"
	case !v.running() && !v.Local.Crashed.IsZero() && !v.sweptByFence() && !v.sweptByTask():
		return "the server has crashed: something of it may be left"
	case v.leads() && v.Shutdown.IsZero() && now.Before(v.budget().Rule):
		return "we lead"
	case v.Local.Stale || (v.LastTask != nil && v.Local.Sent.Before(v.LastTask.At)):
		return "it was not seen yet that nothing can write"
	}
	return ""
}

// sweptByFence says whether the fence has swept what a crashed server may have left: it does so before it lets go, and before it is armed for
// the next server.
func (v *View) sweptByFence() bool {
	f := &v.Fence
	return v.Self.Fenced && f.Lost == "" && (!f.Armed || (f.Order.Postmaster == nil && !f.Order.At.Before(v.Local.Crashed)))
}

// sweptByTask says whether work on the data directory has succeeded since the crash: it begins with a sweep.
func (v *View) sweptByTask() bool {
	l := v.LastTask
	if l == nil || l.Fault != nil || !l.At.After(v.Local.Crashed) {
		return false
	}
	switch l.Task.Kind {
	case postgres.TaskStop, postgres.TaskRecover, postgres.TaskRewind, postgres.TaskWipe, postgres.TaskClone:
		return true
	}
	return false
}

// watchdogTimes are what the device may count, from the ttl of our session.
type watchdogTimes struct {
	asked, want, least, most time.Duration // want is what is asked for, within the bounds
}

// watchdogTimes computes them. The device has to end before our authority, also if the renewal that keeps it alive took a second; and it
// must leave the time of a loop, or a third of the ttl, to renew in.
func (v *View) watchdogTimes() watchdogTimes {
	ttl := v.Settings.TTL
	for _, granted := range []time.Duration{v.Lease.Auth.TTL, v.Session.TTL} {
		if granted > 0 {
			ttl = min(ttl, granted)
		}
	}
	b := NewBudget(Authority{TTL: ttl}, v.Settings.LoopWait)
	t := watchdogTimes{least: max(min(v.Settings.LoopWait, ttl/3).Truncate(time.Second), time.Second),
		most: (ttl - b.End.Sub(b.Kill) - time.Second).Truncate(time.Second), asked: ttl - v.Settings.Watchdog.SafetyMargin}
	if v.Settings.Watchdog.SafetyMargin < 0 {
		t.asked = ttl / 2
	}
	t.want = max(min(t.asked.Truncate(time.Second), t.most), t.least)
	return t
}

// short says whether the settings leave too little for the device to count.
func (t watchdogTimes) short() bool { return t.asked < t.least }

// watchdogOrder is what the device is to be told now.
func (v *View) watchdogOrder(now time.Time) WatchdogOrder {
	t := v.watchdogTimes()
	o := WatchdogOrder{Timeout: t.want, Least: t.least, Most: t.most, At: now, Renewal: v.Lease.Auth.Sent}
	w := &v.Watchdog
	if t.short() && w.State.Running {
		o.Timeout = w.Tried // it cannot be stopped: it goes on as it is
	}
	if v.watchdogMisfit() || t.short() {
		o.Most = 0
		return o
	}
	o.Before = NewBudget(v.Lease.Auth, v.Settings.LoopWait).Kill.Add(-t.want)
	return o
}

// watchdogLate says whether the device, if it began to count now, would outlive our authority.
func (v *View) watchdogLate(now time.Time, o WatchdogOrder) bool {
	w, longer := &v.Watchdog, time.Duration(0)
	if w.State.Running && w.Tried == o.Timeout {
		longer = max(w.State.Timeout-o.Timeout, 0)
	}
	return !o.Before.IsZero() && now.After(o.Before.Add(-longer))
}

// watchdogMisfit says whether a device runs that counts too little or too much, was asked for something else, and cannot be stopped.
func (v *View) watchdogMisfit() bool {
	t, w := v.watchdogTimes(), &v.Watchdog
	return w.State.Running && w.State.Endless && w.Tried == t.want && (w.State.Timeout < t.least || w.State.Timeout > t.most)
}

// watchdogGuards says whether the watchdog is armed as our authority needs it.
func (v *View) watchdogGuards() bool {
	w := &v.Watchdog
	return w.State.Running && w.Order.Most != 0 && !v.watchdogMisfit() && !v.watchdogTimes().short()
}

// watchdogTrouble says why the watchdog cannot be armed, as far as is known; "": it is armed, or may be.
func (v *View) watchdogTrouble(now time.Time) string {
	t, w := v.watchdogTimes(), &v.Watchdog
	switch {
	case v.Self.Watchdog == "":
		return "this node was built without a watchdog"
	case t.short():
		return fmt.Sprintf("watchdog.safety_margin leaves %s for the watchdog to count, which is less than %s", t.asked, t.least)
	case v.watchdogMisfit():
		return fmt.Sprintf("it counts %s, not between %s and %s, and cannot be stopped", w.State.Timeout, t.least, t.most)
	case v.watchdogGuards():
		return ""
	case !w.Failed.IsZero() && now.Before(w.Failed.Add(v.Settings.TTL)):
		return w.Problem
	}
	return w.Lacks
}

// watchdogRefuses says why this node may not lead for want of a watchdog; "": it may.
func (v *View) watchdogRefuses(now time.Time) string {
	if v.Settings.Watchdog.Mode != WatchdogRequired {
		return ""
	}
	return v.watchdogTrouble(now)
}

// NoWatchdog says whether this node must have a watchdog and cannot arm it, so that it does not lead.
func (v *View) NoWatchdog(now time.Time) bool { return v.watchdogRefuses(now) != "" }

// watchdogFirst arms the watchdog before a server becomes writable (safety 3.5).
func (v *View) watchdogFirst(now time.Time) Verdict {
	why := v.watchdogTrouble(now)
	switch {
	case v.Settings.Watchdog.Mode == WatchdogOff || v.watchdogGuards():
		return pass("the watchdog is armed, or none is wanted")
	case why != "":
		return pass("no watchdog: " + why)
	case !v.free(LaneWatchdog):
		return rest("arming the watchdog")
	}
	o := v.watchdogOrder(now)
	switch {
	case !v.watchdogLate(now, o) && o.Renewal.After(v.Watchdog.Used): // each renewal begins its time once
		return act("the watchdog is armed before anything can write", ArmWatchdog{o})
	case v.free(LaneStore) && !now.Before(v.Lease.RenewFailed.Add(retry)):
		return act("too little authority is left for the watchdog: renewing first", v.renewal(now))
	}
	return rest("too little authority is left for the watchdog: renewing first")
}

// leaderWatchdog arms the watchdog before a promotion, or before a start that makes the server writable. Where it is required and cannot be armed
// the key is released: another node shall lead.
func leaderWatchdog(now time.Time, v *View) Verdict {
	why := v.watchdogRefuses(now)
	switch {
	case v.primary() && !v.closed():
		return pass("the server is a primary already")
	case why != "" && v.primary():
		return rest("the server stays closed: a watchdog is required, and %s", why)
	case why != "" && !v.running() && !v.Local.Crashed.IsZero():
		return v.taskAgain(now, "a watchdog is required, and "+why+": what is left of the server is swept",
			RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate}, Why: WhyCrash})
	case why != "" && v.free(LaneStore) && !v.mayWrite():
		return act("a watchdog is required, and "+why+": the leader key is released", v.release(v.state()))
	case why != "":
		return rest("a watchdog is required, and %s; the store is busy", why)
	case v.running() && v.Local.Obs.SQL == nil, !v.running() && (!v.hasData() || v.Local.Obs.Standby || v.Lease.Late):
		return pass("nothing becomes writable yet")
	}
	return v.watchdogFirst(now)
}

// vacantWatchdog keeps a node out of the race that must have a watchdog and cannot arm it. It says so in GET /patroni, so that the others do
// not wait for it.
func vacantWatchdog(now time.Time, v *View) Verdict {
	if why := v.watchdogRefuses(now); why != "" {
		return rest("this node does not race: a watchdog is required, and %s", why)
	}
	return pass("the watchdog can be armed, or is not required")
}

// foundWatchdog arms the watchdog before a new cluster's server is opened. Where it is required and cannot be armed the server stays closed.
func foundWatchdog(now time.Time, v *View) Verdict {
	if !v.running() || !v.closed() {
		return pass("the server is open or down")
	}
	if why := v.watchdogRefuses(now); why != "" {
		return rest("the cluster is made, and stays closed: a watchdog is required, and %s", why)
	}
	return v.watchdogFirst(now)
}

// shutdownWatchdog waits for the last answer of the watchdog, and for its stop, so that an agent that ends in order does not leave it to reset
// the machine.
func shutdownWatchdog(now time.Time, v *View) Verdict {
	w := &v.Watchdog
	switch {
	case !v.free(LaneWatchdog):
		return rest("the agent ends: waiting for the watchdog")
	case !w.State.Running || w.State.Endless || !w.StopFailed.IsZero() || v.watchdogNeeded(now) != "":
		return pass("the watchdog is stopped, or has to stay on, or does not obey")
	}
	return act("the agent ends: the watchdog is stopped", DisarmWatchdog{})
}

// bounded is our authority, or as much of it as the watchdog leaves: the orderly demotion has to come before the machine's reset.
func (v *View) bounded() Authority {
	a := v.Lease.Auth
	if w := &v.Watchdog; w.State.Running && w.End.Before(a.End()) {
		a.TTL = max(w.End.Sub(a.Sent), 0)
	}
	return a
}

// watchdogPulse lists when the watchdog has to be seen to.
func (v *View) watchdogPulse(soon func(time.Time)) {
	w := &v.Watchdog
	if ok, _ := watchdogAsked(time.Time{}, v); !ok || v.Self.Watchdog == "" {
		return
	}
	if !w.State.Running {
		soon(w.Checked.Add(v.Settings.LoopWait))
	}
	if !w.Failed.IsZero() {
		soon(w.Failed.Add(watchdogPause))
		soon(w.Failed.Add(v.Settings.TTL))
	}
	if !w.StopFailed.IsZero() {
		soon(w.StopFailed.Add(watchdogPause))
	}
	if w.State.Endless {
		soon(w.Order.At.Add(w.State.Timeout / 3))
	}
}

// describeWatchdog says what the watchdog does, for status; "": none is asked for, and none runs.
func (v *View) describeWatchdog(now time.Time) string {
	w := &v.Watchdog
	ok, _ := watchdogAsked(now, v)
	why := v.watchdogTrouble(now)
	switch {
	case !ok:
		return ""
	case v.watchdogGuards():
		return fmt.Sprintf("%s, armed: the machine is reset %s after it was last kept alive", v.Self.Watchdog, w.State.Timeout)
	case v.Self.Watchdog == "":
		return "not armed: " + why
	case why != "":
		return v.Self.Watchdog + ", not armed: " + why
	}
	return v.Self.Watchdog + ", not armed: this node does not lead"
}

// watchdogWord is what the member key says of the watchdog.
func (v *View) watchdogWord() string {
	switch {
	case v.watchdogRefuses(v.Watchdog.Failed) != "":
		return dcs.WatchdogFailed
	case v.watchdogGuards() && v.primary():
		return dcs.WatchdogArmed
	}
	return ""
}

// watchdogNotices is what an operator should know about the watchdog.
func (v *View) watchdogNotices(now time.Time) []string {
	var n []string
	w := &v.Watchdog
	if why := v.watchdogRefuses(now); why != "" {
		n = append(n, "watchdog.mode is required, and "+why+": this node does not lead")
	}
	if w.State.Running && w.State.Timeout != w.Order.Timeout {
		n = append(n, fmt.Sprintf("the watchdog counts %s instead of %s", w.State.Timeout, w.Order.Timeout))
	}
	if w.State.Running && w.State.Endless {
		n = append(n, "the watchdog cannot be stopped: the machine is reset if the agent ends")
	}
	if v.Settings.Watchdog.Mode == WatchdogAutomatic && v.watchdogTimes().short() {
		n = append(n, "no watchdog is used: "+v.watchdogTrouble(now))
	}
	return n
}
