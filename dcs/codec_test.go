package dcs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

const folder = "/service/batman/"

// cluster decodes keys given as name, value, name, value; leader and members get a session.
func cluster(pairs ...string) dcs.Cluster {
	snap := dcs.Snapshot{Version: 100, StoreID: "s"}
	for i := 0; i < len(pairs); i += 2 {
		e := dcs.Entry{Key: folder + pairs[i], Value: []byte(pairs[i+1]), Version: dcs.Version(10 + i), Created: dcs.Version(9 + i)}
		if pairs[i] == "leader" || strings.HasPrefix(pairs[i], "members/") {
			e.Session = "7f"
		}
		snap.Entries = append(snap.Entries, e)
	}
	return dcs.Decode(folder, snap)
}

func TestPrefix(t *testing.T) {
	for _, c := range [][3]string{
		{"service", "batman", "/service/batman/"},
		{"", "batman", "/service/batman/"},
		{"/", "batman", "/service/batman/"},
		{"//ns//", "/a//b/", "/ns/a/b/"},
		{"/ns/sub", "x", "/ns/sub/x/"},
	} {
		if got := dcs.Prefix(c[0], c[1]); got != c[2] {
			t.Errorf("Prefix(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// The values that a Patroni 4.1 cluster of three holds.
func TestDecodeCluster(t *testing.T) {
	c := cluster(
		"config", `{"ttl":30,"loop_wait":10,"postgresql":{"parameters":{"max_connections":200}}}`,
		"failover", `{}`,
		"history", `[[1,50331808,"no recovery target specified","2026-03-01T10:11:12.131415+00:00","n2"],[2,67109024,"x"]]`,
		"initialize", "7543210987654321001",
		"leader", "n2",
		"members/n1", `{"conn_url":"postgres://10.1.0.10:5432/postgres","api_url":"http://10.1.0.10:8008/patroni","state":"running","role":"replica","version":"4.1.4","xlog_location":50331976,"receive_lsn":50331976,"replay_lsn":50331900,"replication_state":"streaming","timeline":3}`,
		"members/n2", `{"conn_url":"postgres://10.1.0.11:5432/postgres","api_url":"http://10.1.0.11:8008/patroni","state":"running","role":"primary","version":"4.1.4","checkpoint_after_promote":false,"tags":{"clonefrom":true,"failover_priority":2},"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"200"}},"xlog_location":50331976,"timeline":3,"scheduled_restart":{"schedule":"2026-03-02T00:00:00+00:00"},"pause":true,"future":[1]}`,
		"status", `{"optime":50331976,"slots":{"n1":50331976,"n2":50331976},"retain_slots":["n1","n2"]}`,
		"sync", `{"leader":"n2","quorum":1,"sync_standby":"n1,n3"}`,
		"failsafe", `{"n1":"http://10.1.0.10:8008/patroni","n2":"http://10.1.0.11:8008/patroni"}`,
		"unheard/of", "x",
	)
	no := false
	want := dcs.Cluster{
		Version: 100, StoreID: "s",
		Initialize: &dcs.Initialize{SystemID: "7543210987654321001", Entry: dcs.Meta{Version: 16, Created: 15}},
		Leader:     &dcs.Leader{Name: "n2", Meta: dcs.Meta{Version: 18, Created: 17, Session: "7f"}},
		Members: []dcs.Member{
			{Name: "n1", Meta: dcs.Meta{Version: 20, Created: 19, Session: "7f"}, Data: dcs.MemberData{
				ConnURL: "postgres://10.1.0.10:5432/postgres", APIURL: "http://10.1.0.10:8008/patroni",
				State: dcs.StateRunning, Role: dcs.RoleReplica, Version: "4.1.4", XLogLocation: 50331976,
				ReceiveLSN: 50331976, ReplayLSN: 50331900, ReplicationState: "streaming", Timeline: 3,
			}},
			{Name: "n2", Meta: dcs.Meta{Version: 22, Created: 21, Session: "7f"}, Data: dcs.MemberData{
				ConnURL: "postgres://10.1.0.11:5432/postgres", APIURL: "http://10.1.0.11:8008/patroni",
				State: dcs.StateRunning, Role: dcs.RolePrimary, Version: "4.1.4", CheckpointAfterPromote: &no,
				Tags:           map[string]any{"clonefrom": true, "failover_priority": 2.0},
				PendingRestart: true, PendingRestartReason: map[string]dcs.PendingChange{"max_connections": {OldValue: "100", NewValue: "200"}},
				XLogLocation: 50331976, Timeline: 3, ScheduledRestart: json.RawMessage(`{"schedule":"2026-03-02T00:00:00+00:00"}`), Pause: true,
			}},
		},
		Config: &dcs.Config{Version: 10, Raw: json.RawMessage(`{"ttl":30,"loop_wait":10,"postgresql":{"parameters":{"max_connections":200}}}`)},
		Status: dcs.Status{Optime: 50331976, Slots: map[string]uint64{"n1": 50331976, "n2": 50331976}, RetainSlots: []string{"n1", "n2"}},
		Sync:   &dcs.Sync{Version: 26, Leader: "n2", Quorum: 1, Standby: "n1,n3"},
		History: dcs.History{
			{Timeline: 1, LSN: 50331808, Reason: "no recovery target specified", Timestamp: "2026-03-01T10:11:12.131415+00:00", Leader: "n2"},
			{Timeline: 2, LSN: 67109024, Reason: "x"},
		},
		HistoryVersion:  14,
		Failsafe:        map[string]string{"n1": "http://10.1.0.10:8008/patroni", "n2": "http://10.1.0.11:8008/patroni"},
		FailsafeVersion: 28,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Fatalf("decoded (-want +got):\n%s", diff)
	}
}

// Old and odd spellings that must be understood.
func TestDecodeForms(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	cases := []struct {
		name       string
		key, value string
		got        func(dcs.Cluster) any
		want       any
	}{
		{"bare status", "status", "50331976", func(c dcs.Cluster) any { return c.Status }, dcs.Status{Optime: 50331976}},
		{"optime", "optime/leader", "77", func(c dcs.Cluster) any { return c.Status }, dcs.Status{Optime: 77}},
		{"optime as text", "status", `{"optime":"77"}`, func(c dcs.Cluster) any { return c.Status }, dcs.Status{Optime: 77}},
		{"empty status", "status", ``, func(c dcs.Cluster) any { return c.Status }, dcs.Status{}},
		{"old failover", "failover", "a:b", func(c dcs.Cluster) any { return c.Failover }, &dcs.Failover{Version: 10, Leader: "a", Candidate: "b"}},
		{"old failover, candidate only", "failover", ":b", func(c dcs.Cluster) any { return c.Failover }, &dcs.Failover{Version: 10, Candidate: "b"}},
		{"old failover, leader only", "failover", "a", func(c dcs.Cluster) any { return c.Failover }, &dcs.Failover{Version: 10, Leader: "a"}},
		{"empty failover", "failover", "{}", func(c dcs.Cluster) any { return c.Failover }, (*dcs.Failover)(nil)},
		{"no failover", "failover", "", func(c dcs.Cluster) any { return c.Failover }, (*dcs.Failover)(nil)},
		{"scheduled", "failover", `{"leader":"a","scheduled_at":"2026-03-01T12:00:00+01:00"}`, func(c dcs.Cluster) any { return c.Failover },
			&dcs.Failover{Version: 10, Leader: "a", ScheduledAt: &at}},
		{"scheduled, other spelling", "failover", `{"leader":"a","scheduled_at":"2026-03-01 12:00+01"}`, func(c dcs.Cluster) any { return c.Failover },
			&dcs.Failover{Version: 10, Leader: "a", ScheduledAt: &at}},
		{"sync off", "sync", `{"leader":null,"sync_standby":null}`, func(c dcs.Cluster) any { return c.Sync }, (*dcs.Sync)(nil)},
		{"sync emptied", "sync", `{}`, func(c dcs.Cluster) any { return c.Sync }, (*dcs.Sync)(nil)},
		{"sync without standby", "sync", `{"leader":"a","sync_standby":null,"quorum":"2"}`, func(c dcs.Cluster) any { return c.Sync }, &dcs.Sync{Version: 10, Leader: "a", Quorum: 2}},
		{"vacant leader", "leader", "", func(c dcs.Cluster) any { return c.Leader }, (*dcs.Leader)(nil)},
		{"bootstrap", "initialize", "", func(c dcs.Cluster) any { return c.Initialize }, &dcs.Initialize{Entry: dcs.Meta{Version: 10, Created: 9}}},
		{"no history yet", "history", "[]", func(c dcs.Cluster) any { return c.History.Timeline() }, uint32(1)},
		{"old member", "members/a", "postgres://u:p@h:5432/db?application_name=http://h:8008/patroni", func(c dcs.Cluster) any { return c.Members[0].Data },
			dcs.MemberData{ConnURL: "postgres://u:p@h:5432/db", APIURL: "http://h:8008/patroni"}},
		{"old role", "members/a", `{"role":"master","state":"running"}`, func(c dcs.Cluster) any { return c.Members[0].Data },
			dcs.MemberData{Role: dcs.RolePrimary, State: dcs.StateRunning}},
		{"nulls", "members/a", `{"role":null,"tags":null,"timeline":null,"pause":null}`, func(c dcs.Cluster) any { return c.Members[0].Data }, dcs.MemberData{}},
		{"reasons that are not texts", "members/a", `{"pending_restart_reason":{"a":{"old_value":1,"new_value":null}}}`, func(c dcs.Cluster) any { return c.Members[0].Data },
			dcs.MemberData{PendingRestartReason: map[string]dcs.PendingChange{"a": {OldValue: "1"}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := cluster(c.key, c.value)
			equal := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
			if diff := cmp.Diff(c.want, c.got(got), equal); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(got.Problems) > 0 {
				t.Errorf("problems: %q", got.Problems)
			}
		})
	}
}

// Whatever stands in a key: no panic, the key is as good as absent, and a sentence says so.
func TestDecodeGarbage(t *testing.T) {
	huge := strings.Repeat("x", 2<<20)
	deep := strings.Repeat("[", 200_000)
	absent := map[string]func(dcs.Cluster) bool{
		"config":   func(c dcs.Cluster) bool { return c.Config == nil },
		"failover": func(c dcs.Cluster) bool { return c.Failover == nil },
		"failsafe": func(c dcs.Cluster) bool { return c.Failsafe == nil && c.FailsafeVersion != 0 },
		"history": func(c dcs.Cluster) bool {
			return c.History == nil && c.History.Timeline() == 0 && c.HistoryVersion != 0
		},
		"status":    func(c dcs.Cluster) bool { return cmp.Equal(c.Status, dcs.Status{}) },
		"sync":      func(c dcs.Cluster) bool { return c.Sync == nil },
		"members/a": func(c dcs.Cluster) bool { return len(c.Members) == 1 && cmp.Equal(c.Members[0].Data, dcs.MemberData{}) },
	}
	for key, isAbsent := range absent {
		for i, value := range []string{"\x00\xff garbage", "{\"a\":NaN}", `"text"`, "null", "{", "1e400", "-1", huge, deep, `[{"a":1e400}]x`} {
			c := cluster(key, value)
			if !isAbsent(c) {
				t.Errorf("%s holds garbage %d (%.20q), and is decoded as %+v", key, i, value, c)
			}
			if len(c.Problems) != 1 || len(c.Problems[0]) > 300 || !strings.Contains(c.Problems[0], folder+key) {
				t.Errorf("%s, garbage %d (%.20q): problems %.400q", key, i, value, c.Problems)
			}
		}
	}
	c := cluster("leader", huge, "initialize", huge)
	if c.Leader == nil || c.Leader.Name == "" || len(c.Leader.Name) > 100 || len(c.Initialize.SystemID) > 100 || len(c.Problems) != 2 {
		t.Errorf("2 MB of leader: %+v, %+v, %.200q", c.Leader, c.Initialize, c.Problems)
	}
}

// A field of the wrong type is absent; the others count.
func TestDecodeWrongTypes(t *testing.T) {
	cases := []struct{ key, value, problem string }{
		{"members/a", `{"conn_url":1,"api_url":[],"state":"running","timeline":-3}`, `"conn_url", "api_url", "timeline"`},
		{"members/a", `{"state":"running","tags":[1],"scheduled_restart":true}`, `"tags", "scheduled_restart"`},
		{"members/a", `{"state":"running","tags":{"a":1e999}}`, `"tags.a"`},
		{"members/a", `{"state":"running","xlog_location":1e30}`, `"xlog_location"`},
		{"members/a", `{"state":"running","timeline":4294967296}`, `"timeline"`},
		{"members/a", `{"state":"running","pause":"yes","pending_restart_reason":{"a":3}}`, `"pending_restart_reason", "pause"`},
		{"status", `{"optime":99999999999999999999,"slots":{"a":1,"b":"x"},"retain_slots":3}`, `"optime", "slots.b", "retain_slots"`},
		{"history", `[[1,2],[2,67109024,"x"]]`, "line 1 has 2 fields"},
		{"history", `[["x",2,"r"],[2,67109024,"x"]]`, "line 1 has no timeline"},
		{"failsafe", `{"a":"http://a","b":null}`, `no URL for "b"`},
		{"failover", `{"leader":5,"member":"b"}`, "no failover is carried out"},
		{"failover", `{"member":"b","scheduled_at":"tomorrow"}`, "no failover is carried out"},
		{"failover", `{"member":"b","scheduled_at":"2026-03-01T12:00:00"}`, "no failover is carried out"},
		{"initialize", `{"id":1}`, "not a system identifier"},
	}
	for _, c := range cases {
		got := cluster(c.key, c.value)
		if len(got.Problems) == 0 || !strings.Contains(got.Problems[0], c.problem) {
			t.Errorf("%s = %s: problems %q, want one with %s", c.key, c.value, got.Problems, c.problem)
		}
		if c.key == "members/a" && got.Members[0].Data.State != dcs.StateRunning && !strings.Contains(c.value, "conn_url") {
			t.Errorf("%s: the good field is lost: %+v", c.value, got.Members[0].Data)
		}
		if c.key == "failover" && got.Failover != nil || c.key == "failsafe" && got.Failsafe != nil {
			t.Errorf("%s = %s is half understood: %+v %+v", c.key, c.value, got.Failover, got.Failsafe)
		}
	}
}

// operable is a store with a tool of its own.
type operable struct{ *memory.Backend }

func (operable) DeleteCommand(key string) string { return "store-tool rm " + key }

// TestWithoutSession holds safety claim 2.8: keys that never expire are reported, with how to clear them.
func TestWithoutSession(t *testing.T) {
	store := memory.New(memory.Options{})
	for _, key := range []string{"leader", "members/b"} {
		store.Put(folder+key, []byte("ghost"))
	}
	for name, tc := range map[string]struct {
		backend dcs.Backend
		command bool
	}{"a store with a tool": {operable{store.Backend()}, true}, "another": {store.Backend(), false}} {
		t.Run(name, func(t *testing.T) {
			defer tc.backend.Close()
			c, err := dcs.NewClient(tc.backend, dcs.Options{Scope: "batman"}).Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"leader", "members/b"} {
				told := slices.ContainsFunc(c.Problems, func(p string) bool {
					return strings.Contains(p, folder+key) && strings.Contains(p, "no session") &&
						strings.Contains(p, "(store-tool rm "+folder+key+")") == tc.command
				})
				if !told {
					t.Errorf("no problem tells of %s: %q", key, c.Problems)
				}
			}
		})
	}
}

// Golden values: byte for byte what Patroni 4.1 writes.
func TestEncode(t *testing.T) {
	no, at := false, time.Date(2026, 3, 1, 12, 0, 0, 131415000, time.UTC)
	whole := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	cases := []struct {
		value any
		want  string
	}{
		{dcs.MemberData{
			ConnURL: "postgres://10.1.0.10:5432/postgres", APIURL: "http://10.1.0.10:8008/patroni", State: dcs.StateRunning,
			Role: dcs.RolePrimary, Version: "4.1.4", XLogLocation: 50331976, Timeline: 3,
		}, `{"conn_url":"postgres://10.1.0.10:5432/postgres","api_url":"http://10.1.0.10:8008/patroni","state":"running","role":"primary","version":"4.1.4","xlog_location":50331976,"timeline":3}`},
		{dcs.MemberData{
			ConnURL: "postgres://h/d?a=1&b=<2>", APIURL: "u", State: dcs.StateStopped, Role: dcs.RoleDemoted, Version: "4.1.4", ProxyURL: "p",
			CheckpointAfterPromote: &no, Tags: map[string]any{"nofailover": true, "dc": "Zürich \U0001f418"}, PendingRestart: true,
			PendingRestartReason: map[string]dcs.PendingChange{"a": {OldValue: "1", NewValue: "2"}},
			ScheduledRestart:     json.RawMessage(`{ "schedule": "x" }`), Pause: true, Tanist: "0.1.0", TanistWatchdog: "armed", TanistUnfenced: true,
		}, `{"conn_url":"postgres://h/d?a=1&b=<2>","api_url":"u","state":"stopped","role":"demoted","version":"4.1.4","proxy_url":"p","checkpoint_after_promote":false,` +
			`"tags":{"dc":"Z\u00fcrich \ud83d\udc18","nofailover":true},"pending_restart":true,"pending_restart_reason":{"a":{"old_value":"1","new_value":"2"}},` +
			`"scheduled_restart":{"schedule":"x"},"pause":true,"tanist":"0.1.0","tanist_watchdog":"armed","tanist_unfenced":true}`},
		{dcs.Status{Optime: 50331976, Slots: map[string]uint64{"n1": 5, "n2": 6}, RetainSlots: []string{"n1"}},
			`{"optime":50331976,"slots":{"n1":5,"n2":6},"retain_slots":["n1"]}`},
		{dcs.Status{}, `{"optime":0}`},
		{dcs.Failover{}, `{}`},
		{dcs.Failover{Leader: "a", Candidate: "b", ScheduledAt: &at}, `{"leader":"a","member":"b","scheduled_at":"2026-03-01T12:00:00.131415+00:00"}`},
		{dcs.Failover{Candidate: "b", ScheduledAt: &whole}, `{"member":"b","scheduled_at":"2026-03-01T12:00:00+01:00"}`},
		{dcs.Sync{Version: 4, Leader: "n0", Standby: "n1,n2", Quorum: 1}, `{"leader":"n0","quorum":1,"sync_standby":"n1,n2"}`},
		{dcs.Sync{}, `{"leader":null,"quorum":0,"sync_standby":null}`},
		{dcs.History(nil), `[]`},
		{dcs.History{{Timeline: 1, LSN: 2, Reason: "no recovery target specified", Timestamp: "2026-03-01T10:11:12+00:00", Leader: "n2"}, {Timeline: 2, LSN: 3, Reason: ""}},
			`[[1,2,"no recovery target specified","2026-03-01T10:11:12+00:00","n2"],[2,3,""]]`},
	}
	for _, c := range cases {
		got, err := dcs.Marshal(c.value)
		if err != nil || string(got) != c.want {
			t.Errorf("Marshal(%+v)\n got %s, %v\nwant %s", c.value, got, err, c.want)
		}
	}
}

func TestEncodeImpossible(t *testing.T) {
	if _, err := dcs.Marshal(dcs.MemberData{ScheduledRestart: json.RawMessage("{")}); err == nil {
		t.Error("half an object was encoded")
	}
}

// What we write, we read back as it was.
func TestMemberRoundTrip(t *testing.T) {
	in := dcs.MemberData{ConnURL: "c", APIURL: "a", State: "s", Role: "r", Version: "v", Tags: map[string]any{"x": "\u2028<é>"}, Timeline: 1<<32 - 1, XLogLocation: 1<<63 - 1}
	b, err := dcs.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out dcs.MemberData
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzDecode(f *testing.F) {
	keys := []string{"config", "failover", "failsafe", "history", "initialize", "leader", "members/a", "optime/leader", "status", "sync"}
	for i, v := range []string{"", "{}", "[]", "1", "a:b", `{"optime":1,"slots":{"a":1}}`, `[[1,2,"r","t","l"]]`, `{"leader":"a","scheduled_at":"2026-03-01T12:00:00Z"}`, "postgres://%zz", "\xff"} {
		f.Add(uint8(i), []byte(v))
	}
	f.Fuzz(func(t *testing.T, which uint8, value []byte) {
		key := keys[int(which)%len(keys)]
		c := cluster(key, string(value))
		for _, p := range c.Problems {
			if len(p) > 1000 {
				t.Errorf("problem of %d bytes", len(p))
			}
		}
		again := cluster(key, string(value))
		if !cmp.Equal(c, again) {
			t.Errorf("two decodings differ: %s", cmp.Diff(c, again))
		}
		for _, m := range c.Members { // what was understood can be written and means the same
			b, err := dcs.Marshal(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if back := cluster("members/a", string(b)).Members[0].Data; fmt.Sprint(back.Role, back.Timeline, back.Tags) != fmt.Sprint(m.Data.Role, m.Data.Timeline, m.Data.Tags) {
				t.Errorf("round trip of %s: %+v, want %+v", b, back, m.Data)
			}
		}
	})
}
