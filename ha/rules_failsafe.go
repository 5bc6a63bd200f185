package ha

import (
	"maps"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// Failsafe mode (safety section 10): while the store is away, a leader whom every member of /failsafe still accepts goes on. Its rules
// stand in several sections: pulse (asking and answering), leader, failsafe (below) and vacant (keeping promises).

// failsafeRules say what a leader does whose key has expired while the store was away, and whom the members have promised not to race.
var failsafeRules = []Rule{
	{"failsafe.over", failsafeOver},
	{"failsafe.read", failsafeRead},
	{"failsafe.acquire", failsafeAcquire},
}

func isPromised(_ time.Time, v *View) (bool, string) {
	return v.Lease.State == LeasePromised, "no promises stand in for a leader key"
}

// pulseFailsafe asks every member of /failsafe to accept us for another ttl while the store's answer is unknown, from half of the time that
// the present authority leaves to the rules. An answer of the store is never overruled: a no demotes at once.
func pulseFailsafe(now time.Time, v *View) Verdict {
	members := v.inFailsafe()
	_, listed := v.Failsafe.Members[v.Self.Name] // for certain: over a store without /failsafe, a restart would forget every promise
	switch {
	case !v.Settings.Failsafe:
		return pass("failsafe_mode is off")
	case !v.leads() || !v.mayWrite() || !now.Before(v.budget().Rule):
		return pass("we do not lead")
	case !v.storeUnknown():
		return pass("the store answers")
	case !v.free(LaneFailsafe):
		return pass("the members of /failsafe are being asked")
	case !listed:
		return pass("we are not in /failsafe")
	case now.Before(v.failsafeAt()):
		return pass("there is time, or the members were asked a moment ago")
	}
	return act("DCS is not accessible: asking every member of /failsafe", AskFailsafe{Members: v.others(members), Ask: v.failsafeAsk()})
}

// failsafeAt is when the members are asked next.
func (v *View) failsafeAt() time.Time {
	b := v.budget()
	at := v.Lease.Auth.Sent.Add(b.Rule.Sub(v.Lease.Auth.Sent) / 2)
	if again := v.Failsafe.Failed.Add(max(3*retry, b.Period/10)); again.After(at) {
		return again
	}
	return at
}

// nextFailsafe is when something of failsafe mode is due.
func (v *View) nextFailsafe(now time.Time, soon func(time.Time)) {
	if v.leads() && v.Settings.Failsafe && v.storeUnknown() {
		soon(v.failsafeAt())
	}
	if v.Lease.State == LeasePromised {
		b := v.budget()
		soon(b.Rule)
		soon(b.Kill)
		soon(b.End)
	}
}

// pulsePromise answers a leader that asks to be accepted. Whoever accepts does not race for a ttl; so nobody does who leads, who has asked
// for the leader key and may get it, or who has read that another leads.
func pulsePromise(now time.Time, v *View) Verdict {
	for _, c := range v.Commands {
		cmd, ok := c.Command.(Failsafe)
		if !ok || !v.Local.Known {
			continue // whether our server can write is known in a moment
		}
		if !v.Settings.Failsafe {
			return act("failsafe_mode is off here", Reply{Command: c.ID, Off: true, Refused: "failsafe_mode is off"})
		}
		if why := v.refusal(now, cmd.Ask.Name); why != "" {
			return act("not accepted as leader by failsafe mode: "+cmd.Ask.Name, Reply{Command: c.ID, Refused: why})
		}
		return act("accepted as leader by failsafe mode: "+cmd.Ask.Name,
			Reply{Command: c.ID, Promise: &Promise{To: cmd.Ask.Name, Until: now.Add(v.w(now))}})
	}
	return pass("no leader asks to be accepted")
}

// refusal says why a leader is not accepted; "": it is.
func (v *View) refusal(now time.Time, name string) string {
	l, p := v.Store.Cluster.Leader, &v.Failsafe.Promise
	switch {
	case name == "" || name == v.Self.Name:
		return "the name is missing, or mine"
	case v.mayWrite() || v.leads():
		return "Running as a leader"
	case v.Lease.State == LeaseDoubt || v.Initialize.Mine != nil || v.Initialize.Founded:
		return "I have asked for the leader key myself"
	case l != nil && l.Name != name:
		return "The leader key is held by " + l.Name
	case l == nil && p.To != name && now.Before(p.Until):
		return "I have accepted " + p.To
	}
	return ""
}

// failsafeOver ends a time under promises: the server is down, or they have ended; what is true now is read.
func failsafeOver(now time.Time, v *View) Verdict {
	switch {
	case v.promised(now):
		return pass("the promises stand in for the leader key")
	case !v.free(LaneStore):
		return rest("the leader key has expired; the store is busy")
	}
	return v.readFirst(now, "the leader key has expired: who leads?")
}

// failsafeRead reads the store before the key is asked for again: another may hold it after all.
func failsafeRead(now time.Time, v *View) Verdict {
	switch {
	case !v.Store.Urgent && v.Session.ID != "":
		return pass("the store was read, and there is a session")
	case !v.free(LaneStore):
		return rest("the leader key has expired, all members have accepted us since; the store is busy")
	case v.Store.Urgent:
		return v.readFirst(now, "the leader key has expired, all members have accepted us since: is it still free?")
	}
	return rest("the leader key has expired, all members have accepted us since: opening a session for it")
}

// failsafeAcquire takes the leader key again when the store is back: nobody else races while the promises last.
func failsafeAcquire(now time.Time, v *View) Verdict {
	if !v.free(LaneStore) || v.storeRests(now) {
		return rest("the leader key has expired, all members have accepted us since; the store is busy")
	}
	return act("the store is back, and all members have kept their promise: asking for the leader key again", v.acquire())
}

// leaderFailsafe is the state of a leader that all members have accepted while the store is away.
func leaderFailsafe(now time.Time, v *View) Verdict {
	if !v.Lease.Auth.ByFailsafe || !v.storeUnknown() {
		return pass("our authority rests on the leader key")
	}
	return rest("continue to run as a leader because failsafe mode is enabled and all members are accessible")
}

// vacantPromised keeps the promise that was made to a leader while the store was away: it takes its key again, or stops before the promise
// ends.
func vacantPromised(now time.Time, v *View) Verdict {
	p := &v.Failsafe.Promise
	switch {
	case !now.Before(p.Until):
		return pass("nobody was promised anything")
	case v.handedToUs(now):
		return pass("the leader has stopped, and handed over to us")
	case v.looksForEnd(now):
		return act("the leader has handed over to us: is the end of its log here?", Observe{})
	}
	return wait(p.Until, "%s was accepted as leader while DCS was not accessible: it goes first", p.To).until(p.Until)
}

// vacantNotInFailsafe keeps a node out of the race that is not in /failsafe: a leader that is cut off from the store does not ask it. It ends
// when every member of /failsafe answers and none is a primary. An operator who knows that none of them can write may delete that key.
func vacantNotInFailsafe(now time.Time, v *View) Verdict {
	all := v.Store.Cluster.Failsafe
	if _, ok := all[v.Self.Name]; ok || len(all) == 0 {
		return pass("we are in /failsafe, or there is none")
	}
	ask, missing, again := v.askFailsafeMembers(now, v.Vacancy.Since)
	switch {
	case len(ask) > 0:
		return act("this node is not in /failsafe: does one of its members lead without DCS?", ask...)
	case missing == "":
		return pass("every member of /failsafe answers, and none is a primary")
	}
	return wait(again, "this node is not in /failsafe, and %s may lead without DCS and without asking us (if it cannot, delete /failsafe by hand)", missing)
}

// vacantFailsafeStart keeps a node out of the race for W after its own start: it may have made a promise that it does not remember. It ends
// when every member of /failsafe answers and none is a primary, as whoever was promised something is among them.
func vacantFailsafeStart(now time.Time, v *View) Verdict {
	end := v.Self.Started.Add(v.w(now))
	switch {
	case !now.Before(end):
		return pass("no promise can be older than this run of the agent")
	case len(v.Store.Cluster.Failsafe) == 0:
		return pass("there is no /failsafe")
	case v.handedToUs(now):
		return pass("the leader has stopped, and handed over to us")
	case v.looksForEnd(now):
		return act("the leader has handed over to us: is the end of its log here?", Observe{})
	}
	ask, missing, again := v.askFailsafeMembers(now, v.Self.Started)
	switch {
	case len(ask) > 0:
		return act("was one of /failsafe promised something before this agent started?", ask...)
	case missing == "":
		return pass("every member of /failsafe answers, and none is a primary")
	}
	return wait(earliest(end, again), "this agent may have accepted a leader before it started, and %s may be that one", missing).until(end)
}

// askFailsafeMembers lists the polls that are due to know that no other member of /failsafe is a primary, and names one of whom that is not
// known since then; "": it is known of all. One whose server has crashed says that it is a primary all the same.
func (v *View) askFailsafeMembers(now, since time.Time) (ask []Action, missing string, again time.Time) {
	all := v.others(v.Store.Cluster.Failsafe)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := v.Peers[name]
		a := &p.Answer
		if a.writesNoMore() && a.Role != dcs.RolePrimary && a.Role != dcs.RolePromoted && !p.AskedAt.Before(since) {
			continue
		}
		missing = name
		due := p.At.Add(time.Second)
		switch {
		case p.Asking != 0:
		case p.At.IsZero() || p.AskedAt.Before(since) || !now.Before(due):
			ask = append(ask, PollPeer{v.failsafePeer(name, all[name])})
		default:
			again = earliest(again, due)
		}
	}
	return ask, missing, again
}

// mayNotLead says whether a member is kept out of the race because it is not in /failsafe, for longer than anybody needs to wait for it. A node
// that is not in /failsafe either may lead no sooner than that one, and compares itself with it as with any other.
func (v *View) mayNotLead(now time.Time, name string) bool {
	all := v.Store.Cluster.Failsafe
	_, ok := all[name]
	_, we := all[v.Self.Name]
	return we && !ok && len(all) > 0 && !now.Before(v.Vacancy.Since.Add(v.w(now)))
}
