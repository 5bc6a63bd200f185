package ha

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// race is what the peers say about who should lead, as of one moment.
type race struct {
	ask      []Action  // polls to begin
	pending  string    // a member whose answer is waited for
	until    time.Time // when that wait ends at the latest
	writable string    // a member that answers as writable
	ahead    string    // a member that may lead and has more of the log
	by       postgres.Position
	tied     string    // a member that may lead, has as much, and a higher failover_priority
	heard    time.Time // when the last answer that counts was asked for
	silent   []Action  // polls of members whose silence counts still, and is no news any more
}

// absentPatience is how long the answer of a member whose key has expired is waited for: a leader's authority has ended with it, and a
// standby that lives comes back by itself.
const absentPatience = 300 * time.Millisecond

// answerAge is how old an answer may be before it is asked for again.
const answerAge = 2 * time.Second

// silenceAge is the same for a member that did not answer: it takes the whole of pollTimeout to say so, and while one silent member is
// asked again the silence of the others must not go out of date.
const silenceAge = 6 * time.Second

// race asks whom it has to, and compares positions with ours. since bounds from below when answers must have been asked for.
func (v *View) race(now, since time.Time, self postgres.Position) race {
	var r race
	c := &v.Store.Cluster
	for i := range c.Members {
		if m := &c.Members[i]; m.Name != v.Self.Name && m.Data.APIURL != "" {
			v.hear(&r, now, since, m, time.Time{}, self)
		}
	}
	// Members whose keys have expired: a store that was away for long has forgotten everybody.
	for i := range v.Vacancy.Known {
		if m := &v.Vacancy.Known[i]; m.Name != v.Self.Name && m.Data.APIURL != "" && findMember(c, m.Name) == nil {
			v.hear(&r, now, since, m, v.patience(now, m.Name), self)
		}
	}
	return r
}

// patience is until when the answer of an absent member is waited for. One that has answered since the vacancy lives, and is heard out.
func (v *View) patience(now time.Time, name string) time.Time {
	p := v.Peers[name]
	switch {
	case p.Answer.Reachable && !p.AskedAt.Before(v.Vacancy.Since):
		return time.Time{}
	case p.Asking != 0:
		return p.Sent.Add(absentPatience)
	}
	return now.Add(absentPatience)
}

// hear weighs one member's answer; patience, if set, ends the wait for it.
func (v *View) hear(r *race, now, since time.Time, m *dcs.Member, patience time.Time, self postgres.Position) {
	p := v.Peers[m.Name]
	age := answerAge
	if !p.Answer.Reachable {
		age = silenceAge
	}
	fresh := !p.At.IsZero() && !p.AskedAt.Before(since) && now.Sub(p.At) < age
	if !fresh {
		if p.Asking == 0 {
			r.ask = append(r.ask, PollPeer{*m})
		}
		if patience.IsZero() || now.Before(patience) {
			r.pending, r.until = m.Name, patience
		}
		return
	}
	if p.AskedAt.After(r.heard) {
		r.heard = p.AskedAt
	}
	a := &p.Answer
	if !a.Reachable {
		if p.Asking == 0 && now.Sub(p.At) >= answerAge {
			r.silent = append(r.silent, PollPeer{*m})
		}
		return
	}
	if a.Writable {
		r.writable = m.Name
	}
	if noFailover(m) || v.mayNotLead(now, m.Name) || a.WatchdogFailed || a.Position.LSN == 0 || (a.SystemID != "" && a.SystemID != v.localSystemID()) {
		return
	}
	switch order := comparePositions(a.Position, self); {
	case order > 0:
		r.ahead, r.by = m.Name, a.Position
	case order == 0 && priority(m) > v.Settings.Tags.FailoverPriority && m.Name != v.Vacancy.LastName:
		r.tied = m.Name
	}
}

// waitFor waits for another member to lead, or to be heard no more. Meanwhile those who were silent are asked again: who has come back since may
// be ahead, too, when that other member goes.
func (r *race) waitFor(until time.Time, format string, args ...any) Verdict {
	if len(r.silent) > 0 {
		return act(fmt.Sprintf(format, args...), r.silent...)
	}
	return wait(until, format, args...)
}

// comparePositions orders two positions: the newer timeline wins, as what an older one holds beyond the switch was never
// acknowledged by the newer one's leader; then the longer log (safety 3.2). A timeline of zero is unknown and compared by LSN alone.
func comparePositions(a, b postgres.Position) int {
	switch {
	case a.Timeline != b.Timeline && a.Timeline != 0 && b.Timeline != 0:
		if a.Timeline > b.Timeline {
			return 1
		}
		return -1
	case a.LSN > b.LSN:
		return 1
	case a.LSN < b.LSN:
		return -1
	}
	return 0
}

// priority is a member's failover_priority, 1 unless set.
func priority(m *dcs.Member) int {
	if p, ok := number(m.Data.Tags["failover_priority"]); ok {
		return int(p)
	}
	return 1
}

// expect is what the decision to race was made on, for the store to compare in the same request (safety 3.6).
func (v *View) expect() dcs.Expect {
	c := &v.Store.Cluster
	e := dcs.Expect{Failsafe: c.FailsafeVersion, History: c.HistoryVersion, Reserved: c.Reserved.Version, IgnoreInitialize: true}
	if c.Sync != nil {
		e.Sync = c.Sync.Version
	}
	return e
}

// sessionTooOld says whether the session was not kept for half of its TTL: a key acquired with it would have little authority (safety 1.4). Where
// the proof lags behind, the acquire itself sees to it (dcs.Dated).
func (v *View) sessionTooOld(now time.Time) bool {
	return v.Session.ID == "" || now.After(v.Session.Sent.Add(v.Session.TTL/2))
}

// handedOver says whether the last leader released its key in order, for us, after its server had stopped.
func (v *View) handedOver(now time.Time) bool {
	f, last := v.Store.Cluster.Failover, v.Vacancy.Last
	return requestDue(now, f) && f.Leader != "" && f.Candidate == v.Self.Name &&
		last != nil && last.Name == f.Leader && last.Data.Role == dcs.RoleDemoted && last.Data.State == dcs.StateStopping &&
		findMember(&v.Store.Cluster, last.Name) != nil // "demoted" is what every former leader says; "stopping" beside it is written by a release alone
}

// handedToUs says whether it was handed over to us and we have everything: what the last leader said of its log last is here.
func (v *View) handedToUs(now time.Time) bool {
	self, known := v.Local.position()
	return v.handedOver(now) && known && uint64(self.LSN) >= v.Store.Cluster.Status.Optime
}

// looksForEnd says whether it was handed over to us, and our log was not looked at since: its end has come in between.
func (v *View) looksForEnd(now time.Time) bool {
	return v.handedOver(now) && !v.handedToUs(now) && !v.Local.Sent.After(v.Vacancy.Since) && v.free(LaneObserve)
}

// couldLead finds a member that answered lately as a standby that may lead; nil: none is known.
func (v *View) couldLead(now time.Time) *dcs.Member {
	for _, m := range v.candidates("") {
		if p := v.Peers[m.Name]; p.Answer.Reachable && now.Sub(p.AskedAt) < v.Settings.LoopWait && p.Answer.InRecovery {
			return &m
		}
	}
	return nil
}

// newestOf is the highest timeline that the store tells of.
func newestOf(c *dcs.Cluster) postgres.Timeline {
	newest := postgres.Timeline(c.Reserved.Timeline)
	if n := len(c.History); n > 0 {
		newest = max(newest, postgres.Timeline(c.History[n-1].Timeline)+1)
	}
	for i := range c.Members {
		newest = max(newest, postgres.Timeline(c.Members[i].Data.Timeline))
	}
	return newest
}

// nextTimeline is the number that our promotion would take: above every number that a leader has reserved, or that anybody tells of.
func (v *View) nextTimeline() postgres.Timeline {
	self, _ := v.Local.position()
	newest := max(self.Timeline, v.Newest, newestOf(&v.Store.Cluster))
	for _, p := range v.Peers {
		newest = max(newest, p.Answer.Position.Timeline)
	}
	if v.primary() {
		return newest // no promotion follows; what is in use is reserved all the same
	}
	if v.changed() || v.systemID() == "" {
		newest += v.gap() // what was reserved is forgotten
	}
	return newest + 1
}

// gap makes it unlikely that a promotion takes a number that was taken before in a store that has forgotten so, by somebody who is away now:
// each node skips some, in each store others, and more than were given away in any short time.
func (v *View) gap() postgres.Timeline {
	h := fnv.New32a()
	_, _ = h.Write([]byte(v.Self.Name + "/" + v.Store.Cluster.StoreID))
	return postgres.Timeline(8 + h.Sum32()%32)
}
