package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// startRules hold a node back until it knows enough to act, and for ever where acting would be wrong.
var startRules = []Rule{
	{"start.unobserved", startUnobserved},
	{"start.store-unknown", startStoreUnknown},
	{"start.name-taken", startNameTaken},
	{"start.other-cluster", startOtherCluster},
	{"start.data-unusable", startDataUnusable},
	{"start.take-over", startTakeOver},
	{"start.dismiss", startDismiss},
}

// startUnobserved waits for the first look at the server, and until it has been told the settings.
func startUnobserved(now time.Time, v *View) Verdict {
	switch {
	case !v.Local.Known:
		return rest("looking at the data directory")
	case v.Configured.Done == 0:
		return rest("configuring the server: %s", v.Configured.Problem)
	case v.LastTask != nil && v.Local.Sent.Before(v.LastTask.At):
		return rest("%s has ended: looking at what it left", v.LastTask.Task.Kind)
	}
	return pass("the server was observed")
}

// startStoreUnknown waits for the first read of the store; a server that runs as a standby goes on, one that is down stays down.
func startStoreUnknown(now time.Time, v *View) Verdict {
	switch {
	case v.Store.Known:
		return pass("the store was read")
	case v.Store.Problem != "":
		return rest("DCS is not accessible, trying again: %s", v.Store.Problem)
	}
	return rest("reading the store")
}

// startNameTaken refuses to run when another agent answers under our name: two of one name would share a member key. A server that is found
// writable here is stopped first: nobody would guard it (safety 5.6).
func startNameTaken(now time.Time, v *View) Verdict {
	m := findMember(&v.Store.Cluster, v.Self.Name)
	switch {
	case v.nameChecked():
		return pass("nobody else answers under our name")
	case v.Peers[v.Self.Name].Asking != 0:
		return rest("asking %s whether another agent uses the name %s", m.Data.APIURL, v.Self.Name)
	case v.Peers[v.Self.Name].At.IsZero():
		return act("a member of our name exists: is it alive?", PollPeer{*m})
	case v.mayWrite():
		return v.demote(now, v.lawlessUntil(now), "the name "+v.Self.Name+" is taken, and my server is writable: who left it cannot lead, as another agent has its name")
	case v.Task != nil:
		return rest("the name is taken; %s is to end first", v.Task.Task.Kind)
	}
	return act("the name is taken", Quit{Problem: "there is already a node named '" + v.Self.Name + "' running at " + m.Data.APIURL +
		"; give this one another name, or stop that one"})
}

// nameChecked says whether it is known that no other agent runs under our name.
func (v *View) nameChecked() bool {
	if !v.Store.Known || v.Session.ID != "" {
		return v.Session.ID != ""
	}
	m := findMember(&v.Store.Cluster, v.Self.Name)
	p := v.Peers[v.Self.Name]
	a := &p.Answer
	stranger := a.Scope != "" && (a.Scope != v.Self.Scope || a.SelfName != v.Self.Name) // who has got an address that was ours
	return m == nil || m.Data.APIURL == "" || (!p.At.IsZero() && (!a.Reachable || a.StartID == v.Self.StartID || stranger))
}

// startOtherCluster ends a node whose data directory belongs to another cluster, and leaves the server as it is. What this node made when
// another was faster to found the cluster was never opened: it is moved aside.
func startOtherCluster(now time.Time, v *View) Verdict {
	mine, theirs := v.localSystemID(), v.systemID()
	switch {
	case mine == "" || theirs == "" || !v.hasData():
		return pass("nothing to compare")
	case mine == theirs:
		return pass("the data directory is of this cluster")
	case v.changed() && v.holds():
		return pass("another store answers than the one that knows us as leader")
	case v.changed() && v.Changed.Founded && v.Task == nil:
		return rest("%s, and it holds another cluster: %s, not %s; waiting for ours", v.Changed.Why, theirs, mine)
	case v.Task != nil:
		return pass("the data directory is of another cluster; a task runs on it")
	case (v.Initialize.Mine != nil || v.Initialize.Founded) && !v.Initialize.Opened:
		return pass("the data directory was made here, and another cluster was founded meanwhile")
	case v.closed() && v.running():
		return v.taskAgain(now, "another cluster was founded, this one was never opened: the server is stopped",
			RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate}, Why: WhyFound})
	case v.closed():
		return v.taskAgain(now, "another cluster was founded, this one was never opened: it is moved aside",
			RunTask{Task: postgres.Task{Kind: postgres.TaskWipe, Rename: true}, Why: WhyFound})
	}
	return act("system ID mismatch", Quit{Problem: "system ID mismatch, node " + v.Self.Name + " belongs to a different cluster: " + theirs + " != " + mine +
		"; the data directory was left alone, move it away if this node shall be cloned anew"})
}

// startDataUnusable waits for the operator when the data directory is not PostgreSQL's, of another version or owner, or does not answer.
func startDataUnusable(now time.Time, v *View) Verdict {
	o := &v.Local.Obs
	if o.DataDir != postgres.DataDirForeign && o.DataDir != postgres.DataDirUnreadable {
		return pass("the data directory can be used")
	}
	if v.Self.Fenced && v.Fence.Armed { // it knows whether the server is down, where we see nothing
		return rest("the data directory cannot be used, and the fence is not dismissed yet: %s", o.Problem)
	}
	if v.Lease.State == LeaseHeld && v.free(LaneStore) && !v.running() {
		return act("the data directory cannot be used: the leader key is given up", v.release(dcs.StateStopped))
	}
	return rest("the data directory cannot be used: %s", o.Problem)
}

// startTakeOver re-binds the leader key that an earlier run of this agent left, so that a crash of the agent alone costs nothing. A name
// is no proof: the old session must also be on our member key with our own addresses, nobody else may answer under our name, and the
// data directory must be the cluster's (safety 1.6). Otherwise the key is left to expire.
func startTakeOver(now time.Time, v *View) Verdict {
	switch {
	case v.TookOver || v.holds():
		return pass("it was asked for already")
	case v.changed():
		return pass("the store was wiped, restored or replaced: what it says of us may come from a backup")
	case !v.ownOldKey():
		return pass("no leader key of an earlier run of ours")
	case !v.hasData() || v.systemID() == "" || v.systemID() != v.localSystemID():
		return pass("the data directory is not the cluster's")
	case v.Session.ID == "" || !v.free(LaneStore) || v.storeRests(now):
		return rest("the leader key of our earlier run is there; opening a session for it")
	}
	return act("the leader key of our earlier run is taken over",
		AcquireKey{dcs.Acquire{Expect: v.expect(), Takeover: v.Store.Cluster.Leader, Member: v.member()}})
}

// ownOldKey says whether the leader key was left by an earlier run of this node.
func (v *View) ownOldKey() bool {
	l := v.other()
	if l == nil || l.Name != v.Self.Name || l.Meta.Session == "" {
		return false
	}
	m := findMember(&v.Store.Cluster, v.Self.Name)
	return m != nil && m.Meta.Session == l.Meta.Session && m.Data.APIURL == v.Self.APIURL && m.Data.ConnURL == v.Self.ConnURL && v.nameChecked()
}

// shutdownRules end the agent in order: the server is stopped, a leader's key goes to a standby that has everything (the handover
// rules see to that), and the member key says stopped.
var shutdownRules = []Rule{
	{"shutdown.cancel", shutdownCancel},
	{"shutdown.stop", shutdownStop},
	{"shutdown.release", shutdownRelease},
	{"shutdown.publish", shutdownPublish},
	{"shutdown.watchdog", shutdownWatchdog},
	{"shutdown.quit", shutdownQuit},
}

// shutdownCancel ends a task that the agent's end makes pointless.
func shutdownCancel(now time.Time, v *View) Verdict {
	t := v.Task
	switch {
	case t == nil:
		return pass("no task runs")
	case t.Task.Kind == postgres.TaskStop:
		return wait(now.Add(v.Settings.LoopWait), "the agent ends: stopping the server")
	case v.Lease.State == LeaseHeld && (t.Task.AsPrimary || t.Task.Kind == postgres.TaskPromote):
		return rest("the agent ends: a primary is stopped in order once it runs, so that nothing is lost (%s)", t.Task.Kind)
	case t.Cancelled == "":
		return act("the agent ends", CancelTask{Task: t.ID, Cause: "the agent ends"})
	}
	return rest("the agent ends: waiting for %s to end", t.Task.Kind)
}

// shutdownStop stops the server.
func shutdownStop(now time.Time, v *View) Verdict {
	if !v.Local.Known || (v.LastTask != nil && v.Local.Sent.Before(v.LastTask.At)) {
		return rest("the agent ends: looking whether the server runs")
	}
	if !v.running() {
		return pass("the server is down")
	}
	if l := v.LastTask; l != nil && l.Task.Kind == postgres.TaskStop && l.Fault != nil && now.Before(l.At.Add(time.Second)) {
		return wait(l.At.Add(time.Second), "the server could not be stopped: %s", l.Fault)
	}
	return act("the agent ends: the server is stopped", RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast}, Why: WhyShutdown})
}

// shutdownRelease gives up a leader key that is still ours although the server is down.
func shutdownRelease(now time.Time, v *View) Verdict {
	switch {
	case v.Lease.State == LeaseNone || v.Lease.State == LeaseLost || v.Lease.State == LeasePromised:
		return pass("we do not hold the leader key")
	case v.Store.Problem != "" && now.After(v.Shutdown.Add(v.Settings.RetryTimeout)):
		return pass("DCS is not accessible: the leader key is left to expire")
	case !v.free(LaneStore):
		return rest("the agent ends: waiting for the store")
	case v.Lease.State == LeaseDoubt:
		return v.readFirst(now, "is the leader key still ours?")
	}
	return act("the agent ends: the leader key is given up", v.release(dcs.StateStopped))
}

// shutdownPublish says in the member key that the server is stopped.
func shutdownPublish(now time.Time, v *View) Verdict {
	switch {
	case v.Session.ID == "" || v.Store.Problem != "":
		return pass("DCS is not accessible")
	case !v.free(LaneStore):
		return rest("the agent ends: telling the store")
	case v.Store.Member.State == dcs.StateStopped:
		return pass("the member key says so")
	}
	return act("the member key shall say stopped", Publish{v.memberAs(dcs.StateStopped)})
}

// shutdownQuit ends the node.
func shutdownQuit(now time.Time, v *View) Verdict { return act("the agent has ended in order", Quit{}) }

// taskRules are consulted while work on the server is under way.
var taskRules = []Rule{
	{"task.pointless", taskPointless},
	{"task.old-leader", taskOldLeader},
	{"task.running", taskRunning},
}

// startTooSlow is why a start as primary is cancelled; it counts as a failed start, so that the key is handed over.
const startTooSlow = "primary_start_timeout"

// taskPointless cancels work that has lost its purpose: a clone or rewind whose source has gone while somebody else leads, and a start as
// primary that takes longer than primary_start_timeout while somebody else could lead.
func taskPointless(now time.Time, v *View) Verdict {
	t := v.Task
	switch {
	case t.Cancelled != "":
		return pass("it is ending")
	case t.Task.Kind == postgres.TaskClone || t.Task.Kind == postgres.TaskRewind:
		if up, l := t.Task.Upstream, v.other(); up != nil && l != nil && l.Name != up.Name && findMember(&v.Store.Cluster, up.Name) == nil {
			return act("the source of the copy has gone: "+up.Name, CancelTask{Task: t.ID, Cause: "its source, " + up.Name + ", has gone"})
		}
	case t.Task.Kind == postgres.TaskStart && t.Task.AsPrimary && v.holds() && !now.Before(t.Since.Add(v.startLimit())):
		ask, _ := v.askCandidates(now)
		switch {
		case v.couldLead(now) != nil:
			return act("the server takes longer to start than primary_start_timeout", CancelTask{Task: t.ID, Cause: startTooSlow})
		case len(ask) > 0:
			return act("the server takes longer to start than primary_start_timeout: who could lead?", ask...)
		}
	}
	return pass("it still makes sense")
}

// taskOldLeader cancels the start of a copy that was never consistent, has let nobody in for a while, and was begun under another leader, or
// under none. If it lacks the end of its log it waits for ever for an upstream that sends that, and cannot be pointed at one before. Whatever
// was consistent once gets there by itself, and its recovery is never cut, however long it takes. Nor is one cut that pg_control tells nothing
// of yet, as while its files are synced or the first of its log comes from an archive: it could not be compared with the leader's log.
func taskOldLeader(now time.Time, v *View) Verdict {
	t := v.Task
	switch end := t.Since.Add(v.Settings.LoopWait); {
	case t.Cancelled != "" || !v.Local.Obs.NeverConsistent || !v.asksOldLeader():
		return pass("no start of an incomplete copy under another leader")
	case now.Before(end):
		return wait(end, "%s in progress; %s leads now", t.Task.Kind, v.Store.Cluster.Leader.Name)
	}
	return act("this copy was never consistent, and its start was begun under another leader: it is started anew",
		CancelTask{Task: t.ID, Cause: v.Store.Cluster.Leader.Name + " leads now"})
}

// asksOldLeader says whether a standby is being started whose upstream does not lead any more, or is nobody. Who leads again may have been rewound
// meanwhile: unless it is on the timeline that the copy was made of, its log is compared anew.
func (v *View) asksOldLeader() bool {
	t, u, l := v.Task, v.upstream(), v.leaderMember()
	if t.Task.Kind != postgres.TaskStart || t.Task.AsPrimary || v.other() == nil || u == nil || !v.leaderReady() {
		return false
	}
	if _, _, known := postgres.StandingOf(v.Local.Obs); !known {
		return false // it would be started of nobody again, and cut again before it got on
	}
	if t.Task.Upstream == nil {
		return true
	}
	c, from := v.Local.Obs.Control, t.Task.Upstream.Name
	if from == u.Name || from == l.Name {
		return t.Since.Before(v.Rejoin.Since) && c != nil && postgres.Timeline(l.Data.Timeline) != c.MinRecoveryTimeline
	}
	return true
}

// startLimit is how long a primary may take to start while others could lead. With primary_start_timeout 0 nobody could when it was begun:
// it gets a fair chance.
func (v *View) startLimit() time.Duration {
	if v.Settings.PrimaryStartTimeout == 0 {
		return time.Minute
	}
	return v.Settings.PrimaryStartTimeout
}

// taskRunning waits for the end of the task; the leader key is renewed meanwhile.
func taskRunning(now time.Time, v *View) Verdict {
	t := v.Task
	switch {
	case t.Cancelled != "":
		return rest("%s is ending: %s", t.Task.Kind, t.Cancelled)
	case t.Text != "":
		return rest("%s in progress: %s", t.Task.Kind, t.Text)
	case t.Task.Kind == postgres.TaskStart && t.Task.AsPrimary:
		end := t.Since.Add(v.startLimit())
		if !now.Before(end) {
			return rest("starting the primary after a failure, for longer than primary_start_timeout, as nobody else could lead")
		}
		return wait(end, "starting the primary after a failure").until(end)
	case t.Task.Kind == postgres.TaskStart && v.Local.Obs.NeverConsistent:
		end := t.Since.Add(3 * v.Settings.LoopWait)
		if now.Before(end) {
			return wait(end, "start in progress")
		}
		return rest("start in progress: this copy has not replayed enough to be consistent; if PostgreSQL's own log says that a WAL segment has been removed, reinitialize it")
	}
	return rest("%s in progress", t.Task.Kind)
}
