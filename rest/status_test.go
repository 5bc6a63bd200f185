package rest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/rest/resttest"
)

// The texts are what tools of Patroni parse: names, order and forms of values.
func TestPatroniDocument(t *testing.T) {
	replayed := now.Add(500 * time.Microsecond)
	for name, tc := range map[string]struct {
		st   ha.Status
		want string
	}{
		"primary": {
			with(primary(), func(st *ha.Status) {
				st.Settings.Tags.All = map[string]any{"dc": "seoul"}
				st.Observed.SQL.Senders = []postgres.Sender{
					{User: "replicator", Application: "n2", ClientAddr: "10.2.0.10", State: "streaming", SyncState: "quorum", SyncPriority: 1},
					{User: "postgres", Application: "backup", State: "backup", SyncState: "async"},
				}
				st.Observed.PendingRestart = map[string][2]string{"max_connections": {"100", "101"}}
			}),
			`{"state":"running","postmaster_start_time":"2026-07-20 08:15:02.118211+00:00","role":"primary","server_version":170005,` +
				`"xlog":{"location":100663296},"timeline":4,` +
				`"replication":[{"usename":"replicator","application_name":"n2","client_addr":"10.2.0.10","state":"streaming","sync_state":"quorum","sync_priority":1},` +
				`{"usename":"postgres","application_name":"backup","client_addr":null,"state":"backup","sync_state":"async","sync_priority":0}],` +
				`"dcs_last_seen":1784538902,"tags":{"dc":"seoul"},"database_system_identifier":"7543210987654321001",` +
				`"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"101"}},` +
				`"patroni":{"version":"4.1.4","scope":"demo","name":"n1"},"tanist":"0.1.0","tanist_start":"start-of-n1","tanist_leads":true}`,
		},
		"quorum standby": {
			with(inSync("quorum"), func(st *ha.Status) { st.Observed.SQL.ReplayedAt = &replayed; st.Observed.SQL.Received = 0 }),
			`{"state":"running","postmaster_start_time":"2026-07-20 08:15:02.118211+00:00","role":"replica","server_version":170005,` +
				`"xlog":{"received_location":100663296,"replayed_location":100663296,"replayed_timestamp":"2026-07-20 09:15:02.118711+00:00","paused":false},` +
				`"quorum_standby":true,"timeline":4,"replication_state":"streaming","dcs_last_seen":1784538902,` +
				`"database_system_identifier":"7543210987654321001","patroni":{"version":"4.1.4","scope":"demo","name":"n2"},` +
				`"tanist":"0.1.0","tanist_start":"start-of-n2"}`,
		},
		"hung primary of a cluster without leader, in pause": {
			with(primary(), func(st *ha.Status) {
				st.Observed.SQL, st.Cluster.Leader, st.Settings.Paused = nil, nil, true
			}),
			`{"state":"unknown","role":"primary","pause":true,"cluster_unlocked":true,"dcs_last_seen":1784538902,` +
				`"database_system_identifier":"7543210987654321001","patroni":{"version":"4.1.4","scope":"demo","name":"n1"},` +
				`"tanist":"0.1.0","tanist_start":"start-of-n1","tanist_leads":true}`,
		},
		"not started": {
			ha.Status{Name: "n1", Scope: "demo"},
			`{"state":"","role":"","dcs_last_seen":0,"patroni":{"version":"4.1.4","scope":"demo","name":"n1"},"tanist":"0.1.0"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := handlerFor(t, tc.st)
			w := ask(h, "GET", "/patroni/and/more", "")
			if diff := cmp.Diff(tc.want, w.Body.String()); w.Code != 200 || diff != "" {
				t.Errorf("code %d; want -, got +:\n%s", w.Code, diff)
			}
			if diff := cmp.Diff(tc.want, ask(h, "GET", "/replica", "").Body.String()); diff != "" {
				t.Errorf("health check: want -, got +:\n%s", diff)
			}
		})
	}
}

// An election is decided on positions: the answer must rest on a look made for it.
func TestPatroniLooksAfresh(t *testing.T) {
	node := resttest.NewNode(now, replica())
	node.OnSubmit = func(ctx context.Context, c ha.Command) (ha.Answer, error) {
		if _, ok := c.(ha.Look); !ok {
			t.Errorf("asked %T", c)
		}
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > lookTimeout {
			t.Error("the look has no deadline")
		}
		st := replica()
		st.Observed.SQL.Replayed = 0x7000000
		return ha.Answer{Observed: st.Observed, ObservedAt: now.Add(time.Millisecond)}, nil
	}
	h := newHandler(t, testConfig(node, resttest.NewStore(dcs.Cluster{})))
	if got := decode[struct {
		XLog struct {
			Replayed uint64 `json:"replayed_location"`
		} `json:"xlog"`
	}](t, ask(h, "GET", "/patroni", "")).XLog.Replayed; got != 0x7000000 {
		t.Errorf("replayed %x", got)
	}
}

func TestPatroniTellsTheLastLookWithItsAge(t *testing.T) {
	node := resttest.NewNode(now, replica())
	node.OnSubmit = func(context.Context, ha.Command) (ha.Answer, error) { return ha.Answer{}, errors.New("busy") }
	node.Advance(1500 * time.Millisecond)
	h := newHandler(t, testConfig(node, resttest.NewStore(dcs.Cluster{})))
	w := ask(h, "GET", "/patroni", "")
	got := decode[struct {
		Age float64 `json:"tanist_age"`
	}](t, w)
	if got.Age != 1.5 || w.Header().Get("X-Tanist-Start") != "start-of-n2" {
		t.Errorf("age %v, headers %v", got.Age, w.Header())
	}
}

// Peers do not wait in an election for a node that must have a watchdog and has none.
func TestPatroniTellsThatTheWatchdogFailed(t *testing.T) {
	type answer struct {
		Failed   bool   `json:"watchdog_failed"`
		Watchdog string `json:"tanist_watchdog"`
	}
	for _, want := range []answer{{}, {false, "watchdog /dev/watchdog, armed"}, {true, "watchdog /dev/watchdog, not armed: no such file"}} {
		node := resttest.NewNode(now, with(replica(), func(st *ha.Status) { st.NoWatchdog, st.Watchdog = want.Failed, want.Watchdog }))
		h := newHandler(t, testConfig(node, resttest.NewStore(dcs.Cluster{})))
		if diff := cmp.Diff(want, decode[answer](t, ask(h, "GET", "/patroni", ""))); diff != "" {
			t.Error(diff)
		}
	}
}

// The long poll of a hand-over: the answer comes when the position is there, and not before.
func TestPatroniWaitsForAPosition(t *testing.T) {
	node := resttest.NewNode(now, replica())
	asked := make(chan postgres.LSN, 1)
	node.OnSubmit = func(ctx context.Context, c ha.Command) (ha.Answer, error) {
		want := c.(ha.Await).LSN
		asked <- want
		st, err := node.Wait(ctx, func(st *ha.Status) bool { return st.Observed.SQL.Position().LSN >= want })
		if err != nil {
			return ha.Answer{}, err
		}
		return ha.Answer{Observed: st.Observed, ObservedAt: st.ObservedAt}, nil
	}
	h := newHandler(t, testConfig(node, resttest.NewStore(dcs.Cluster{})))
	done := make(chan string, 1)
	go func() { done <- ask(h, "GET", "/patroni?wait_lsn=0/6000060", "").Body.String() }()
	if got := <-asked; got != 0x6000060 {
		t.Fatalf("asked for %s", got)
	}
	node.Publish(with(replica(), func(st *ha.Status) { st.Observed.SQL.Received = 0x6000060; st.ObservedAt = now.Add(time.Second) }))
	if got := <-done; !contains(got, `"received_location":100663392`) {
		t.Errorf("answered %s", got)
	}
	if got := ask(h, "GET", "/patroni?wait_lsn=nonsense", "").Code; got != 400 {
		t.Errorf("nonsense: %d", got)
	}
}

func TestExplainAndEvents(t *testing.T) {
	node := resttest.NewNode(now, replica())
	node.Explanation = ha.Explanation{
		Name: "n2", At: now, Role: dcs.RoleReplica, Rule: "locked.follow", Sentence: "n1 leads",
		Passed: []ha.Skipped{{Rule: "vacant.behind", Why: "n1 leads"}}, Fence: "unfenced",
		Events: []ha.HistoryItem{{At: now, Rule: "locked.follow", Sentence: "n1 leads"}},
	}
	h := newHandler(t, testConfig(node, resttest.NewStore(dcs.Cluster{})))
	if diff := cmp.Diff(node.Explanation, decode[ha.Explanation](t, ask(h, "GET", "/explain", ""))); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff(node.Explanation.Events, decode[[]ha.HistoryItem](t, ask(h, "GET", "/events", ""))); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	node.Explanation.Events = nil
	if got := ask(h, "GET", "/events", "").Body.String(); got != "[]" {
		t.Errorf("no events: %s", got)
	}
}
