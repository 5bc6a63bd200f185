package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// foundRules make a new cluster while we hold /initialize. Its server stays closed to ordinary clients until the leader key is ours and
// the fence is armed, so that a founder who was frozen for an hour cannot come back as a second primary (safety 5.3).
var foundRules = []Rule{
	{"found.claim-lost", foundClaimLost},
	{"found.bootstrap", foundBootstrap},
	{"found.failed", foundFailed},
	{"found.acquire", foundAcquire},
	{"found.write-system-id", foundWriteSystemID},
	{"found.watchdog", foundWatchdog},
	{"found.arm", foundArm},
	{"found.open", foundOpen},
	{"found.done", foundDone},
}

// foundClaimLost gives up when somebody deleted or took over /initialize, when somebody else leads, or when a member with data has come back
// to a store that had forgotten it: what was made here is not the cluster. It was never opened, so nobody's rows are in it.
func foundClaimLost(now time.Time, v *View) Verdict {
	why := v.claimLost()
	switch {
	case why == "":
		return pass("the right to found the cluster is ours")
	case v.Initialize.Opened || (v.systemID() != "" && v.systemID() == v.localSystemID()):
		return act("the cluster was founded here", ForgetClaim{})
	case v.running():
		return v.taskAgain(now, why+": the server is stopped",
			RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate}, Why: WhyFound})
	case v.hasData():
		return v.taskAgain(now, why+": what was made is moved aside",
			RunTask{Task: postgres.Task{Kind: postgres.TaskWipe, Rename: true}, Why: WhyFound})
	case v.Initialize.Mine == nil:
		return act(why, ForgetClaim{})
	case !v.free(LaneStore) || v.storeRests(now) || v.writeRests(now):
		return rest("%s; the store is busy", why)
	}
	return act(why+": /initialize is freed", DropInitialize{*v.Initialize.Mine}, ForgetClaim{})
}

// claimLost says why we may not found the cluster any more; "": we may.
func (v *View) claimLost() string {
	switch {
	case v.Lease.State == LeaseHeld || v.Lease.State == LeaseDoubt:
		return ""
	case v.other() != nil:
		return "somebody else leads"
	case v.Initialize.Mine == nil:
		return "the right to found the cluster is lost"
	}
	if m := v.memberWithData(); m != nil {
		return m.Name + " has the data of a cluster that the store has forgotten"
	}
	return ""
}

// memberWithData is another member that may lead and has something to lead with. Where there is one, nobody founds a cluster: the store
// was wiped, and the cluster is that member's.
func (v *View) memberWithData() *dcs.Member {
	for i := range v.Store.Cluster.Members {
		m := &v.Store.Cluster.Members[i]
		if m.Meta.Session == "" && v.Store.Sent.Sub(v.Vacancy.Since) >= v.w(v.Store.Sent) {
			continue // nobody ends a key without a session: it does not stand in the way for ever (safety 2.8)
		}
		if m.Name != v.Self.Name && !noFailover(m) && m.Data.Role != "" && m.Data.Role != dcs.RoleUninitialized &&
			m.Data.State != dcs.StateCreating && m.Data.State != dcs.StateInitializing {
			return m
		}
	}
	return nil
}

// foundBootstrap makes the cluster.
func foundBootstrap(now time.Time, v *View) Verdict {
	if !v.noData() || v.Problem != "" {
		return pass("it was made, or could not be made")
	}
	if v.Local.Obs.DataDir == postgres.DataDirUnfinished {
		return v.taskAgain(now, "what an interrupted "+string(v.Local.Obs.Unfinished)+" has left is moved aside",
			RunTask{Task: postgres.Task{Kind: postgres.TaskWipe, Rename: true}, Why: WhyFound})
	}
	return act("trying to bootstrap a new cluster", RunTask{Task: postgres.Task{Kind: postgres.TaskBootstrap}, Why: WhyFound})
}

// foundFailed cleans up after a failed bootstrap: the data directory is kept under another name, /initialize is freed, the agent ends
// with the reason.
func foundFailed(now time.Time, v *View) Verdict {
	switch {
	case v.Problem == "":
		return pass("the bootstrap has not failed")
	case v.running():
		return v.taskAgain(now, "the bootstrap failed: the server is stopped",
			RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate}, Why: WhyFound})
	case !v.noData() && v.LastTask.Task.Kind != postgres.TaskWipe:
		return act("the bootstrap failed: its data directory is moved aside",
			RunTask{Task: postgres.Task{Kind: postgres.TaskWipe, Rename: true}, Why: WhyFound})
	case !v.free(LaneStore):
		return rest("the bootstrap failed; the store is busy")
	case v.Initialize.Mine != nil && v.Store.Problem == "":
		return act("the bootstrap failed: /initialize is freed", DropInitialize{*v.Initialize.Mine}, Quit{Problem: v.Problem})
	}
	return act("the bootstrap failed", Quit{Problem: v.Problem})
}

// foundAcquire takes the leader key, only if it is absent and /initialize is still the one that we created.
func foundAcquire(now time.Time, v *View) Verdict {
	switch {
	case v.holds():
		return pass("the leader key is ours")
	case !v.free(LaneStore) || v.storeRests(now):
		return rest("the cluster is made; the store is busy")
	case v.Lease.State == LeaseDoubt || v.Store.Urgent:
		return v.readFirst(now, "is the leader key ours?")
	case v.sessionTooOld(now):
		return act("the session is renewed before the leader key is asked for", v.keepSession())
	}
	r := dcs.Acquire{Member: v.member(), Expect: v.expect(), Timeline: uint32(v.nextTimeline())}
	r.Expect.IgnoreInitialize, r.Expect.InitializeCreated = false, v.Initialize.Mine.Entry.Created
	return act("the cluster is made: the leader key is asked for", AcquireKey{r})
}

// foundWriteSystemID publishes the system identifier, without a session, before anybody can write: from now on the cluster is this one,
// whatever becomes of its founder.
func foundWriteSystemID(now time.Time, v *View) Verdict {
	switch {
	case v.systemID() != "":
		return pass("/initialize has it")
	case !v.free(LaneStore) || v.storeRests(now) || v.writeRests(now):
		return rest("the store is busy")
	case v.Store.Urgent:
		return v.readFirst(now, "what does /initialize say?")
	}
	return act("initialized a new cluster", WriteInitialize{Prev: v.Store.Cluster.Initialize, SystemID: v.localSystemID()})
}

// foundArm tells the fence before the server is opened.
func foundArm(now time.Time, v *View) Verdict {
	if !v.running() || !v.closed() || v.armed(now) {
		return pass("the fence is armed, or the server is open or down")
	}
	return v.arm(now)
}

// foundOpen lets clients in. A server that has died meanwhile is started, and opened, as any leader's.
func foundOpen(now time.Time, v *View) Verdict {
	if !v.running() || !v.closed() {
		return pass("the server is open or down")
	}
	return v.open(now)
}

// open lets clients into our closed server.
func (v *View) open(now time.Time) Verdict {
	if d := v.renewFirst(now); d.matched {
		return d
	}
	if l := v.LastTask; l != nil && l.Task.Kind == postgres.TaskOpen && l.Fault != nil && now.Before(l.At.Add(time.Second)) {
		return wait(l.At.Add(time.Second), "the server could not be opened: %s", l.Fault)
	}
	return act("the leader key is ours: the server is opened", RunTask{Task: postgres.Task{Kind: postgres.TaskOpen}, Why: WhyFound})
}

// foundDone forgets the claim: from here on we are an ordinary leader.
func foundDone(now time.Time, v *View) Verdict { return act("the cluster is founded", ForgetClaim{}) }

// emptyRules fill an empty data directory: by founding a cluster, or by cloning.
var emptyRules = []Rule{
	{"empty.remains", emptyRemains},
	{"empty.give-up-key", emptyGiveUpKey},
	{"empty.claim", emptyClaim},
	{"empty.initialize-stale", emptyInitializeStale},
	{"empty.clone", emptyClone},
	{"empty.waiting", emptyWaiting},
}

// emptyRemains stops a server that runs on an unfinished data directory: its agent died while it made or cloned it.
func emptyRemains(now time.Time, v *View) Verdict {
	if !v.running() {
		return pass("no server runs on it")
	}
	return v.taskAgain(now, "a server runs on an unfinished data directory: it is stopped",
		RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate}, Why: WhyFound})
}

// emptyGiveUpKey releases a leader key that we hold over an empty data directory.
func emptyGiveUpKey(now time.Time, v *View) Verdict {
	switch {
	case v.Lease.State == LeaseNone || v.Lease.State == LeaseLost:
		return pass("we do not hold the leader key")
	case !v.free(LaneStore) || v.storeRests(now):
		return rest("the store is busy")
	case v.Lease.State == LeaseDoubt:
		return v.readFirst(now, "is the leader key ours?")
	}
	return act("there is no data here: the leader key is given up", v.release(dcs.StateStopped))
}

// emptyClaim takes the right to found the cluster, if nobody has it and nobody leads.
func emptyClaim(now time.Time, v *View) Verdict {
	switch {
	case !v.vacant():
		return pass("there is a leader: its data is cloned")
	case v.Store.Cluster.Initialize != nil:
		return pass("the cluster was founded, or somebody is at it")
	case v.changed() && v.Changed.Founded:
		return pass("the store has forgotten the cluster, or holds another one: " + v.Changed.Why)
	case v.memberWithData() != nil:
		return pass("the store has forgotten a cluster whose data " + v.memberWithData().Name + " has")
	case !v.Self.CanFound:
		return pass("no bootstrap section: this node does not found clusters")
	case v.Settings.Tags.NoFailover:
		return pass("nofailover: this node does not found clusters")
	case v.watchdogRefuses(now) != "":
		return pass("this node does not found clusters: a watchdog is required, and " + v.watchdogRefuses(now))
	case v.Settings.StandbyCluster:
		return pass("a standby cluster is asked for, which this release cannot make")
	case v.Local.Obs.DataDir == postgres.DataDirUnfinished && v.Local.Obs.Unfinished == postgres.TaskRewind:
		return pass("the data directory is half rewound: it may be the only copy")
	case v.Local.Obs.DataDir == postgres.DataDirUnfinished && (v.Local.Obs.Unfinished == postgres.TaskClone || v.Local.Obs.Unfinished == postgres.TaskWipe):
		return pass("a " + string(v.Local.Obs.Unfinished) + " was begun here: there is a cluster, which the store has forgotten; to found another one, remove the data directory")
	case !v.free(LaneStore) || v.Session.ID == "" || v.storeRests(now):
		return rest("announcing ourselves first")
	case now.Before(v.Initialize.Failed.Add(time.Second)):
		return wait(v.Initialize.Failed.Add(time.Second), "another node was faster with /initialize")
	case v.Store.Urgent:
		return v.readFirst(now, "has the cluster been founded meanwhile?")
	}
	return act("nobody has founded the cluster yet", ClaimInitialize{})
}

// emptyInitializeStale says what an operator has to do when a founder died and left /initialize empty.
func emptyInitializeStale(now time.Time, v *View) Verdict {
	i := v.Store.Cluster.Initialize
	switch {
	case !v.vacant() || i == nil || i.SystemID != "":
		return pass("nobody is founding the cluster")
	case i.Entry.Session != "":
		return rest("waiting for leader to bootstrap; /initialize goes with its session if that node dies")
	}
	for _, m := range v.Store.Cluster.Members {
		if m.Data.State == dcs.StateInitializing && m.Name != v.Self.Name && m.Data.Role == dcs.RoleUninitialized {
			return rest("waiting for leader to bootstrap (%s may be at it)", m.Name)
		}
	}
	return rest("/initialize is empty and nobody is founding the cluster: its founder died; if that is so, delete the key /initialize of this cluster")
}

// emptyClone copies the data of a member: one tagged clonefrom, else the leader. A source that failed is tried again last.
func emptyClone(now time.Time, v *View) Verdict {
	lm := v.leaderMember()
	if v.other() == nil || lm == nil {
		return pass("nobody leads")
	}
	if !runsAsPrimary(lm) {
		return rest("waiting for the leader %s to run", lm.Name)
	}
	src := v.cloneSource()
	if src == nil {
		return rest("the leader %s publishes no address to clone from", lm.Name)
	}
	if failed := v.Peers[src.Name].CloneFailed; !failed.IsZero() && now.Before(failed.Add(v.Settings.LoopWait)) {
		return wait(failed.Add(v.Settings.LoopWait), "cloning from %s failed: %s", src.Name, v.lastFault())
	}
	return act("trying to bootstrap from "+src.Name, RunTask{Task: postgres.Task{Kind: postgres.TaskClone, Upstream: src}, Why: WhyRejoin})
}

// cloneSource is the member to clone from that has not failed, or failed longest ago.
func (v *View) cloneSource() *postgres.Upstream {
	var best *postgres.Upstream
	consider := func(m *dcs.Member) {
		u := v.upstreamOf(m)
		if u == nil {
			return
		}
		u.Slot = ""
		if best == nil || v.Peers[u.Name].CloneFailed.Before(v.Peers[best.Name].CloneFailed) {
			best = u
		}
	}
	leader := v.leaderMember()
	for i := range v.Store.Cluster.Members {
		m := &v.Store.Cluster.Members[i]
		if m.Name != leader.Name && truthy(m.Data.Tags["clonefrom"]) && m.Data.State == dcs.StateRunning {
			consider(m)
		}
	}
	consider(leader)
	return best
}

// emptyWaiting waits for a leader to clone from.
func emptyWaiting(now time.Time, v *View) Verdict {
	if v.Local.Obs.DataDir == postgres.DataDirUnfinished {
		return rest("waiting for leader to bootstrap; the data directory is unfinished and is never started: %s", v.Local.Obs.Problem)
	}
	return rest("waiting for leader to bootstrap")
}

// lastFault is how the last task failed, for a sentence.
func (v *View) lastFault() string {
	if v.LastTask == nil {
		return "unknown"
	}
	return v.LastTask.Fault.String()
}
