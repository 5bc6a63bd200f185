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
	s := situation(t, "me a can-found\nlocal empty\ninitialize absent\nvacant since -1s\nmember a uninitialized stopped session s1\nbusy store", nil)
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

// A stop for a hand-over makes a checkpoint first, while clients work. When the key is lost meanwhile, another may lead already: the stop
// is cancelled and the server ended in time. What it has signalled it can no longer be kept from; then the server is killed in time.
func TestKeyLostDuringAPlannedStop(t *testing.T) {
	for _, why := range []string{"switchover", "shutdown"} {
		for _, lease := range []string{"lost cause gone", "none", "held sent -26s"} {
			text := "me a\nlocal primary\nlease " + lease + "\nleader b\ntask stop why " + why
			s := situation(t, text, nil)
			d := ha.Decide(s.Now, &s.View)
			if len(d.Do) != 1 || d.Do[0].Name() != (ha.CancelTask{}).Name() {
				t.Errorf("%s, lease %s: the stop may be making its checkpoint, and goes on: %s", why, lease, hatest.FormatDecision(s.Now, d))
			}
		}
		s := situation(t, "me a\nlocal primary\nlease lost cause gone\nleader b\ntask stop why "+why+" phase signalled cancelled -1s", nil)
		if d := ha.Decide(s.Now, &s.View); strings.HasPrefix(string(d.Reason.Rule), "authority") {
			t.Errorf("%s: the server is given no time to end: %s", why, hatest.FormatDecision(s.Now, d))
		}
		// It was killed an hour ago, at another occasion.
		s = situation(t, "me a\nlocal primary\nlease lost cause gone\nleader b\nkilled -1h\ntask stop why "+why+" phase signalled since -4s cancelled -4s", nil)
		decides(t, s, "authority.lost: our authority ends while the server still stops: it is killed")
	}
}

// An acquire confirms its session, also one of which only it tells: authority is dated from the moment before it was sent, as a renewal's
// (safety 1.4).
func TestAcquireUnderAnUnknownSession(t *testing.T) {
	s := situation(t, "me a\nlocal standby\nsession kept -12s\nlease doubt\nbusy store\nvacant since -1s last b", nil)
	e := ha.Acquired{ID: 9, Sent: s.Now.Add(-time.Second), Held: dcs.Held{Leader: dcs.Meta{Version: 9, Created: 9, Session: "s2"}, TTL: 30 * time.Second}}
	v := ha.Fold(s.Now, s.View, e)
	if end := v.Lease.Auth.End(); !end.Equal(s.Now.Add(29 * time.Second)) { // the acquire has prolonged the session
		t.Errorf("authority lasts %s from now", end.Sub(s.Now))
	}
	if v.Session.ID != "s2" {
		t.Errorf("our session is %q now", v.Session.ID)
	}
}

// A renewal of unknown fate may have moved the leader key to a session of another ttl. A read that shows it there is no "no".
func TestMovedKeyIsNoLoss(t *testing.T) {
	s := situation(t, "me a\nlocal primary\nlease held renew-failed -0.05s\nbusy store", nil)
	c := s.View.Store.Cluster
	c.Leader = &dcs.Leader{Name: "a", Meta: dcs.Meta{Version: 11, Created: 10, Session: "s2"}}
	if v := ha.Fold(s.Now, s.View, ha.Loaded{ID: 9, Sent: s.Now, Cluster: c}); v.Lease.State != ha.LeaseHeld {
		t.Errorf("the lease is %s: %s", v.Lease.State, v.Lease.Cause)
	}
	c.Leader = &dcs.Leader{Name: "b", Meta: dcs.Meta{Version: 11, Created: 11, Session: "s3"}}
	if v := ha.Fold(s.Now, s.View, ha.Loaded{ID: 9, Sent: s.Now, Cluster: c}); v.Lease.State != ha.LeaseLost {
		t.Error("b leads, and the key is not lost")
	}
}

// A release of unknown fate may still happen: a read that shows the key does not give it back.
func TestReleaseOfUnknownFate(t *testing.T) {
	s := situation(t, "me a\nlocal standby\nlease held\nmember a replica running session s1", nil)
	s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 9, Sent: s.Now, Action: ha.ReleaseKey{Request: dcs.Release{Member: s.View.Store.Member}}})
	s.View = ha.Fold(s.Now, s.View, ha.Released{ID: 9, Fault: &ha.Fault{Kind: ha.FaultUnknown, Text: "timeout"}})
	s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 10, Sent: s.Now, Action: ha.LoadCluster{}})
	s.View = ha.Fold(s.Now, s.View, ha.Loaded{ID: 10, Sent: s.Now, Cluster: s.View.Store.Cluster})
	decides(t, s, "leader.giving-up: the leader key is given up: the last attempt was not answered")
}

// A primary that was acquired late and promoted is the primary of its lease: after a crash it starts in place.
func TestRestartInPlaceAfterALateAcquire(t *testing.T) {
	s := situation(t, "me a\nlocal standby\nlease held late -20s timeline 2\ntask promote since -1s", nil)
	s.View = ha.Fold(s.Now, s.View, ha.TaskDone{ID: 7})
	if s.View.Lease.Late {
		t.Error("the grounds of an acquire are looked at again after the promotion")
	}
}

// A start that takes longer than primary_start_timeout is given up when somebody else could lead, who is asked then; and counts as failed,
// so that the key goes there instead of to the next attempt.
func TestStartThatTakesTooLong(t *testing.T) {
	const text = "me a\nlocal starting\nlease held\nfence armed\nmember b replica running\ntask start as-primary why crash since -301s\n"
	s := situation(t, text+"peer b standby asked -20s", nil)
	decides(t, s, "task.pointless: the server takes longer to start than primary_start_timeout: who could lead?\n  do poll b")
	s = situation(t, text+"peer b standby asked -0.1s", nil)
	decides(t, s, "task.pointless: the server takes longer to start than primary_start_timeout\n  do cancel task")
	for _, a := range ha.Decide(s.Now, &s.View).Do {
		s.View = ha.Fold(s.Now, s.View, ha.Begun{ID: 20, Sent: s.Now, Action: a})
	}
	s.View = ha.Fold(s.Now, s.View, ha.TaskDone{ID: 7, Fault: &ha.Fault{Kind: ha.FaultOther, Text: "cancelled"}})
	if s.View.Local.StartFailures != 1 {
		t.Error("the start that was given up does not count as failed, and is begun again")
	}
	decides(t, situation(t, strings.Replace(text, "-301s", "-299s", 1)+"peer b standby asked -20s", nil), "task.running")
}

// A copy from a member that is gone for good is not waited for.
func TestSourceOfACloneHasGone(t *testing.T) {
	const text = "me a\nlocal unfinished clone\nleader c\nmember c primary running\ntask clone since -60s"
	from := func(name string) func(time.Time, *ha.View) {
		return func(_ time.Time, v *ha.View) { v.Task.Task.Upstream = &postgres.Upstream{Name: name} }
	}
	decides(t, situation(t, text, from("b")), "task.pointless: the source of the copy has gone: b")
	decides(t, situation(t, text, from("c")), "task.running")
	decides(t, situation(t, strings.Replace(text, "leader c\n", "leader none\n", 1), from("b")), "task.running") // a store that was away
}

// Two silent members whose polls take turns do not keep a race waiting for ever.
func TestSilentMembersTakeTurns(t *testing.T) {
	decides(t, situation(t, `
me a
local standby lsn 0/90
vacant since -60s last x
member b replica running
member c replica running
peer b silent asked -6s at -4s
peer c silent asked -2.1s at -0.1s`, nil), "vacant.acquire")
}

// A shorter ttl waits for the guard: its deadline only ever grows, and under a session of 5 s it would let the server live on for 24 s after
// the key.
func TestShorterTTLWaitsForTheGuard(t *testing.T) {
	s := situation(t, "me a\nlocal primary\nlease held sent -5s", func(now time.Time, v *ha.View) {
		v.Fence = ha.FenceView{Armed: true, Until: now.Add(24600 * time.Millisecond), Order: ha.FenceOrder{Postmaster: v.Local.Obs.Postmaster, At: now, Kill: now.Add(24600 * time.Millisecond)}}
		v.Settings.TTL, v.Settings.LoopWait = 5*time.Second, time.Second
	})
	d := ha.Decide(s.Now, &s.View)
	if len(d.Do) != 1 || d.Do[0].(ha.RenewKey).Request.TTL != 30*time.Second {
		t.Fatalf("the key moves while the guard allows 24.6 s: %s", hatest.FormatDecision(s.Now, d))
	}
	s.View.Lease.Auth.Sent = s.Now // as after that renewal
	if d = ha.Decide(s.Now, &s.View); len(d.Do) != 0 {
		t.Fatalf("the guard is told of more than 5 s: %s", hatest.FormatDecision(s.Now, d))
	}
	s.Now = s.Now.Add(19800 * time.Millisecond)
	s.View.Lease.Auth.Sent = s.Now.Add(-100 * time.Millisecond)
	s.View.Local.Sent = s.Now
	if d = ha.Decide(s.Now, &s.View); len(d.Do) != 1 || d.Do[0].(ha.RenewKey).Request.TTL != 5*time.Second {
		t.Errorf("the key does not move: %s", hatest.FormatDecision(s.Now, d))
	}
}

// An operator who deletes our member key finds it there again.
func TestMemberKeyThatWasDeleted(t *testing.T) {
	s := situation(t, "me a\nlocal primary\nlease held\nfence armed\nbusy store\nleader a session s1", nil)
	c := s.View.Store.Cluster
	c.Members = nil
	s.View = ha.Fold(s.Now, s.View, ha.Loaded{ID: 9, Sent: s.Now, Cluster: c})
	decides(t, s, "pulse.publish: our member key is old")
}

// A request right after a promotion is not refused by what the candidate said in the race: it streamed from the old leader then.
func TestRequestRightAfterPromotion(t *testing.T) {
	const text = `
me a
local primary tl 2 lsn 0/90
lease held
fence armed
leader a session s1
member a primary running session s1
member b replica running
peer b standby tl 1 lsn 0/90 asked -0.5s
busy store`
	s := situation(t, text, nil)
	c := s.View.Store.Cluster
	c.Failover = &dcs.Failover{Leader: "a", Candidate: "b", Version: 60}
	for i := range c.Members {
		c.Members[i].Data.Tanist = "0.1.0"
	}
	s.View = ha.Fold(s.Now, s.View, ha.Loaded{ID: 9, Sent: s.Now, Cluster: c})
	decides(t, s, "leader.request-poll: a switchover is asked for: asking the candidates")
}
