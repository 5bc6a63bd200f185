package ha

import (
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// wipedRules say what a leader does whose store was wiped, restored from a backup, or replaced by another one behind the same address
// (safety 2.7). That its key is gone there says nothing: nobody has taken it. It leads on until its authority ends, and creates the key
// again only when everybody whom it last knew has come to the same store: of two stores that both live, each must not get a leader.
var wipedRules = []Rule{
	{"wiped.over", wipedOver},
	{"wiped.foreign", wipedForeign},
	{"wiped.members", wipedMembers},
	{"wiped.session", wipedSession},
	{"wiped.acquire", wipedAcquire},
}

// wiped says whether we lead by the word of a store that is not there any more.
func wiped(_ time.Time, v *View) (bool, string) {
	return v.holds() && v.changed(), "the store is the one that our authority came from"
}

// changed says whether another store answers than the one in which we knew the cluster, and nobody leads there yet.
func (v *View) changed() bool { return !v.Changed.Since.IsZero() }

// foreign says whether the store that answers now holds another cluster than the one in our data directory.
func (v *View) foreign() bool {
	mine, theirs := v.localSystemID(), v.systemID()
	return mine != "" && theirs != "" && mine != theirs
}

// wipedOver reads the store when our authority has ended, or nothing is left to protect: what it shows then is believed.
func wipedOver(now time.Time, v *View) Verdict {
	switch {
	case v.Lease.Auth.Holds(now) && v.mayWrite():
		return pass("our authority lasts")
	case !v.free(LaneStore):
		return rest("our authority, which came from another store, is over: reading the one that answers now")
	}
	return v.readFirst(now, "our authority, which came from another store, is over.")
}

// wipedForeign leads on beside the store of another cluster, until our authority ends or our own store is back.
func wipedForeign(now time.Time, v *View) Verdict {
	if !v.foreign() {
		return pass("the store knows no other cluster than ours")
	}
	end := v.budget().Rule
	return wait(end, "the store that answers now holds another cluster (%s, ours is %s): leading on by the last word of our own store, which has to come back",
		v.systemID(), v.localSystemID()).until(end)
}

// wipedMembers waits until each member that we last knew has announced itself in this store, or an operator names us in a failover.
func wipedMembers(now time.Time, v *View) Verdict {
	missing := v.missing()
	switch {
	case len(missing) == 0:
		return pass("everybody whom we last knew is there")
	case v.named(now):
		return pass("an operator says that we shall lead")
	}
	end := v.budget().Rule
	return wait(end, "%s: leading on until our authority ends; the leader key is created again when %s is there, or after a failover to %s was asked for",
		v.Changed.Why, strings.Join(missing, ", "), v.Self.Name).until(end)
}

// wipedSession renews the session in the new store until it is young, and outlives what the fence knows.
func wipedSession(now time.Time, v *View) Verdict {
	short := v.Session.ID != "" && NewBudget(Authority{Sent: v.Session.Kept, TTL: v.Session.TTL}, v.Settings.LoopWait).Kill.Before(v.Fence.Until)
	switch {
	case !v.sessionTooOld(now) && !short:
		return pass("the session in this store is young")
	case !v.free(LaneStore) || v.storeRests(now) || now.Before(v.Session.Failed.Add(v.sessionRetry(now))):
		return rest("%s: about to open a session; the store is busy", v.Changed.Why)
	case short && now.Before(v.Session.Sent.Add(time.Second)):
		return wait(v.Session.Sent.Add(time.Second), "the ttl has become shorter: waiting until a session outlives what the fence knows")
	}
	return act(v.Changed.Why+": a session is opened, or renewed, in the store that answers now", v.keepSession())
}

// wipedAcquire creates the leader key in the new store.
func wipedAcquire(now time.Time, v *View) Verdict {
	switch {
	case !v.free(LaneStore) || v.storeRests(now):
		return rest("about to create the leader key again; the store is busy")
	case v.Store.Urgent:
		return v.readFirst(now, "does this store know a leader?")
	}
	r := v.acquire().Request
	r.Expect.IgnoreInitialize = false // whoever founds another cluster there meanwhile is not overlooked
	if i := v.Store.Cluster.Initialize; i != nil {
		r.Expect.InitializeCreated = i.Entry.Created
	}
	if v.ownOldKey() {
		r.Takeover = v.Store.Cluster.Leader
	}
	who := "everybody is there"
	if len(v.missing()) > 0 {
		who = "an operator says that we shall lead"
	}
	return act(v.Changed.Why+", and "+who+": the leader key is created again", AcquireKey{r})
}

// vacantStoreChanged keeps a candidate out of the race when it has noticed that the store was wiped, restored or replaced: an empty store
// looks vacant to everybody at once, while the leader lives. It ends after W, or when all members answer that they are not writable. Who
// was that leader waits, like a leader, for the members that it knew. Everybody is given a moment to announce himself, as this node may
// have been away for long.
func vacantStoreChanged(now time.Time, v *View) Verdict {
	if !v.changed() {
		return pass("the store is the one in which we knew the cluster")
	}
	end := v.Changed.Since.Add(v.w(now))
	if soon := v.Changed.Since.Add(v.newcomerTime()); now.Before(soon) {
		return wait(soon, "%s: waiting for other members to announce themselves", v.Changed.Why).until(end)
	}
	if slices.Contains(v.Changed.Leaders, v.Self.Name) {
		if missing := v.missing(); len(missing) > 0 && !v.named(now) {
			return rest("%s while we led: waiting for %s, for another leader, or for a failover to %s to be asked for",
				v.Changed.Why, strings.Join(missing, ", "), v.Self.Name)
		}
	}
	if !now.Before(end) {
		return pass("whatever authority came from the old store is over")
	}
	return v.lastLeaders(now, end)
}

// lastLeaders waits, if this node has followed what happened in the old store, until everybody whom the old store knew, or who has announced himself in this one, answers that he is not writable. The last
// leader's word alone would do if it were known who that is: somebody who was away may not have heard of the last one.
func (v *View) lastLeaders(now, end time.Time) Verdict {
	if v.Changed.Blind {
		return wait(end, "%s, and we had not heard of it for a while before: whoever led last may live", v.Changed.Why).until(end)
	}
	next, silent := end, ""
	for _, name := range v.everybody() {
		m, p := v.lastKnown(name), v.Peers[name]
		asked := !p.AskedAt.Before(v.Changed.Since)
		switch {
		case asked && p.Answer.writesNoMore():
			continue
		case m != nil && p.Asking == 0 && (!asked || now.Sub(p.At) >= time.Second):
			return act(v.Changed.Why+": is "+name+" writable?", PollPeer{*m})
		}
		next, silent = earliest(next, p.At.Add(time.Second)), name
	}
	if silent == "" && len(v.Changed.Leaders) > 0 {
		return pass("everybody whom the old store knew answers that he is not writable")
	}
	if silent == "" {
		return wait(end, "%s: whoever led last may live", v.Changed.Why).until(end)
	}
	return wait(next, "%s: %s may be writable", v.Changed.Why, silent).until(end)
}

// everybody names the other members of the old store and of this one, and whoever may have led.
func (v *View) everybody() []string {
	names := slices.Clone(v.Changed.Leaders)
	for _, list := range [][]dcs.Member{v.Changed.Known, v.Store.Cluster.Members} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { return name == v.Self.Name })
}

// lastKnown is a member as the old store showed it, or as this one does; nil: nobody knows it.
func (v *View) lastKnown(name string) *dcs.Member {
	if m := findMember(&v.Store.Cluster, name); m != nil {
		return m
	}
	for i := range v.Changed.Known {
		if m := &v.Changed.Known[i]; m.Name == name {
			return m
		}
	}
	return nil
}

// missing lists the members of the old store that have not announced themselves in this one. A key that lives on from a backup does not
// count, nor did one without a session before.
func (v *View) missing() []string {
	var names []string
	for _, was := range v.Changed.Known {
		if was.Name == v.Self.Name || was.Meta.Session == "" {
			continue
		}
		is := findMember(&v.Store.Cluster, was.Name)
		if is == nil || is.Meta.Session == "" || (is.Meta.Session == was.Meta.Session && !v.storeIsBack()) {
			names = append(names, was.Name)
		}
	}
	return names
}

// storeIsBack says whether the store in which we knew the cluster answers again, as it was.
func (v *View) storeIsBack() bool {
	c := &v.Store.Cluster
	return c.StoreID != "" && c.StoreID == v.Changed.StoreID && c.Version >= v.Changed.Version
}

// named says whether an operator asks for a failover to us.
func (v *View) named(now time.Time) bool {
	f := v.Store.Cluster.Failover
	return requestDue(now, f) && f.Leader == "" && f.Candidate == v.Self.Name
}
