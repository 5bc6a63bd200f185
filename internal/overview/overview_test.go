package overview

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
)

func member(name string, data dcs.MemberData) dcs.Member {
	if data.ConnURL == "" {
		data.ConnURL = "postgres://10.1.0." + name[1:] + ":5432/postgres"
		data.APIURL = "http://10.1.0." + name[1:] + ":8008/patroni"
	}
	return dcs.Member{Name: name, Data: data}
}

func config(raw string) *dcs.Config { return &dcs.Config{Version: 1, Raw: json.RawMessage(raw)} }

func TestOfIsTheAnswerOfGetCluster(t *testing.T) {
	at := time.Date(2026, 8, 1, 2, 0, 0, 0, time.FixedZone("", 9*3600))
	c := dcs.Cluster{
		Leader: &dcs.Leader{Name: "n1"},
		Config: config(`{"pause": true, "synchronous_mode": "on"}`),
		Status: dcs.Status{Optime: 0x6000060},
		Sync:   &dcs.Sync{Leader: "n1", Standby: "N2"},
		Members: []dcs.Member{
			member("n2", dcs.MemberData{State: "running", Role: "replica", ReplicationState: "streaming", Timeline: 4,
				XLogLocation: 0x6000060, ReceiveLSN: 0x6000060, ReplayLSN: 0x6000000}),
			member("n1", dcs.MemberData{State: "running", Role: "primary", Timeline: 4, XLogLocation: 0x6000060}),
			{Name: "n3", Data: dcs.MemberData{State: "stopped", Tags: map[string]any{"dc": "seoul"}}},
		},
		Failover: &dcs.Failover{Leader: "n1", ScheduledAt: &at},
	}
	got, err := json.MarshalIndent(Of("demo", c), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "members": [
  {
   "name": "n1",
   "role": "leader",
   "state": "running",
   "api_url": "http://10.1.0.1:8008/patroni",
   "host": "10.1.0.1",
   "port": 5432,
   "timeline": 4
  },
  {
   "name": "n2",
   "role": "sync_standby",
   "state": "streaming",
   "api_url": "http://10.1.0.2:8008/patroni",
   "host": "10.1.0.2",
   "port": 5432,
   "timeline": 4,
   "receive_lag": 0,
   "receive_lsn": "0/6000060",
   "replay_lag": 96,
   "replay_lsn": "0/6000000",
   "lag": 0,
   "lsn": "0/6000060"
  },
  {
   "name": "n3",
   "role": "replica",
   "state": "stopped",
   "api_url": "",
   "tags": {
    "dc": "seoul"
   },
   "receive_lag": "unknown",
   "receive_lsn": "unknown",
   "replay_lag": "unknown",
   "replay_lsn": "unknown",
   "lag": "unknown",
   "lsn": "unknown"
  }
 ],
 "pause": true,
 "scheduled_switchover": {
  "at": "2026-08-01T02:00:00+09:00",
  "from": "n1"
 },
 "scope": "demo"
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestRolesFollowTheMode(t *testing.T) {
	sync := &dcs.Sync{Leader: "n1", Standby: "n2"}
	for name, tc := range map[string]struct {
		config       *dcs.Config
		sync         *dcs.Sync
		leader, peer string
	}{
		"no config":              {nil, sync, "leader", "replica"},
		"garbage":                {config(`[1]`), sync, "leader", "replica"},
		"asynchronous":           {config(`{}`), sync, "leader", "replica"},
		"synchronous":            {config(`{"synchronous_mode": true}`), sync, "leader", "sync_standby"},
		"quorum":                 {config(`{"synchronous_mode": "quorum"}`), sync, "leader", "quorum_standby"},
		"nobody manages /sync":   {config(`{"synchronous_mode": true}`), &dcs.Sync{Standby: "n2"}, "leader", "replica"},
		"standby cluster":        {config(`{"standby_cluster": {"host": "a"}}`), nil, "standby_leader", "replica"},
		"empty standby section":  {config(`{"standby_cluster": {"host": ""}}`), nil, "leader", "replica"},
		"synchronous as a digit": {config(`{"synchronous_mode": 1}`), sync, "leader", "sync_standby"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Of("x", dcs.Cluster{Leader: &dcs.Leader{Name: "n1"}, Config: tc.config, Sync: tc.sync,
				Members: []dcs.Member{member("n1", dcs.MemberData{}), member("n2", dcs.MemberData{})}})
			if roles := [2]string{got.Members[0].Role, got.Members[1].Role}; roles != [2]string{tc.leader, tc.peer} {
				t.Errorf("got %v, want %v and %v", roles, tc.leader, tc.peer)
			}
		})
	}
}

func TestPositionAheadOfTheLeaderHasNoLag(t *testing.T) {
	got := Of("x", dcs.Cluster{Status: dcs.Status{Optime: 10}, Members: []dcs.Member{member("n1", dcs.MemberData{XLogLocation: 20})}})
	if lag := *got.Members[0].Lag; lag != (Lag{Known: true}) {
		t.Errorf("got %+v", lag)
	}
}
