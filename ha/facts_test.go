package ha

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// A switchover that checkpoints first serves clients until the server is told to stop: health checks must not send them away for minutes.
func TestAcceptingDuringAStop(t *testing.T) {
	v := &View{Local: LocalView{Known: true, Obs: postgres.Observation{
		Postmaster: &postgres.Postmaster{PID: 1}, Accepting: postgres.AcceptingYes, SQL: &postgres.SQLFacts{},
	}}}
	for _, tc := range []struct {
		name  string
		task  postgres.Task
		phase postgres.PhaseName
		want  bool
	}{
		{"checkpoint", postgres.Task{Kind: postgres.TaskStop, Checkpoint: true}, "", true},
		{"told to stop", postgres.Task{Kind: postgres.TaskStop, Checkpoint: true}, postgres.PhaseSignalled, false},
		{"demotion", postgres.Task{Kind: postgres.TaskStop}, "", false},
		{"promotion", postgres.Task{Kind: postgres.TaskPromote}, "", false},
	} {
		v.Task = &TaskView{Task: tc.task, Phase: tc.phase}
		if got := v.accepting(); got != tc.want {
			t.Errorf("%s: accepting %v, want %v", tc.name, got, tc.want)
		}
	}
}

// A renewal gets a third of what is left of the authority. Once that is over, it may take as long as a store needs by nature: on ZooKeeper more than
// a tick. (A cluster there did not come back after its ensemble had been without a majority, because each renewal was given up after 0.2 s.)
func TestRenewalAfterTheAuthority(t *testing.T) {
	sent := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v := &View{Settings: DefaultSettings(), Lease: Lease{State: LeaseHeld, Auth: Authority{Sent: sent, TTL: 30 * time.Second}}}
	rule := v.budget().Rule
	for _, tc := range []struct{ after, want time.Duration }{
		{-12 * time.Second, 4 * time.Second},
		{-3 * time.Second, time.Second},
		{-300 * time.Millisecond, 200 * time.Millisecond},
		{0, 200 * time.Millisecond},
		{2500 * time.Millisecond, 2500 * time.Millisecond},
		{time.Hour, 3 * time.Second},
	} {
		now := rule.Add(tc.after)
		if got := v.deadline(now, RenewKey{}).Sub(now); got != tc.want {
			t.Errorf("%v after the rules' time a renewal gets %v, want %v", tc.after, got, tc.want)
		}
	}
}

// TestRenewalThatTakesTime: where a renewal takes two seconds by nature, it is given them, and a quarter more, while there is so much left; other
// requests are not. Two such renewals fit into the authority, also when it is no longer than five of them (safety 2.4).
func TestRenewalThatTakesTime(t *testing.T) {
	sent := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v := &View{Settings: DefaultSettings(), Session: SessionView{Pace: dcs.Pace{Takes: 2 * time.Second}},
		Lease: Lease{State: LeaseHeld, Auth: Authority{Sent: sent, TTL: 30 * time.Second}}}
	rule := v.budget().Rule
	for _, tc := range []struct {
		after  time.Duration
		action Action
		want   time.Duration
	}{
		{-12 * time.Second, RenewKey{}, 4 * time.Second},
		{-3 * time.Second, RenewKey{}, 2500 * time.Millisecond},
		{-3 * time.Second, AcquireKey{}, 2500 * time.Millisecond},
		{-3 * time.Second, LoadCluster{}, time.Second},
		{-1800 * time.Millisecond, RenewKey{}, 1800 * time.Millisecond},
		{0, RenewKey{}, 2500 * time.Millisecond},
		{time.Hour, RenewKey{}, 3 * time.Second},
	} {
		now := rule.Add(tc.after)
		if got := v.deadline(now, tc.action).Sub(now); got != tc.want {
			t.Errorf("%v after the rules' time %s gets %v, want %v", tc.after, tc.action.Name(), got, tc.want)
		}
	}
	v.Settings.RetryTimeout = time.Second
	if now := rule.Add(-time.Minute); v.deadline(now, RenewKey{}).Sub(now) != 2500*time.Millisecond {
		t.Errorf("a short retry_timeout leaves a renewal %v", v.deadline(now, RenewKey{}).Sub(now))
	}
	v.Lease.Auth.TTL = 10 * time.Second
	b := v.budget()
	if room := b.Rule.Sub(sent.Add(b.Period)); room < 2*2500*time.Millisecond {
		t.Errorf("behind a period of %v there is room for %v, which is less than two renewals", b.Period, room)
	}
}

// TestRenewalAsOftenAsTheStoreAsks: the period of renewals is no longer than what the store asks for (safety 2.3).
func TestRenewalAsOftenAsTheStoreAsks(t *testing.T) {
	v := &View{Settings: DefaultSettings(), Session: SessionView{Pace: dcs.Pace{Every: 3750 * time.Millisecond}},
		Lease: Lease{State: LeaseHeld, Auth: Authority{TTL: 15 * time.Second}}}
	if got := v.budget().Period; got != 3750*time.Millisecond {
		t.Errorf("renewed every %v", got)
	}
	v.Settings.LoopWait = 2 * time.Second
	if got := v.budget().Period; got != 2*time.Second {
		t.Errorf("renewed every %v with a loop_wait of 2 s", got)
	}
}

// Nobody leads before a gap, and nobody behind it: if somebody has led meanwhile, that is another vacancy, and what was heard in the first is not
// evidence for the second. (Simulator seed 2146: a member that had answered as a standby led by failsafe mode behind the gap.)
func TestVacancyBehindALeaderWhoWasMissed(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := began.Add(time.Minute)
	before := dcs.Cluster{Version: 8, Reserved: dcs.Reserved{Version: 5, Timeline: 6}, HistoryVersion: 4, FailsafeVersion: 3,
		Failsafe: map[string]string{"a": "http://a:8008/patroni"}}
	for name, tc := range map[string]struct {
		change func(*dcs.Cluster)
		missed bool
	}{
		"nobody led":                     {func(*dcs.Cluster) {}, false},
		"a timeline was reserved":        {func(c *dcs.Cluster) { c.Reserved.Version = 9 }, true},
		"a history was written":          {func(c *dcs.Cluster) { c.HistoryVersion = 9 }, true},
		"other members were to be asked": {func(c *dcs.Cluster) { c.FailsafeVersion = 9 }, true},
	} {
		v := View{Self: Self{Name: "c"}, Settings: DefaultSettings(), Store: StoreView{Known: true, Cluster: before, At: began},
			Vacancy: Vacancy{Since: began, LastName: "b", LastSeen: began},
			Peers:   map[string]PeerView{"a": {AskedAt: began, At: began, Answer: PeerAnswer{Name: "a", Reachable: true, InRecovery: true}}}}
		after := before
		after.Version = 10
		tc.change(&after)
		v = Fold(now, v, Loaded{Sent: now, Cluster: after})
		if tc.missed != v.Vacancy.Since.Equal(now) {
			t.Errorf("%s: the vacancy began at %v", name, v.Vacancy.Since)
		}
		if _, missing, _ := v.askFailsafeMembers(now, v.Vacancy.Since); tc.missed != (missing == "a") {
			t.Errorf("%s: still to be heard: %q", name, missing)
		}
	}
}

// A leader that says that it was stopped in order has ended, whatever its member key says when its agent starts again; the next leader's end is
// another matter. (Simulator, profile planned, seed 100.)
func TestLeaderThatEndedIsWaitedFor(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v := View{Self: Self{Name: "a"}, Settings: DefaultSettings()}
	read := func(leader string, role dcs.Role, state dcs.State) {
		c := dcs.Cluster{Members: []dcs.Member{{Name: "b", Data: dcs.MemberData{Role: role, State: state}}}}
		if leader != "" {
			c.Leader = &dcs.Leader{Name: leader}
		}
		now = now.Add(time.Second)
		v = Fold(now, v, Loaded{Sent: now, Cluster: c})
	}
	for _, step := range []struct {
		leader string
		role   dcs.Role
		state  dcs.State
		ended  bool
	}{
		{"b", dcs.RolePrimary, dcs.StateRunning, false},
		{"", dcs.RoleDemoted, dcs.StateCrashed, false},
		{"", dcs.RoleDemoted, dcs.StateStopped, true},
		{"", dcs.RoleReplica, dcs.StateStarting, true},
		{"b", dcs.RolePrimary, dcs.StateRunning, false},
		{"", dcs.RolePrimary, dcs.StateRunning, false},
	} {
		read(step.leader, step.role, step.state)
		if v.Vacancy.Ended != step.ended {
			t.Errorf("%+v: ended: %v", step, v.Vacancy.Ended)
		}
	}
}

// A keepalive alone is no proof: a leader of the store that was deposed may have answered it. A leader key that a read shows as ours gives
// authority from the session's opening, or its last confirmation (safety 1.4, 2.1).
func TestReadDatesAuthorityFromAProof(t *testing.T) {
	opened := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	v := View{Self: Self{Name: "a"}, Settings: DefaultSettings()}
	at := func(d time.Duration) time.Time { return opened.Add(d) }
	kept := func(d time.Duration) {
		v = Fold(at(d), v, SessionKept{Sent: at(d), Alive: dcs.Alive{Session: "s1", TTL: 30 * time.Second}})
	}
	mine := dcs.Cluster{Leader: &dcs.Leader{Name: "a", Meta: dcs.Meta{Session: "s1", Created: 7}}}
	kept(0)
	kept(10 * time.Second)
	v = Fold(at(11*time.Second), v, Loaded{Sent: at(11 * time.Second), Cluster: mine})
	if !v.holds() || !v.Lease.Unconfirmed || !v.Lease.Auth.Sent.Equal(opened) {
		t.Errorf("dated from %v, not from the opening of the session: %+v", v.Lease.Auth.Sent, v.Lease)
	}
	v = Fold(at(13*time.Second), v, Renewed{Sent: at(12 * time.Second), Held: dcs.Held{Leader: mine.Leader.Meta, TTL: 30 * time.Second}})
	kept(20 * time.Second)
	if got := v.proven().Sent; !got.Equal(at(12 * time.Second)) {
		t.Errorf("the session is proven as of %v, not as of the confirmation", got)
	}
}

// An answer that rests on a look from before it was asked says nothing about the present: it is asked again once, and then there is no better one
// (safety 3.2).
func TestOldAnswerIsAskedAgainOnce(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := dcs.Member{Name: "b", Data: dcs.MemberData{APIURL: "http://b:8008/patroni"}}
	v := View{Self: Self{Name: "a"}, Settings: DefaultSettings(), Vacancy: Vacancy{Since: now},
		Store: StoreView{Known: true, Cluster: dcs.Cluster{Members: []dcs.Member{m}}}}
	answer := func(age time.Duration) race {
		v = Fold(now.Add(time.Second), v, PeerAnswered{Sent: now.Add(400 * time.Millisecond), Answer: PeerAnswer{Name: "b", Reachable: true, InRecovery: true,
			Position: postgres.Position{LSN: 9}, Age: age}})
		return v.race(now.Add(time.Second), now, postgres.Position{LSN: 5})
	}
	if r := answer(2 * time.Second); len(r.ask) != 1 || r.ahead != "" {
		t.Errorf("an old answer counted: %+v", r)
	}
	if r := answer(3 * time.Second); len(r.ask) != 0 || r.ahead != "b" {
		t.Errorf("it was asked for ever: %+v", r)
	}
	if r := answer(200 * time.Millisecond); len(r.ask) != 0 || r.ahead != "b" || v.Peers["b"].Old {
		t.Errorf("a young answer did not count: %+v", r)
	}
}
