package ha

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// handoverRules carry a planned stop to its end: the key is released as soon as the log has ended here and a standby has all of it, with
// no pause in between (safety section 7).
var handoverRules = []Rule{
	{"handover.stop-failed", handoverStopFailed},
	{"handover.released", handoverReleased},
	{"handover.stopping", handoverStopping},
	{"handover.release", handoverRelease},
	{"handover.await", handoverAwait},
	{"handover.give-up", handoverGiveUp},
	{"handover.release-short", handoverReleaseShort},
	{"handover.waiting", handoverWaiting},
}

// handoverStopFailed forgets a hand-over whose server did not stop: the key is never released over a server that runs (safety 7.4).
func handoverStopFailed(now time.Time, v *View) Verdict {
	l := v.LastTask
	if v.Task != nil || v.Handover.Released || l == nil || l.Task.Kind != postgres.TaskStop || l.Fault == nil || !v.running() {
		return pass("the server stops, or has stopped")
	}
	return act("the server did not stop: the hand-over is given up", EndHandover{Why: "the server did not stop: " + l.Fault.Text})
}

// handoverReleased ends the hand-over when the server is down and the key is released.
func handoverReleased(now time.Time, v *View) Verdict {
	switch {
	case !v.Handover.Released:
		return pass("the leader key is not released yet")
	case v.Task != nil:
		return rest("the leader key is released, the server still sends the end of its log")
	}
	return act("the hand-over is done here", EndHandover{})
}

// handoverStopping waits until the control file says "shut down".
func handoverStopping(now time.Time, v *View) Verdict {
	if v.Handover.End != 0 {
		return pass("the log has ended here")
	}
	if v.Task != nil {
		return rest("stopping the server to hand over")
	}
	return act("the server did not end in order", EndHandover{Why: "the server did not end in order"})
}

// handoverRelease gives the key to a standby that has all of our log.
func handoverRelease(now time.Time, v *View) Verdict {
	switch {
	case v.Handover.Reached == "":
		return pass("no standby has told that it has everything")
	case v.Lease.State != LeaseHeld:
		return pass("we do not hold the leader key")
	case !v.free(LaneStore):
		return rest("%s has everything; the store is busy", v.Handover.Reached)
	}
	return act(v.Handover.Reached+" has everything: the leader key is released", v.release(dcs.StateStopping))
}

// handoverAwait asks the candidates to answer as soon as they have all of our log.
func handoverAwait(now time.Time, v *View) Verdict {
	h := v.Handover
	if v.Lease.State != LeaseHeld || h.Reached != "" {
		return pass("nobody has to be asked")
	}
	var ask []Action
	for _, m := range v.candidates(h.Candidate) {
		p := v.Peers[m.Name]
		if p.Asking == 0 && (p.AskedAt.Before(h.EndAt) || now.Sub(p.At) >= retry) && now.Before(v.handoverEnd()) {
			ask = append(ask, AwaitPeer{Member: m, LSN: h.End})
		}
	}
	if len(ask) == 0 {
		return pass("every candidate is being asked")
	}
	return act("who has all of our log?", ask...)
}

// handoverGiveUp starts the server again as primary when no standby received the end of the log in time: a planned act loses no rows.
func handoverGiveUp(now time.Time, v *View) Verdict {
	h := v.Handover
	switch {
	case h.Why != WhySwitchover || v.Lease.State != LeaseHeld:
		return pass("it is no switchover")
	case v.candidatesLeft(h.Candidate) && now.Before(v.handoverEnd()):
		return pass("there is time left")
	case v.Task != nil:
		return rest("no standby has everything; waiting for the server to end before it is started again")
	}
	return act("no standby has everything: the switchover is given up, the server starts again here",
		EndHandover{Why: "the candidate lacks " + missing(h) + " of the log"})
}

// handoverReleaseShort releases the key at the end of the agent although no standby has everything: the server is down, and a cluster
// without a leader helps nobody. What is missing is in the log line; the others wait for this node for a while (vacant.left-behind).
func handoverReleaseShort(now time.Time, v *View) Verdict {
	h := v.Handover
	switch {
	case h.Why != WhyShutdown || v.Lease.State != LeaseHeld:
		return pass("the agent does not end")
	case v.candidatesLeft("") && now.Before(v.handoverEnd()):
		return pass("there is time left")
	case v.Task != nil:
		return rest("no standby has everything; waiting for the server to end")
	case !v.free(LaneStore):
		return rest("no standby has everything; the store is busy")
	}
	return act("no standby has everything, "+missing(h)+" are missing: the leader key is released all the same, as the agent ends", v.release(dcs.StateStopped))
}

// handoverWaiting waits for a standby to have all of our log.
func handoverWaiting(now time.Time, v *View) Verdict {
	h := v.Handover
	if v.Lease.State == LeaseNone || v.Lease.State == LeaseLost {
		return act("the leader key is gone", EndHandover{})
	}
	end := v.handoverEnd()
	if v.Lease.State == LeaseDoubt {
		return v.wasReleased(now, end)
	}
	next := end
	for _, m := range v.candidates(h.Candidate) {
		next = earliest(next, v.Peers[m.Name].At.Add(retry))
	}
	if !next.After(now) {
		next = now.Add(retry)
	}
	return wait(next, "waiting for a standby to receive the log up to %s", h.End).until(end)
}

// wasReleased finds out whether a release of unknown fate took place, and gives up the hand-over if the store does not say so by its end.
func (v *View) wasReleased(now, end time.Time) Verdict {
	switch {
	case v.Store.Problem == "" && v.free(LaneStore):
		return act("was the leader key released?", LoadCluster{})
	case v.Store.Problem == "":
		return rest("whether the leader key was released is being read")
	case now.Before(end):
		return wait(end, "whether the leader key was released is unknown, and DCS is not accessible: %s", v.Store.Problem).until(end)
	}
	return act("whether the leader key was released is unknown, and DCS is not accessible: the hand-over is given up",
		EndHandover{Why: "DCS is not accessible: " + v.Store.Problem})
}

// missing says how many bytes the best answer was short of.
func missing(h *Handover) string {
	if h.Best == 0 {
		return "an unknown part"
	}
	return fmt.Sprintf("%d bytes", h.End-min(h.Best, h.End))
}

// handoverEnd is until when a standby may take to receive the end of the log (safety 7.3).
func (v *View) handoverEnd() time.Time { return v.Handover.EndAt.Add(v.Settings.HandoverTimeout) }

// candidates lists the members that a planned hand-over may go to.
func (v *View) candidates(named string) []dcs.Member {
	var c []dcs.Member
	for _, m := range v.Store.Cluster.Members {
		if m.Name == v.Self.Name || m.Data.APIURL == "" || noFailover(&m) || (named != "" && m.Name != named) {
			continue
		}
		if m.Data.State == dcs.StateRunning || m.Data.State == "streaming" {
			c = append(c, m)
		}
	}
	return c
}

// candidatesLeft says whether any candidate may still answer.
func (v *View) candidatesLeft(named string) bool { return len(v.candidates(named)) > 0 }
