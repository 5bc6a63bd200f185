package restclient

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/rest"
	"github.com/tanist-ha/tanist/rest/resttest"
)

// What members say in an election, as Patroni 4 and other agents write it.
func TestPollReadsAnswers(t *testing.T) {
	ignoreTags := cmpopts.IgnoreFields(ha.PeerAnswer{}, "Tags")
	for name, tc := range map[string]struct {
		body string
		want ha.PeerAnswer
	}{
		"primary of Patroni": {
			`{"state": "running", "postmaster_start_time": "2026-07-20 08:15:02.118211+00:00", "role": "primary", "server_version": 170005, "xlog": {"location": 100663296}, "timeline": 4, "dcs_last_seen": 1784535302, "database_system_identifier": "7543210987654321001", "patroni": {"version": "4.1.4", "scope": "demo", "name": "n1"}}`,
			ha.PeerAnswer{Reachable: true, Scope: "demo", SelfName: "n1", Role: "primary", State: "running", Writable: true, Position: postgres.Position{Timeline: 4, LSN: 0x6000000}, SystemID: "7543210987654321001"},
		},
		"replica of Patroni": {
			`{"state":"running","role":"replica","xlog":{"received_location":100663296,"replayed_location":100663392,"replayed_timestamp":null,"paused":false},"timeline":null,"watchdog_failed":true,"patroni":{}}`,
			ha.PeerAnswer{Reachable: true, Role: "replica", State: "running", InRecovery: true, Position: postgres.Position{LSN: 0x6000060}, WatchdogFailed: true},
		},
		"the later name of the position": {
			`{"state":"running","role":"replica","wal":{"received_location":96,"replayed_location":null},"timeline":2}`,
			ha.PeerAnswer{Reachable: true, Role: "replica", State: "running", InRecovery: true, Position: postgres.Position{Timeline: 2, LSN: 96}},
		},
		"promoted, still in recovery": {
			`{"state":"running","role":"primary","xlog":{"received_location":96,"replayed_location":96},"timeline":2}`,
			ha.PeerAnswer{Reachable: true, Role: "primary", State: "running", InRecovery: true, Position: postgres.Position{Timeline: 2, LSN: 96}},
		},
		"hung primary": {
			`{"state":"unknown","role":"primary"}`,
			ha.PeerAnswer{Reachable: true, Role: "primary", State: "unknown", Writable: true, Problem: "its server does not answer, so it told no position"},
		},
		"stopped primary": {
			`{"state":"stopped","role":"primary"}`,
			ha.PeerAnswer{Reachable: true, Role: "primary", State: "stopped", Problem: "its server does not answer, so it told no position"},
		},
		"demoted, stopping": {
			`{"state":"stopping","role":"demoted"}`,
			ha.PeerAnswer{Reachable: true, Role: "demoted", State: "stopping", InRecovery: true, Problem: "its server does not answer, so it told no position"},
		},
		"tanist": {
			`{"state":"running","role":"replica","xlog":{"received_location":96,"replayed_location":96},"timeline":2,"tanist":"0.1.0","tanist_start":"abc","tanist_age":0.25}`,
			ha.PeerAnswer{Reachable: true, Role: "replica", State: "running", InRecovery: true, Position: postgres.Position{Timeline: 2, LSN: 96}, StartID: "abc", Age: 250 * time.Millisecond},
		},
		"leader whose server was stopped": {
			`{"state":"stopped","role":"demoted","patroni":{"version":"4.1.4","scope":"demo","name":"m"},"tanist":"0.1.0","tanist_leads":true}`,
			ha.PeerAnswer{Reachable: true, Role: "demoted", State: "stopped", InRecovery: true, Leads: true, Scope: "demo", SelfName: "m", Problem: "its server does not answer, so it told no position"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := newClient(t, Options{}).Poll(t.Context(), []dcs.Member{member("m", answering(t, 200, tc.body))})
			tc.want.Name = "m"
			if diff := cmp.Diff([]ha.PeerAnswer{tc.want}, got, ignoreTags); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// Who does not answer in time, or not in a way that can be read, is not reachable, and keeps nobody else waiting.
func TestPollOfSilentMembers(t *testing.T) {
	release := make(chan struct{})
	hangs := serving(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	members := []dcs.Member{
		member("hangs", hangs),
		member("refuses", "http://127.0.0.1:1/patroni"),
		member("no-address", ""),
		member("odd-address", "postgres://x"),
		member("not-json", answering(t, 200, "<html>")),
		member("number", answering(t, 200, `{"state":"running","xlog":{"location":"far"}}`)),
		member("error", answering(t, 503, "")),
		member("good", answering(t, 200, `{"state":"running","role":"primary","xlog":{"location":96},"timeline":1}`)),
	}
	got := newClient(t, Options{PollTimeout: 300 * time.Millisecond}).Poll(t.Context(), members)
	for i, a := range got {
		if want := members[i].Name == "good"; a.Name != members[i].Name || a.Reachable != want || a.Problem == "" != want {
			t.Errorf("%s: %+v", members[i].Name, a)
		}
	}
}

func TestParseTags(t *testing.T) {
	for _, tc := range []struct {
		in           map[string]any
		noFailover   bool
		priority     int
		explanations string
	}{
		{nil, false, 1, "none"},
		{map[string]any{"nofailover": true}, true, 0, "nofailover"},
		{map[string]any{"nofailover": "true"}, true, 0, "as text"},
		{map[string]any{"failover_priority": 0.0}, true, 0, "priority 0"},
		{map[string]any{"failover_priority": 5.0}, false, 5, "priority"},
		{map[string]any{"failover_priority": "7"}, false, 7, "priority as text"},
		{map[string]any{"failover_priority": -1.0}, true, 0, "below 0"},
		{map[string]any{"nofailover": false, "failover_priority": 0.0}, false, 1, "nofailover given wins"},
		{map[string]any{"nofailover": true, "failover_priority": 3.0}, true, 0, "nofailover given wins"},
	} {
		if got := parseTags(tc.in); got.NoFailover != tc.noFailover || got.FailoverPriority != tc.priority {
			t.Errorf("%s: %+v", tc.explanations, got)
		}
	}
	all := parseTags(map[string]any{"noloadbalance": true, "clonefrom": "yes", "nosync": 1.0, "replicatefrom": "n3"})
	if !all.NoLoadBalance || !all.CloneFrom || !all.NoSync || all.ReplicateFrom != "n3" {
		t.Errorf("%+v", all)
	}
}

// A tanist member answers when it is there.
func TestAwaitOfTanist(t *testing.T) {
	cluster := resttest.Cluster("n1", "n2")
	now := resttest.Started()
	node := resttest.NewNode(now, resttest.Replica("n2", now, cluster))
	asked := make(chan struct{}, 100)
	node.OnSubmit = func(ctx context.Context, c ha.Command) (ha.Answer, error) {
		asked <- struct{}{}
		st, err := node.Wait(ctx, func(st *ha.Status) bool { return st.Observed.SQL.Position().LSN >= c.(ha.Await).LSN })
		if err != nil {
			return ha.Answer{}, err
		}
		return ha.Answer{Observed: st.Observed, ObservedAt: st.ObservedAt}, nil
	}
	url := tanist(t, node, resttest.NewStore(cluster), rest.Access{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	type result struct {
		answer ha.PeerAnswer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		a, err := newClient(t, Options{}).Await(ctx, member("n2", url), 0x6000060)
		done <- result{a, err}
	}()
	<-asked
	there := resttest.Replica("n2", now.Add(time.Second), cluster)
	there.Observed.SQL.Received = 0x6000060
	node.Publish(there)
	if got := <-done; got.err != nil || got.answer.Position.LSN != 0x6000060 || got.answer.StartID != "start-of-n2" {
		t.Errorf("%+v", got)
	}
}

// A Patroni member is asked again; a failure on the way is not the end.
func TestAwaitOfPatroni(t *testing.T) {
	var asked atomic.Int32
	url := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			_, _ = io.WriteString(w, `{"state":"running","role":"replica","xlog":{"received_location":64},"timeline":1}`)
		case 2:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, `{"state":"running","role":"replica","xlog":{"received_location":96},"timeline":1}`)
		}
	})
	c := newClient(t, Options{})
	if a, err := c.Await(t.Context(), member("n2", url), 96); err != nil || a.Position.LSN != 96 || asked.Load() != 3 {
		t.Errorf("%+v %v after %d questions", a, err, asked.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if a, err := c.Await(ctx, member("n2", url), 128); !errors.Is(err, context.DeadlineExceeded) || a.Name != "n2" {
		t.Errorf("%+v %v", a, err)
	}
}
