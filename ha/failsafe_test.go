package ha_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/hatest"
)

// viewOf reads a view.
func viewOf(t *testing.T, text string) (time.Time, ha.View) {
	t.Helper()
	s, err := hatest.ParseSituation(text)
	if err != nil {
		t.Fatal(err)
	}
	return s.Now, s.View
}

const askedByA = `
	me a
	local primary lsn 0/100
	lease held sent -14s renew-failed -0.05s
	fence armed
	failsafe on key a,b,c asking
	store problem timeout
	`

// Authority by failsafe needs every member, is dated from before the first question, and lasts as long as the shortest promise.
func TestFailsafeRound(t *testing.T) {
	yes := func(name string, promise time.Duration) ha.FailsafeAnswer {
		return ha.FailsafeAnswer{Name: name, Accepted: true, Promise: promise}
	}
	no := ha.FailsafeAnswer{Name: "c", Problem: "connection refused"}
	const ttl, sent = 30 * time.Second, -500 * time.Millisecond
	for name, tc := range map[string]struct {
		text    string
		answers []ha.FailsafeAnswer
		want    time.Duration // end of the authority, from the question; 0: the old one stays
	}{
		"all":                     {askedByA, []ha.FailsafeAnswer{yes("b", ttl), yes("c", ttl)}, ttl},
		"members of Patroni":      {askedByA, []ha.FailsafeAnswer{yes("b", 0), yes("c", 0)}, ttl},
		"the shortest promise":    {askedByA, []ha.FailsafeAnswer{yes("b", ttl), yes("c", 20*time.Second)}, 20 * time.Second},
		"too short to be of use":  {askedByA, []ha.FailsafeAnswer{yes("b", ttl), yes("c", 5*time.Second)}, 0},
		"one refuses":             {askedByA, []ha.FailsafeAnswer{yes("b", ttl), no}, 0},
		"one was not asked":       {askedByA, []ha.FailsafeAnswer{yes("b", ttl)}, 0},
		"one may have been added": {askedByA + "failsafe doubt d", []ha.FailsafeAnswer{yes("b", ttl), yes("c", ttl)}, 0},
		"too late": {askedByA + "lease held sent -25.7s renew-failed -0.05s\nstore problem timeout",
			[]ha.FailsafeAnswer{yes("b", ttl), yes("c", ttl)}, 0},
		"the store has answered": {strings.Replace(askedByA, "renew-failed -0.05s", "", 1), []ha.FailsafeAnswer{yes("b", ttl), yes("c", ttl)}, 0},
		"the store has said no":  {askedByA + "lease lost cause x", []ha.FailsafeAnswer{yes("b", ttl), yes("c", ttl)}, 0},
		"another store answers":  {askedByA + "changed -1s", []ha.FailsafeAnswer{yes("b", ttl), yes("c", ttl)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			now, v := viewOf(t, tc.text)
			old := v.Lease.Auth
			v = ha.Fold(now, v, ha.FailsafeAnswered{ID: v.Lanes[ha.LaneFailsafe].ID, Sent: now.Add(sent), Answers: tc.answers})
			want := old
			if tc.want != 0 {
				want = ha.Authority{Sent: now.Add(sent), TTL: tc.want, ByFailsafe: true}
			}
			if v.Lease.Auth != want {
				t.Errorf("authority %+v, want %+v", v.Lease.Auth, want)
			}
		})
	}
}

// A changed ttl counts at its smaller value for W: a member may not know the larger one yet.
func TestFailsafeSmallestTTL(t *testing.T) {
	now, v := viewOf(t, askedByA)
	s := v.Settings
	s.TTL = 60 * time.Second
	v = ha.Fold(now.Add(-10*time.Second), v, ha.SettingsChanged{Settings: s})
	v = ha.Fold(now, v, ha.FailsafeAnswered{ID: v.Lanes[ha.LaneFailsafe].ID, Sent: now, Answers: []ha.FailsafeAnswer{
		{Name: "b", Accepted: true}, {Name: "c", Accepted: true}}})
	if got := v.Lease.Auth.TTL; got != 30*time.Second || !v.Lease.Auth.ByFailsafe {
		t.Errorf("counted with %v", v.Lease.Auth)
	}
}

// A key that is gone is no news only if its session is over by our own clock, every member has accepted us since, and the store still has the
// /failsafe that was asked by. Then it is to be acquired again; anything else demotes at once.
func TestFailsafeKeyGone(t *testing.T) {
	const accepted = askedByA + "lease held by-failsafe -2s renew-failed -0.05s\nstore problem timeout\n"
	lost := &ha.Fault{Kind: ha.FaultSessionLost, Text: "session lost"}
	for name, tc := range map[string]struct {
		text string
		kept time.Duration // the session's last keepalive
		e    func(v *ha.View) ha.Event
		want ha.LeaseState
	}{
		"expired":           {accepted, -31 * time.Second, nil, ha.LeasePromised},
		"ended early":       {accepted, -20 * time.Second, nil, ha.LeaseLost},
		"not by failsafe":   {askedByA, -31 * time.Second, nil, ha.LeaseLost},
		"over":              {accepted + "lease held by-failsafe -26s renew-failed -0.05s", -50 * time.Second, nil, ha.LeaseLost},
		"the server is off": {strings.Replace(accepted, "local primary lsn 0/100", "local down", 1), -31 * time.Second, nil, ha.LeaseLost},
		"another's": {accepted, -31 * time.Second, func(v *ha.View) ha.Event {
			return ha.Renewed{Fault: &ha.Fault{Kind: ha.FaultConflict, Text: "another holds it"}}
		}, ha.LeaseLost},
	} {
		t.Run(name, func(t *testing.T) {
			now, v := viewOf(t, tc.text)
			v.Session.Kept = now.Add(tc.kept)
			v.Lanes[ha.LaneStore] = ha.Flight{}
			e := ha.Event(ha.Renewed{Fault: lost})
			if tc.e != nil {
				e = tc.e(&v)
			}
			if v = ha.Fold(now, v, e); v.Lease.State != tc.want {
				t.Errorf("the lease is %q, want %q", v.Lease.State, tc.want)
			}
		})
	}
}

// What a read shows under promises.
func TestFailsafeReadUnderPromises(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *dcs.Cluster)
		want   ha.LeaseState
	}{
		"vacant":              {func(*dcs.Cluster) {}, ha.LeasePromised},
		"another leads":       {func(c *dcs.Cluster) { c.Leader = &dcs.Leader{Name: "b", Meta: dcs.Meta{Session: "x"}} }, ha.LeaseLost},
		"our acquire arrived": {func(c *dcs.Cluster) { c.Leader = &dcs.Leader{Name: "a", Meta: dcs.Meta{Created: 200, Session: "s1"}} }, ha.LeaseHeld},
		"/failsafe is gone":   {func(c *dcs.Cluster) { c.Failsafe = nil }, ha.LeaseLost},
		"somebody came in":    {func(c *dcs.Cluster) { c.Failsafe = map[string]string{"a": "", "b": "", "c": "", "d": ""} }, ha.LeaseLost},
		"we are out":          {func(c *dcs.Cluster) { c.Failsafe = map[string]string{"b": "", "c": ""} }, ha.LeaseLost},
	} {
		t.Run(name, func(t *testing.T) {
			now, v := viewOf(t, "me a\nlocal primary lsn 0/100\nlease promised\nvacant since -0.1s last a\nfence armed\nfailsafe on key a,b,c")
			c := v.Store.Cluster
			c.Version++
			tc.change(&c)
			if v = ha.Fold(now, v, ha.Loaded{Sent: now, Cluster: c}); v.Lease.State != tc.want {
				t.Errorf("the lease is %q, want %q", v.Lease.State, tc.want)
			}
		})
	}
}

// A /failsafe of unknown fate counts with all of its members until it can arrive no more.
func TestFailsafeWriteOfUnknownFate(t *testing.T) {
	now, v := viewOf(t, "me a\nlocal primary lsn 0/100\nlease held\nfence armed\nfailsafe on key a,b\nmember b replica running\nmember c replica running")
	begin := ha.RenewKey{Request: dcs.Renew{Failsafe: map[string]string{"a": "", "b": "", "c": "http://c:8008/patroni"}}}
	v = ha.Fold(now, v, ha.Begun{ID: 1, Sent: now, Action: begin})
	v = ha.Fold(now, v, ha.Renewed{ID: 1, Sent: now, Fault: &ha.Fault{Kind: ha.FaultUnknown, Text: "timeout"}})
	if _, ok := v.Failsafe.Doubt["c"]; !ok {
		t.Fatalf("the write is forgotten: %+v", v.Failsafe)
	}
	soon, late := now.Add(time.Second), now.Add(31*time.Second)
	if v = ha.Fold(soon, v, ha.Loaded{Sent: soon, Cluster: v.Store.Cluster}); v.Failsafe.Doubt == nil {
		t.Error("the doubt ended although the write may still arrive")
	}
	if v = ha.Fold(late, v, ha.Loaded{Sent: late, Cluster: v.Store.Cluster}); v.Failsafe.Doubt != nil {
		t.Error("the doubt does not end")
	}
}
