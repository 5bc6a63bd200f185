package table

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/overview"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// clusters are the pictures that the golden files show. Each is drawn in every format.
func clusters() map[string]dcs.Cluster {
	const at = 0x6000060
	leader := func(name string) *dcs.Leader { return &dcs.Leader{Name: name, Meta: dcs.Meta{Session: "1"}} }
	node := func(name, host string, d dcs.MemberData) dcs.Member {
		d.ConnURL, d.APIURL = "postgres://"+host+"/postgres", "http://"+host+"/patroni"
		if d.State == "" {
			d.State = dcs.StateRunning
		}
		return dcs.Member{Name: name, Data: d}
	}
	streaming := dcs.MemberData{ReplicationState: "streaming", Timeline: 4, XLogLocation: at, ReceiveLSN: at, ReplayLSN: at}
	id := &dcs.Initialize{SystemID: "7543210987654321001"}

	tagged, cascade, behind := streaming, streaming, streaming
	tagged.Tags = map[string]any{"dc": "seoul", "nofailover": true}
	tagged.PendingRestart = true
	tagged.PendingRestartReason = map[string]dcs.PendingChange{
		"max_connections":          {OldValue: "100", NewValue: "200"},
		"shared_preload_libraries": {OldValue: "", NewValue: strings.Repeat("library,", 10)},
	}
	tagged.ScheduledRestart = []byte(`{"schedule":"2026-08-01T02:00:00+09:00","postgres_version":"17.6"}`)
	cascade.Tags = map[string]any{"replicatefrom": "n2"}
	behind.ReceiveLSN, behind.ReplayLSN, behind.XLogLocation = at-3<<20, 0x1000000, at-3<<20
	return map[string]dcs.Cluster{
		"simple": {Initialize: id, Leader: leader("n1"), Status: dcs.Status{Optime: at},
			Sync:   &dcs.Sync{Leader: "n1", Standby: "n2"},
			Config: &dcs.Config{Raw: []byte(`{"synchronous_mode": true}`)},
			Members: []dcs.Member{node("n1", "10.1.0.10:5432", dcs.MemberData{Timeline: 4, Role: dcs.RolePrimary}),
				node("n2", "10.2.0.10:5432", streaming)}},
		"rich": {Initialize: id, Leader: leader("n1"), Status: dcs.Status{Optime: at},
			Config: &dcs.Config{Raw: []byte(`{"pause": true}`)}, Failover: scheduled(),
			Members: []dcs.Member{node("n1", "127.0.0.1:5432", dcs.MemberData{Timeline: 4, Role: dcs.RolePrimary}),
				node("n2", "127.0.0.1:5433", tagged), node("n3", "127.0.0.1:5434", cascade), node("n4", "127.0.0.1:5435", behind)}},
		// Right after a failure: the old leader is stopped, an agent of an older release tells one position only.
		"broken": {Initialize: &dcs.Initialize{}, Status: dcs.Status{Optime: at},
			Members: []dcs.Member{node("n1", "10.1.0.10:5432", dcs.MemberData{State: dcs.StateStopped}),
				node("n2", "10.2.0.10:5432", dcs.MemberData{ReplicationState: "streaming", Timeline: 4, XLogLocation: at}),
				{Name: "n3"}}},
		"empty": {},
	}
}

func scheduled() *dcs.Failover {
	at := time.Date(2026, 8, 1, 2, 0, 0, 0, time.FixedZone("", 9*3600))
	return &dcs.Failover{Leader: "n1", Candidate: "n2", ScheduledAt: &at}
}

func TestMembers(t *testing.T) {
	for name, c := range clusters() {
		for _, format := range []string{Pretty, Topology, TSV, JSON, YAML} {
			t.Run(name+"/"+format, func(t *testing.T) {
				var b strings.Builder
				if err := Members(overview.Of("demo", c), SystemID(c.Initialize), format, false).Print(&b, format); err != nil {
					t.Fatal(err)
				}
				golden(t, name+"."+format, b.String())
			})
		}
	}
}

func TestExtendedShowsEveryColumn(t *testing.T) {
	c := Members(overview.Of("demo", clusters()["simple"]), "1", Pretty, true)
	if diff := cmp.Diff(optional, c.columns[len(c.columns)-len(optional):]); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestTopologyKeepsMembersThatFollowEachOther(t *testing.T) {
	follows := func(name, source string) overview.Member {
		return overview.Member{Name: name, Role: "replica", Tags: map[string]any{"replicatefrom": source}}
	}
	var got []string
	for _, m := range topologyOrder([]overview.Member{{Name: "a", Role: "leader"}, follows("b", "c"), follows("c", "b"), follows("d", "d"), follows("e", "gone"), follows("f", "e")}) {
		got = append(got, m.Name)
	}
	if diff := cmp.Diff([]string{"a", "+ d", "+ e", "  + f", "b", "c"}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// golden compares got with a file of testdata/list; -rewrite writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "list", name)
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: want -, got + (-rewrite accepts it):\n%s", file, diff)
	}
}
