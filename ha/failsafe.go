package ha

import (
	"maps"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// FailsafeAsk is what a leader says of itself when it asks others to accept it: the body of POST /failsafe.
type FailsafeAsk struct {
	Name    string            `json:"name"`
	ConnURL string            `json:"conn_url"`
	APIURL  string            `json:"api_url"`
	Slots   map[string]uint64 `json:"slots"` // positions of its replication slots
}

// FailsafeAnswer is what one member said to that, or that it did not.
type FailsafeAnswer struct {
	Name     string
	Accepted bool
	Problem  string        `json:",omitempty"` // why not
	Promise  time.Duration `json:",omitempty"` // how long the member will not race, counted from its answer; 0: it did not say (Patroni)
	LSN      postgres.LSN  `json:",omitempty"` // its position; 0: it did not say
}

// FailsafeView is failsafe mode as seen by this node: what it has to ask while it leads, and what it has promised to another.
type FailsafeView struct {
	Members map[string]string // /failsafe as last read, or as written for certain: names and their api_url; empty: there is none
	Doubt   map[string]string // members of a write of unknown fate: they may be in it, too
	DoubtAt time.Time         // when that write was last tried
	Writing map[string]string // by the renewal under way; nil: nothing
	Asked   map[string]string // by the round under way
	Failed  time.Time         // when a round ended in vain; zero after one in which all accepted
	Problem string            // and why
	Promise Promise           // the last one that this node made
}

// Promise is this node's word not to race while another leads by failsafe mode. It is given by this node's clock.
type Promise struct {
	To    string
	Until time.Time
}

// leads says whether there is authority to lose: the leader key is ours, as far as the store has said, or the promises stand in for it.
func (v *View) leads() bool { return v.Lease.State == LeaseHeld || v.Lease.State == LeasePromised }

// promised says whether the promises stand in for a leader key that has expired, and the server still needs them.
func (v *View) promised(now time.Time) bool {
	return v.Lease.State == LeasePromised && v.Lease.Auth.Holds(now) && v.mayWrite()
}

// inFailsafe is every member that may be in /failsafe.
func (v *View) inFailsafe() map[string]string {
	f := &v.Failsafe
	if len(f.Doubt) == 0 && len(f.Writing) == 0 {
		return f.Members
	}
	all := maps.Clone(f.Doubt)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, f.Writing)
	maps.Copy(all, f.Members)
	return all
}

// others is the members of a map without this node.
func (v *View) others(members map[string]string) map[string]string {
	m := maps.Clone(members)
	delete(m, v.Self.Name)
	return m
}

// failsafeNews is what the next renewal writes to /failsafe: all members, ourselves among them; nothing, if the mode was turned off; nil: it
// is as it should be. It changes only under an authority that rests on the leader key: while promises stand in for that, nobody may come
// into /failsafe who has not promised anything.
func (v *View) failsafeNews() map[string]string {
	if !v.Lease.RenewFailed.IsZero() || v.Lease.Auth.ByFailsafe {
		return nil
	}
	want := map[string]string{}
	if v.Settings.Failsafe {
		want[v.Self.Name] = v.Self.APIURL
		for i := range v.Store.Cluster.Members {
			if m := &v.Store.Cluster.Members[i]; m.Name != v.Self.Name && m.Data.APIURL != "" {
				want[m.Name] = m.Data.APIURL
			}
		}
	}
	if maps.Equal(want, v.inFailsafe()) {
		return nil
	}
	return want
}

// failsafeSlots are the slots that a leader keeps for members of /failsafe: after an outage of the store their keys come back one by one.
func (v *View) failsafeSlots() []string {
	if !v.holds() || !v.Settings.Failsafe {
		return nil
	}
	var names []string
	for name := range v.others(v.Failsafe.Members) {
		if findMember(&v.Store.Cluster, name) == nil {
			names = append(names, postgres.SlotName(name))
		}
	}
	slices.Sort(names)
	return names
}

// failsafeUntil is when failsafe mode ends to be active, as far as this node has to do with it.
func (v *View) failsafeUntil() time.Time {
	if v.leads() && v.Lease.Auth.ByFailsafe {
		return v.Lease.Auth.End()
	}
	return v.Failsafe.Promise.Until
}

// failsafeProblem is why the last round was in vain, for the reason of a demotion.
func (v *View) failsafeProblem() string {
	if v.Failsafe.Problem == "" {
		return ""
	}
	return "; failsafe mode: " + v.Failsafe.Problem
}

// storeUnknown says whether a leader does not know whether its key is still its own: nobody has said no, and nobody says yes.
func (v *View) storeUnknown() bool {
	if v.changed() {
		return false // another store answers: nobody is bound by the /failsafe of the old one
	}
	switch v.Lease.State {
	case LeaseHeld:
		return !v.Lease.RenewFailed.IsZero()
	case LeasePromised:
		return v.Store.Problem != ""
	}
	return false
}

// gone notes that the leader key is there no more. A key that has outlived its session while the store was away is no news to a leader that
// every member has accepted since, and none of them can have taken it. Anything else is a no.
func (v *View) gone(now time.Time, cause string) {
	l, s := &v.Lease, &v.Session
	expired := s.ID != "" && !now.Before(s.Kept.Add(s.TTL))
	if !l.Auth.ByFailsafe || !now.Before(v.budget().Rule) || !expired || v.Handover != nil || !v.mayWrite() {
		v.lost(cause)
		return
	}
	v.Lease = Lease{State: LeasePromised, Auth: l.Auth, Since: l.Since, Timeline: l.Timeline, Cause: cause}
	v.Store.Stale, v.Store.Urgent = true, true
}

// foldPromised compares what a linearizable read shows with a key that has expired under our promises.
func foldPromised(now time.Time, v *View, mine bool) {
	c := &v.Store.Cluster
	switch {
	case mine: // an acquire whose answer was lost
		auth := v.Lease.Auth
		v.Lease = Lease{State: LeaseHeld, Leader: c.Leader.Meta, Since: now, Decided: v.Lease.Decided, Timeline: v.Lease.Timeline,
			Auth: laterEnd(auth, v.proven())}
		v.Failsafe.Doubt = nil
	case c.Leader != nil:
		v.lost("the store shows another leader key")
	case !v.knows(c.Failsafe):
		v.lost("the leader key is gone, and /failsafe is not the one that was asked by")
	case !v.promised(now):
		v.Lease = Lease{Cause: v.Lease.Cause}
	}
}

// knows says whether /failsafe, as read, has this node in it and nobody whom it has not asked.
func (v *View) knows(read map[string]string) bool {
	known := v.inFailsafe()
	for name := range read {
		if _, ok := known[name]; !ok {
			return false
		}
	}
	_, ok := read[v.Self.Name]
	return ok
}

// laterEnd is the authority that ends later: each of two proofs is enough.
func laterEnd(a, b Authority) Authority {
	if b.End().After(a.End()) {
		return b
	}
	return a
}

// foldFailsafeSeen notes /failsafe as a read that was sent at that time has shown it.
func foldFailsafeSeen(now time.Time, v *View, sent time.Time) {
	v.Failsafe.Members = v.Store.Cluster.Failsafe
	v.settleFailsafe(now, sent)
}

// settleFailsafe ends the doubt about a write that has had all the time in which it could arrive.
func (v *View) settleFailsafe(now, sent time.Time) {
	if v.Failsafe.Doubt != nil && sent.Sub(v.Failsafe.DoubtAt) >= v.w(now) {
		v.Failsafe.Doubt = nil
	}
}

// foldFailsafeWritten notes what became of the /failsafe that a renewal wrote.
func foldFailsafeWritten(now time.Time, v *View, e Renewed) {
	f := &v.Failsafe
	written := f.Writing
	f.Writing = nil
	switch {
	case e.Fault == nil:
		if written != nil {
			f.Members = written
		}
		f.Failed, f.Problem = time.Time{}, ""
		v.settleFailsafe(now, e.Sent)
	case e.Fault.Kind == FaultConflict || e.Fault.Kind == FaultSessionLost:
	case len(written) > 0:
		d := maps.Clone(written)
		maps.Copy(d, f.Doubt)
		f.Doubt, f.DoubtAt = d, now
	}
}

// foldFailsafe counts the answers of a round. Only all of them together are authority, only while the one before still lasts (else somebody
// may have led meanwhile), and only in place of a store that does not answer.
func foldFailsafe(now time.Time, v *View, e FailsafeAnswered) {
	f := &v.Failsafe
	f.Asked = nil
	if !v.storeUnknown() || !v.mayWrite() || !now.Before(v.budget().Rule) {
		return
	}
	ttl, problem := v.least(now), ""
	names := slices.Sorted(maps.Keys(v.others(v.inFailsafe())))
	for _, name := range names {
		i := slices.IndexFunc(e.Answers, func(a FailsafeAnswer) bool { return a.Name == name })
		switch {
		case i < 0:
			problem = name + " was not asked"
		case !e.Answers[i].Accepted:
			problem = name + ": " + e.Answers[i].Problem
		case e.Answers[i].Promise > 0:
			ttl = min(ttl, e.Answers[i].Promise)
		}
		if problem != "" {
			f.Failed, f.Problem = now, problem
			return
		}
	}
	f.Failed, f.Problem = now, "the promises are too short"
	if a := (Authority{Sent: e.Sent, TTL: ttl, ByFailsafe: true}); a.End().After(v.Lease.Auth.End()) {
		v.Lease.Auth = a
		f.Failed, f.Problem = time.Time{}, ""
	}
}

// ask is what we say of ourselves to the members.
func (v *View) failsafeAsk() FailsafeAsk {
	a := FailsafeAsk{Name: v.Self.Name, ConnURL: v.Self.ConnURL, APIURL: v.Self.APIURL, Slots: map[string]uint64{}}
	if s := v.status(); s != nil {
		a.Slots = s.Slots
	}
	return a
}

// failsafePeer is a member of /failsafe, also if its member key has expired.
func (v *View) failsafePeer(name, apiURL string) dcs.Member {
	if m := findMember(&v.Store.Cluster, name); m != nil {
		return *m
	}
	return dcs.Member{Name: name, Data: dcs.MemberData{APIURL: apiURL}}
}
