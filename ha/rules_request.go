package ha

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// leaderRequestFailed clears a request that was tried and could not be done.
func leaderRequestFailed(now time.Time, v *View) Verdict {
	f := v.Store.Cluster.Failover
	switch {
	case f == nil || v.FailedRequest == 0 || f.Version != v.FailedRequest:
		return pass("no request has failed")
	case !v.free(LaneStore) || v.writeRests(now):
		return rest("the request has failed; the store is busy")
	}
	return act("the switchover failed: "+v.FailedWhy, ClearFailover{Version: f.Version, Why: v.FailedWhy})
}

// leaderRequestOdd clears a request that does not concern us or names nobody who could lead: also the one that made us leader.
func leaderRequestOdd(now time.Time, v *View) Verdict {
	f := v.Store.Cluster.Failover
	if f == nil || v.Store.Urgent {
		return pass("nobody asked for a switchover")
	}
	text, why := v.oddRequest(now, f)
	switch {
	case why == "":
		return pass("the request makes sense, or its time has not come")
	case !v.free(LaneStore) || v.writeRests(now):
		return rest("%s; the store is busy", text)
	}
	return act(text, ClearFailover{f.Version, why})
}

// oddRequest says why a request is not to be carried out; "": it is, when its time has come.
func (v *View) oddRequest(now time.Time, f *dcs.Failover) (text, why string) {
	switch {
	case f.Candidate == v.Self.Name:
		return "the request is done: we lead", "done"
	case f.Leader != "" && f.Leader != v.Self.Name:
		return "the request names another leader: " + f.Leader, "leader name does not match"
	case !requestDue(now, f):
		return "", ""
	case f.ScheduledAt != nil && now.After(f.ScheduledAt.Add(v.Settings.LoopWait*3/2)):
		return "the time of the scheduled switchover has passed: " + f.ScheduledAt.Format(time.RFC3339), "its time has passed"
	case f.Candidate != "" && findMember(&v.Store.Cluster, f.Candidate) == nil:
		return "the request names an unknown candidate: " + f.Candidate, "candidate does not exist"
	case len(v.candidates(f.Candidate)) == 0:
		return "nobody could take over", "no good candidates"
	}
	return "", ""
}

// requestDue says whether a request is to be carried out now: one that is scheduled is, from its time on.
func requestDue(now time.Time, f *dcs.Failover) bool {
	return f != nil && (f.ScheduledAt == nil || !now.Before(*f.ScheduledAt))
}

// requestAge is how old a candidate's answer may be when the server is stopped for it.
const requestAge = time.Second

// leaderRequestPoll asks the candidates before anything is stopped for them.
func leaderRequestPoll(now time.Time, v *View) Verdict {
	f := v.Store.Cluster.Failover
	if !requestDue(now, f) || v.Store.Urgent {
		return pass("no switchover is to be done")
	}
	var ask []Action
	waiting := ""
	for _, m := range v.candidates(f.Candidate) {
		p := v.Peers[m.Name]
		switch {
		case p.Asking != 0:
			waiting = m.Name
		case now.Sub(p.At) >= requestAge || p.At.IsZero(), p.AskedAt.Before(v.RequestSeen) && v.unfit(now, f, m.Name) != "":
			ask = append(ask, PollPeer{m}) // what it said before the request, as in the race that made us leader, does not refuse it
		}
	}
	switch {
	case len(ask) > 0:
		return act("a switchover is asked for: asking the candidates", ask...)
	case waiting != "":
		if good, _ := v.goodCandidate(now, f); good == "" {
			return rest("a switchover is asked for: waiting for %s to answer", waiting)
		}
	}
	return pass("the candidates have answered")
}

// goodCandidate is a candidate that answered as a standby on our timeline and is not too far behind; "": none is, and why.
func (v *View) goodCandidate(now time.Time, f *dcs.Failover) (name, why string) {
	var all []string
	for _, m := range v.candidates(f.Candidate) {
		bad := v.unfit(now, f, m.Name)
		if bad == "" {
			return m.Name, ""
		}
		all = append(all, m.Name+" "+bad)
	}
	return "", strings.Join(all, ", ")
}

// unfit says why a member cannot take over now; "": it can.
func (v *View) unfit(now time.Time, f *dcs.Failover, name string) string {
	self, _ := v.Local.position()
	p := v.Peers[name]
	lag := int64(self.LSN) - int64(p.Answer.Position.LSN)
	switch {
	case !p.Answer.Reachable:
		return "does not answer: " + p.Answer.Problem
	case now.Sub(p.At) >= requestAge:
		return "has not answered lately"
	case !p.Answer.InRecovery:
		return "is no standby"
	case p.Answer.WatchdogFailed:
		return "has no watchdog, which is required"
	case !sameTimeline(p.Answer.Position.Timeline, self.Timeline):
		return fmt.Sprintf("is on timeline %d, not on %d", p.Answer.Position.Timeline, self.Timeline)
	case lag > v.Settings.MaximumLagOnFailover && f.Leader != "":
		return fmt.Sprintf("is %d bytes behind", lag)
	}
	return ""
}

// sameTimeline says whether a standby on timeline a may be receiving the log of a primary on timeline b. One on another branch may well
// have a longer log, and never gets the rows of this one. Zero is unknown.
func sameTimeline(a, b postgres.Timeline) bool { return a == b || a == 0 || b == 0 }

// leaderRequest stops the server to hand over, if a candidate answered well; else the request is cleared.
func leaderRequest(now time.Time, v *View) Verdict {
	f := v.Store.Cluster.Failover
	if !requestDue(now, f) || v.Store.Urgent || !v.primary() {
		return pass("no switchover is to be done")
	}
	good, why := v.goodCandidate(now, f)
	switch {
	case good != "":
		return act("switchover: demote, to hand over to "+good,
			RunTask{Task: postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast, Checkpoint: true}, Why: WhySwitchover})
	case !v.free(LaneStore) || v.writeRests(now):
		return rest("no candidate answers well; the store is busy")
	}
	return act("no good candidate answers: the request is cleared: "+why, ClearFailover{f.Version, "no good candidates: " + why})
}

// leaderSystemID writes /initialize where it is missing, before anybody can write here: else an empty node could found another cluster.
func leaderSystemID(now time.Time, v *View) Verdict {
	switch {
	case v.systemID() != "" || v.localSystemID() == "":
		return pass("/initialize has the system identifier")
	case !v.free(LaneStore) || v.Store.Urgent || v.writeRests(now):
		return rest("/initialize lacks the system identifier; the store is busy")
	}
	return act("/initialize lacks the system identifier", WriteInitialize{v.Store.Cluster.Initialize, v.localSystemID()})
}

// leaderConfig writes the dynamic configuration where it is missing: what bootstrap.dcs says for a new cluster, else what was in force.
func leaderConfig(now time.Time, v *View) Verdict {
	if v.Store.Cluster.Config != nil || v.ConfigRaw == nil || !v.free(LaneStore) || v.Store.Urgent || v.writeRests(now) {
		return pass("/config is there, or not now")
	}
	return act("/config is missing", WriteConfig{0, v.ConfigRaw})
}

// leaderHistory publishes the list of timeline switches after a promotion.
func leaderHistory(now time.Time, v *View) Verdict {
	c := v.Local.Obs.Control
	if !v.primary() || c == nil || v.checkpointDue() || !v.free(LaneStore) || v.Store.Urgent || v.writeRests(now) {
		return pass("not now")
	}
	h := v.history(now)
	if slices.Equal(h, v.Store.Cluster.History) {
		return pass("/history is as it should be")
	}
	return act("/history lacks the newest timeline", WriteHistory{v.Lease.Leader, h})
}

// history is what /history should hold: our timeline's switches, with what is known of them.
func (v *View) history(now time.Time) dcs.History {
	var h dcs.History
	old := map[[2]uint64]dcs.HistoryLine{}
	for _, l := range v.Store.Cluster.History {
		old[[2]uint64{uint64(l.Timeline), l.LSN}] = l
	}
	for i, s := range v.Local.Obs.History {
		l := dcs.HistoryLine{Timeline: uint32(s.Parent), LSN: uint64(s.LSN), Reason: s.Reason}
		if o, ok := old[[2]uint64{uint64(l.Timeline), l.LSN}]; ok {
			l.Timestamp, l.Leader = o.Timestamp, o.Leader
		}
		if l.Leader == "" && i == len(v.Local.Obs.History)-1 {
			l.Timestamp, l.Leader = now.UTC().Format("2006-01-02T15:04:05.000000+00:00"), v.Self.Name
		}
		h = append(h, l)
	}
	if n := v.Settings.MaxTimelinesHistory; n > 0 && len(h) > n {
		h = h[len(h)-n:]
	}
	return h
}

// leaderCheckpoint runs a checkpoint after a promotion, so that pg_control shows the new timeline; those who have to rewind wait for it.
func leaderCheckpoint(now time.Time, v *View) Verdict {
	l := v.LastTask
	switch {
	case !v.checkpointDue():
		return pass("the control file shows our timeline")
	case l != nil && l.Task.Kind == postgres.TaskCheckpoint && now.Before(l.At.Add(time.Second)):
		return pass("a checkpoint was made a moment ago")
	}
	return act("checkpoint after promotion", RunTask{Task: postgres.Task{Kind: postgres.TaskCheckpoint}})
}
