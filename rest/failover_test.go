package rest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/rest/resttest"
)

// good is a peer that could take over.
var good = ha.PeerAnswer{Role: dcs.RoleReplica, State: dcs.StateRunning, InRecovery: true, Position: postgres.Position{Timeline: 4, LSN: 0x6000000}}

// peer returns good after edit.
func peer(edit func(*ha.PeerAnswer)) ha.PeerAnswer { a := good; edit(&a); return a }

// Each check, in the order in which they are made; texts and codes are what tools of Patroni print and test.
func TestHandoverIsRefused(t *testing.T) {
	config := func(raw string) func(*dcs.Cluster) {
		return func(c *dcs.Cluster) { c.Config = &dcs.Config{Version: 90, Raw: []byte(raw)} }
	}
	sync := func(standbys string) func(*dcs.Cluster) {
		return func(c *dcs.Cluster) {
			config(`{"synchronous_mode":true}`)(c)
			c.Sync = &dcs.Sync{Leader: "n1", Standby: standbys}
		}
	}
	all := resttest.Peers{"n1": good, "n2": good, "n3": good}
	for name, tc := range map[string]struct {
		target, body string
		edit         func(*dcs.Cluster)
		peers        resttest.Peers
		code         int
		text         string
	}{
		"failover to nobody":                   {"/failover", `{"leader":"n1"}`, nil, all, 400, "Failover could be performed only to a specific candidate"},
		"switchover from nobody":               {"/switchover", `{"candidate":"n2"}`, nil, all, 400, "Switchover could be performed only from a specific leader"},
		"failover later":                       {"/failover", `{"candidate":"n2","scheduled_at":"2027-01-01T00:00Z"}`, nil, all, 400, "Failover can't be scheduled"},
		"paused, later":                        {"/switchover", `{"leader":"n1","scheduled_at":"2027-01-01T00:00Z"}`, config(`{"pause":true}`), all, 400, "Can't schedule switchover in the paused state"},
		"no time zone":                         {"/switchover", `{"leader":"n1","scheduled_at":"2027-01-01T00:00"}`, nil, all, 400, "Timezone information is mandatory for the scheduled switchover"},
		"in the past":                          {"/switchover", `{"leader":"n1","scheduled_at":"2020-01-01T00:00:00+09:00"}`, nil, all, 422, "Cannot schedule switchover in the past"},
		"no time":                              {"/switchover", `{"leader":"n1","scheduled_at":"tomorrow"}`, nil, all, 422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"},
		"paused, to nobody":                    {"/switchover", `{"leader":"n1"}`, config(`{"pause":true}`), all, 400, "Switchover is possible only to a specific candidate in a paused state"},
		"to itself":                            {"/switchover", `{"leader":"n1","candidate":"n1"}`, nil, all, 400, "Switchover target and source are the same"},
		"wrong leader":                         {"/switchover", `{"leader":"n2"}`, nil, all, 412, "leader name does not match"},
		"failover with leader is a switchover": {"/failover", `{"leader":"n2","candidate":"n3"}`, nil, all, 412, "leader name does not match"},
		"no leader":                            {"/switchover", `{"leader":"n1"}`, func(c *dcs.Cluster) { c.Leader = nil }, all, 412, "leader name does not match"},
		"not a synchronous standby":            {"/switchover", `{"leader":"n1","candidate":"n3"}`, sync("n2"), all, 412, "candidate name does not match with sync_standby"},
		"unknown candidate":                    {"/switchover", `{"leader":"n1","candidate":"n9"}`, nil, all, 412, "candidate does not exists"},
		"unknown member":                       {"/failover", `{"member":"n9"}`, nil, all, 412, "candidate does not exists"},
		"no synchronous standby":               {"/switchover", `{"leader":"n1"}`, sync(""), all, 412, "switchover is not possible: can not find sync_standby"},
		"alone": {"/switchover", `{"leader":"n1"}`, func(c *dcs.Cluster) { c.Members = c.Members[:1] }, all, 412,
			"switchover is not possible: cluster does not have members except leader"},
		"nobody answers":          {"/switchover", `{"leader":"n1"}`, nil, resttest.Peers{}, 412, "switchover is not possible: no good candidates have been found"},
		"tells no position":       {"/failover", `{"candidate":"n2"}`, nil, resttest.Peers{"n2": peer(func(a *ha.PeerAnswer) { a.Position.LSN = 0 })}, 412, "failover is not possible: no good candidates have been found"},
		"nofailover":              {"/failover", `{"candidate":"n2"}`, nil, resttest.Peers{"n2": peer(func(a *ha.PeerAnswer) { a.Tags.NoFailover = true })}, 412, "failover is not possible: no good candidates have been found"},
		"watchdog failed":         {"/failover", `{"candidate":"n2"}`, nil, resttest.Peers{"n2": peer(func(a *ha.PeerAnswer) { a.WatchdogFailed = true })}, 412, "failover is not possible: no good candidates have been found"},
		"the good one is another": {"/switchover", `{"leader":"n1","candidate":"n2"}`, nil, resttest.Peers{"n3": good}, 412, "switchover is not possible: no good candidates have been found"},
	} {
		t.Run(name, func(t *testing.T) {
			st := primary()
			if tc.edit != nil {
				tc.edit(&st.Cluster)
			}
			store := resttest.NewStore(st.Cluster)
			store.Written = func(dcs.Cluster) { t.Error("something was written") }
			cfg := testConfig(resttest.NewNode(now, st), store)
			cfg.Peers = tc.peers
			if w := ask(newHandler(t, cfg), "POST", tc.target, tc.body); w.Code != tc.code || w.Body.String() != tc.text {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.text)
			}
		})
	}
}

// What the cluster does with the request ends it: a changed leader, or a request that is gone.
func TestHandoverEnds(t *testing.T) {
	leads := func(name string) func(*dcs.Cluster) {
		return func(c *dcs.Cluster) { c.Leader, c.Failover = &dcs.Leader{Name: name}, nil }
	}
	for name, tc := range map[string]struct {
		target, body string
		before       func(*dcs.Cluster)
		then         []func(*dcs.Cluster) // what happens in the store after the request was written
		code         int
		text         string
	}{
		"done": {"/switchover", `{"leader":"n1","candidate":"n2"}`, nil,
			[]func(*dcs.Cluster){func(c *dcs.Cluster) { c.Leader = nil }, leads("n2")}, 200, `Successfully switched over to "n2"`},
		"to anybody":          {"/switchover", `{"leader":"n1"}`, nil, []func(*dcs.Cluster){leads("n3")}, 200, `Successfully switched over to "n3"`},
		"another won":         {"/switchover", `{"leader":"n1","candidate":"n2"}`, nil, []func(*dcs.Cluster){leads("n3")}, 200, `Switched over to "n3" instead of "n2"`},
		"refused":             {"/switchover", `{"leader":"n1","candidate":"n2"}`, nil, []func(*dcs.Cluster){leads("n1")}, 503, "Switchover failed"},
		"failover":            {"/failover", `{"candidate":"n2"}`, nil, []func(*dcs.Cluster){leads("n2")}, 200, `Successfully failed over to "n2"`},
		"another failed over": {"/failover", `{"candidate":"n2"}`, nil, []func(*dcs.Cluster){leads("n3")}, 200, `Failed over to "n3" instead of "n2"`},
		"failover of a vacant cluster": {"/failover", `{"candidate":"n2"}`, func(c *dcs.Cluster) { c.Leader = nil },
			[]func(*dcs.Cluster){leads("n2")}, 200, `Successfully failed over to "n2"`},
		"over an older request": {"/failover", `{"candidate":"n2"}`, func(c *dcs.Cluster) { c.Failover = &dcs.Failover{Version: 7, Candidate: "n3"} },
			[]func(*dcs.Cluster){leads("n2")}, 200, `Successfully failed over to "n2"`},
	} {
		t.Run(name, func(t *testing.T) {
			st := primary()
			if tc.before != nil {
				tc.before(&st.Cluster)
			}
			node, store := resttest.NewNode(now, st), resttest.NewStore(st.Cluster)
			wrote := make(chan struct{})
			store.Written = func(dcs.Cluster) { close(wrote) }
			cfg := testConfig(node, store)
			cfg.Peers = resttest.Peers{"n2": good, "n3": good}
			h := newHandler(t, cfg)
			answer := make(chan [2]any, 1)
			go func() {
				w := ask(h, "POST", tc.target, tc.body)
				answer <- [2]any{w.Code, w.Body.String()}
			}()
			<-wrote
			node.Publish(with(st, func(st *ha.Status) { st.Cluster.Version-- })) // a view from before the request ends nothing
			for _, then := range tc.then {
				c := store.Change(then)
				node.Publish(with(st, func(st *ha.Status) { st.Cluster = c }))
			}
			if got := <-answer; got != [2]any{tc.code, tc.text} {
				t.Errorf("%v, want %d %q", got, tc.code, tc.text)
			}
		})
	}
}

// Why the leader has refused is worth more than that it has.
func TestHandoverTellsWhyItFailed(t *testing.T) {
	st := primary()
	node, store := resttest.NewNode(now, st), resttest.NewStore(st.Cluster)
	store.Written = func(dcs.Cluster) {
		node.Explanation.Events = []ha.HistoryItem{
			{At: now.Add(-time.Minute), Rule: "leader.request-odd", Sentence: "an older one"},
			{At: now.Add(time.Second), Rule: "leader.request-failed", Sentence: "the switchover failed: n2 lacks 96 bytes"},
			{At: now.Add(2 * time.Second), Rule: "leader.idle", Sentence: "n1 leads"},
		}
		store.Change(func(c *dcs.Cluster) { c.Failover = nil })
	}
	cfg := testConfig(node, store)
	cfg.Peers = resttest.Peers{"n2": good}
	w := ask(newHandler(t, cfg), "POST", "/switchover", `{"leader":"n1"}`)
	if want := "Switchover failed: the switchover failed: n2 lacks 96 bytes"; w.Code != 503 || w.Body.String() != want {
		t.Errorf("%d %q, want %q", w.Code, w.Body, want)
	}
}

// The client, or the server's end, stops the waiting; the last word is the store's.
func TestHandoverOfUnknownFate(t *testing.T) {
	for name, tc := range map[string]struct {
		then func(*dcs.Cluster)
		code int
		text string
	}{
		"nothing happened":   {func(*dcs.Cluster) {}, 503, "Switchover status unknown"},
		"it was done unseen": {func(c *dcs.Cluster) { c.Leader = &dcs.Leader{Name: "n2"} }, 200, `Successfully switched over to "n2"`},
	} {
		t.Run(name, func(t *testing.T) {
			st := primary()
			store := resttest.NewStore(st.Cluster)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			loads := 0
			store.Fail = func(request string) error {
				if request == "load" {
					if loads++; loads == 3 { // checks, after the write, the last look
						store.Change(tc.then)
					} else if loads == 2 {
						cancel()
					}
				}
				return nil
			}
			cfg := testConfig(resttest.NewNode(now, st), store)
			cfg.Peers = resttest.Peers{"n2": good}
			w := askContext(ctx, newHandler(t, cfg), "POST", "/switchover", `{"leader":"n1"}`)
			if w.Code != tc.code || w.Body.String() != tc.text {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.text)
			}
		})
	}
}

func TestHandoverIsWritten(t *testing.T) {
	t.Run("scheduled", func(t *testing.T) {
		st := primary()
		store := resttest.NewStore(st.Cluster)
		h := newHandler(t, testConfig(resttest.NewNode(now, st), store)) // no peer answers: nothing is checked before its time
		w := ask(h, "POST", "/switchover", `{"leader":"n1","candidate":"n2","scheduled_at":"2026-08-01T02:00:00+09:00"}`)
		if w.Code != 202 || w.Body.String() != "Switchover scheduled" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		f := store.Change(func(*dcs.Cluster) {}).Failover
		if want := time.Date(2026, 7, 31, 17, 0, 0, 0, time.UTC); f == nil || f.Leader != "n1" || f.Candidate != "n2" || !f.ScheduledAt.Equal(want) {
			t.Fatalf("written: %+v", f)
		}
		for _, want := range []string{"200 scheduled switchover deleted", "404 no switchover is scheduled"} {
			if w := ask(h, "DELETE", "/switchover", ""); want != strconv.Itoa(w.Code)+" "+w.Body.String() {
				t.Errorf("%d %s, want %s", w.Code, w.Body, want)
			}
		}
	})
	for name, tc := range map[string]struct {
		err  error
		code int
		text string
	}{
		"conflict":             {dcs.ErrConflict, 503, "failed to write failover key into DCS"},
		"unavailable":          {dcs.ErrUnavailable, 503, "failed to write failover key into DCS"},
		"unknown, not written": {dcs.ErrUnknown, 503, "failed to write failover key into DCS"},
	} {
		t.Run(name, func(t *testing.T) {
			st := primary()
			store := resttest.NewStore(st.Cluster)
			store.Fail = func(request string) error {
				if request == "failover" {
					return tc.err
				}
				return nil
			}
			cfg := testConfig(resttest.NewNode(now, st), store)
			cfg.Peers = resttest.Peers{"n2": good}
			if w := ask(newHandler(t, cfg), "POST", "/switchover", `{"leader":"n1"}`); w.Code != tc.code || w.Body.String() != tc.text {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.text)
			}
		})
	}
	t.Run("unknown, and carried out", func(t *testing.T) {
		st := primary()
		store := resttest.NewStore(st.Cluster)
		store.Fail = func(request string) error {
			if request == "failover" {
				store.Change(func(c *dcs.Cluster) { c.Leader = &dcs.Leader{Name: "n2"} })
				return dcs.ErrUnknown
			}
			return nil
		}
		cfg := testConfig(resttest.NewNode(now, st), store)
		cfg.Peers = resttest.Peers{"n2": good}
		if w := ask(newHandler(t, cfg), "POST", "/switchover", `{"leader":"n1"}`); w.Code != 200 {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	})
}
