package restapi

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
)

// Two members as an older tool would list them; the text is what such tools parse.
func TestClusterKeepsFieldsAndOrder(t *testing.T) {
	at := time.Date(2027, 8, 1, 2, 0, 0, 0, time.FixedZone("", 9*3600))
	c := dcs.Cluster{
		Leader: &dcs.Leader{Name: "n1"},
		Config: &dcs.Config{Raw: []byte(`{"synchronous_mode":"on","pause":true}`)},
		Sync:   &dcs.Sync{Leader: "n1", Standby: "N2"},
		Status: dcs.Status{Optime: 0x6000060},
		Members: []dcs.Member{
			{Name: "n3", Data: dcs.MemberData{ConnURL: "postgres://[fd00::3]/postgres", APIURL: "http://n3:8008/patroni", State: dcs.StateStopped}},
			{Name: "n2", Data: dcs.MemberData{
				ConnURL: "postgres://10.2.0.10:5433/postgres", APIURL: "http://10.2.0.10:8008/patroni", State: dcs.StateRunning,
				ReplicationState: "streaming", Timeline: 4, ReceiveLSN: 0x6000060, ReplayLSN: 0x6000000, XLogLocation: 0x6000060,
				Tags: map[string]any{"dc": "seoul"},
			}},
			{Name: "n1", Data: dcs.MemberData{
				ConnURL: "postgres://10.1.0.10:5432/postgres", APIURL: "http://10.1.0.10:8008/patroni", State: dcs.StateRunning, Timeline: 4,
				XLogLocation: 0x6000060, ReplicationState: "ignored", PendingRestart: true,
				PendingRestartReason: map[string]dcs.PendingChange{"max_connections": {OldValue: "100", NewValue: "101"}},
			}},
		},
		Failover: &dcs.Failover{Leader: "n1", Candidate: "n2", ScheduledAt: &at},
	}
	got, err := json.Marshal(NewCluster("demo", c))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"members":[` +
		`{"name":"n1","role":"leader","state":"running","api_url":"http://10.1.0.10:8008/patroni","host":"10.1.0.10","port":5432,"timeline":4,` +
		`"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"101"}}},` +
		`{"name":"n2","role":"sync_standby","state":"streaming","api_url":"http://10.2.0.10:8008/patroni","host":"10.2.0.10","port":5433,"timeline":4,` +
		`"tags":{"dc":"seoul"},"receive_lag":0,"receive_lsn":"0/6000060","replay_lag":96,"replay_lsn":"0/6000000","lag":0,"lsn":"0/6000060"},` +
		`{"name":"n3","role":"replica","state":"stopped","api_url":"http://n3:8008/patroni","host":"fd00::3","port":5432,` +
		`"receive_lag":"unknown","receive_lsn":"unknown","replay_lag":"unknown","replay_lsn":"unknown","lag":"unknown","lsn":"unknown"}],` +
		`"pause":true,"scheduled_switchover":{"at":"2027-08-01T02:00:00+09:00","from":"n1","to":"n2"},"scope":"demo"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	var back Cluster
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(NewCluster("demo", c), back); diff != "" {
		t.Errorf("read back: want -, got +:\n%s", diff)
	}
}

func TestReadModes(t *testing.T) {
	for raw, want := range map[string]Modes{
		`{}`:                               {},
		`[]`:                               {},
		`{"pause":"on"}`:                   {Paused: true},
		`{"pause":1}`:                      {Paused: true},
		`{"synchronous_mode":true}`:        {Synchronous: true},
		`{"synchronous_mode":"Quorum"}`:    {Synchronous: true, Quorum: true},
		`{"synchronous_mode":"off"}`:       {},
		`{"standby_cluster":{}}`:           {},
		`{"standby_cluster":{"host":"a"}}`: {StandbyCluster: true},
	} {
		if got := ReadModes(&dcs.Config{Raw: []byte(raw)}); got != want {
			t.Errorf("%s: got %+v, want %+v", raw, got, want)
		}
	}
}

func ExampleHistory() {
	raw, _ := json.Marshal(History(dcs.History{
		{Timeline: 1, LSN: 25623960, Reason: "no recovery target specified", Timestamp: "2026-07-20T08:15:02+00:00", Leader: "n1"},
		{Timeline: 2, LSN: 25624128, Reason: "no recovery target specified"},
	}))
	fmt.Println(string(raw))
	// Output: [[1,25623960,"no recovery target specified","2026-07-20T08:15:02+00:00","n1"],[2,25624128,"no recovery target specified"]]
}
