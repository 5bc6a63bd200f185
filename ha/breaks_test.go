package ha_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/hatest"
	"github.com/tanist-ha/tanist/postgres"
)

// situation reads one, and lets change add what its words do not say.
func situation(t *testing.T, text string, change func(now time.Time, v *ha.View)) *hatest.Situation {
	t.Helper()
	s, err := hatest.ParseSituation(text)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s.Now, &s.View)
	}
	return s
}

// decides fails unless the decision, as people see it, begins with want.
func decides(t *testing.T, s *hatest.Situation, want string) {
	t.Helper()
	if got := hatest.FormatDecision(s.Now, ha.Decide(s.Now, &s.View)); !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s…", got, want)
	}
}

// What an operator asks for at a set time happens then: not before, not long after, and with the same care.
func TestScheduledSwitchover(t *testing.T) {
	const leading = `
me a
local primary
lease held
fence armed
member b replica running
peer b standby asked -0.1s
failover leader a candidate b scheduled`
	at := func(d time.Duration) func(time.Time, *ha.View) {
		return func(now time.Time, v *ha.View) {
			t := now.Add(d)
			v.Store.Cluster.Failover.ScheduledAt = &t
		}
	}
	decides(t, situation(t, leading, at(5*time.Second)), "leader.idle: no action. I am (a), the leader with the lock\n  next +5.00s")
	decides(t, situation(t, leading, at(-time.Second)), "leader.request: switchover: demote, to hand over to b")
	decides(t, situation(t, leading, at(-16*time.Second)), "leader.request-odd: the time of the scheduled switchover has passed")

	const vacant = `
me c
local standby lsn 0/90
vacant since -1s last a
member a demoted stopped
member b replica running
failover leader a candidate b scheduled`
	decides(t, situation(t, vacant, at(time.Hour)), "vacant.poll")
	decides(t, situation(t, vacant, at(-time.Second)), "vacant.candidate-named")
	const handed = `
me b
local standby lsn 0/90
vacant since -1s last a
member a demoted stopping
failover leader a candidate b scheduled`
	decides(t, situation(t, handed, at(-time.Second)), "vacant.handed-to-us: the leader has handed over to us")
	decides(t, situation(t, handed, func(now time.Time, v *ha.View) {
		at(-time.Second)(now, v)
		v.Store.Cluster.Status.Optime = 0x91 // the last leader had more, and gave up the key for another reason
	}), "vacant.poll")
}

// A request that names another leader, or us as the candidate, is never carried out, also while the store is busy.
func TestRequestOfAnotherTerm(t *testing.T) {
	const text = `
me a
local primary
lease held
fence armed
member b replica running
peer b standby asked -0.1s
busy store
failover leader b`
	decides(t, situation(t, text, nil), "leader.request-odd: the request names another leader: b; the store is busy")
}

// A standby on another branch may have the longer log, and never gets ours: nothing is handed over to it.
func TestHandOverToAnotherBranch(t *testing.T) {
	const text = `
me a
local primary tl 2 lsn 0/90
lease held
fence armed
member b replica running
peer b standby tl 1 lsn 0/95 asked -0.1s
failover leader a candidate b`
	decides(t, situation(t, text, nil), "leader.request: no good candidate answers")

	stopping := situation(t, `
me a
local down tl 2 lsn 0/90
lease held
fence armed
member b replica running
handover switchover candidate b end 0/F4 since -0.1s`, func(_ time.Time, v *ha.View) {
		v.Handover.Timeline = 2
		v.Peers = map[string]ha.PeerView{"b": {Asking: 12}}
	})
	answer := ha.PeerAnswered{ID: 12, Sent: stopping.Now, LSN: 0xF4, Answer: ha.PeerAnswer{Name: "b", Reachable: true, InRecovery: true,
		Position: postgres.Position{Timeline: 1, LSN: 0x100}}}
	if v := ha.Fold(stopping.Now, stopping.View, answer); v.Handover.Reached != "" || v.Handover.Best != 0 {
		t.Errorf("a standby on timeline 1 is taken for one that has all of timeline 2: %+v", v.Handover)
	}
	answer.Answer.Position.Timeline = 2
	if v := ha.Fold(stopping.Now, stopping.View, answer); v.Handover.Reached != "b" {
		t.Errorf("b has everything: %+v", v.Handover)
	}
}

// A claim whose answer was lost is found by the session that /initialize lives with: else our own session would keep everybody waiting.
func TestClaimOfUnknownFate(t *testing.T) {
	s := situation(t, "me a can-found\nlocal empty\ninitialize absent\nvacant since -1s\nbusy store", nil)
	c := s.View.Store.Cluster
	c.Initialize = &dcs.Initialize{Entry: dcs.Meta{Version: 7, Created: 7, Session: s.View.Session.ID}}
	s.View = ha.Fold(s.Now, s.View, ha.Loaded{ID: 9, Sent: s.Now, Cluster: c})
	decides(t, s, "found.bootstrap: trying to bootstrap a new cluster")
}

// Garbage in /initialize is no reason to end: the leader writes over it.
func TestGarbageSystemID(t *testing.T) {
	decides(t, situation(t, "me a\nlocal primary\ninitialize garbage\nlease held\nfence armed", nil), "leader.system-id: /initialize lacks the system identifier\n  do write initialize")
}

// A store that takes no writes, as a full etcd does, is not asked for one after the other.
func TestWritesThatAreRefused(t *testing.T) {
	s := situation(t, "me a\nlocal primary tl 2 history 1@0/80\nlease held\nfence armed\nbusy store", nil)
	s.View = ha.Fold(s.Now, s.View, ha.Wrote{ID: 9, What: ha.WriteHistory{}.Name(), Fault: &ha.Fault{Kind: ha.FaultUnavailable, Text: "no space"}})
	s.View.Store.Stale, s.View.Store.Urgent, s.View.Store.Problem = false, false, "" // it was read since
	decides(t, s, "leader.idle")
	s.Now = s.Now.Add(time.Second)
	decides(t, s, "leader.history: /history lacks the newest timeline")
}
