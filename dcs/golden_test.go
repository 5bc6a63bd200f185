package dcs_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/memory"
)

// goldens reads the files below testdata/layout/dir of dcstest: keys and their values.
func goldens(t *testing.T, dir string) map[string]string {
	t.Helper()
	root, all := filepath.Join("dcstest/testdata/layout", dir), map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		key, _ := filepath.Rel(root, path)
		all[key] = strings.TrimSuffix(string(b), "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func pairs(values map[string]string) (all []string) {
	for _, k := range slices.Sorted(maps.Keys(values)) {
		all = append(all, k, values[k])
	}
	return all
}

// TestGoldenPatroni decodes what Patroni 4.1 writes, without a word of complaint, and writes the same bytes for the same content.
func TestGoldenPatroni(t *testing.T) {
	values := goldens(t, "patroni")
	c := cluster(pairs(values)...)
	if len(c.Problems) > 0 {
		t.Fatalf("problems: %q", c.Problems)
	}
	if c.Initialize.SystemID != values["initialize"] || c.Leader.Name != values["leader"] || c.Status.Optime != 50331976 || c.History.Timeline() != 3 {
		t.Errorf("decoded %+v", c)
	}
	encoded := map[string]any{
		"members/n1": c.Members[0].Data, "members/n2": c.Members[1].Data, "status": c.Status, "failover": c.Failover,
		"history": c.History, "sync": c.Sync, "failsafe": c.Failsafe, "config": c.Config.Raw,
	}
	for key, value := range values {
		got := value // plain text
		if v, ok := encoded[key]; ok {
			b, err := dcs.Marshal(v)
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
			got = string(b)
		} else if strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[") {
			t.Errorf("%s is not compared", key)
		}
		if got != value {
			t.Errorf("%s\n got %s\nwant %s", key, got, value)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s is not ASCII", key)
		}
	}
	for key, value := range goldens(t, "tanist") {
		c := cluster(key, value)
		if len(c.Problems) > 0 {
			t.Errorf("%s: problems %q", key, c.Problems)
		}
		if key == "tanist" && c.Reserved.Timeline != 3 {
			t.Errorf("reserved: %+v", c.Reserved)
		}
	}
}

// TestGoldenLegacy decodes what earlier versions of Patroni wrote, and the spellings of "nothing".
func TestGoldenLegacy(t *testing.T) {
	n1 := dcs.MemberData{ConnURL: "postgres://10.1.0.10:5432/postgres", APIURL: "http://10.1.0.10:8008/patroni"}
	before4 := n1
	before4.State, before4.Role, before4.Version, before4.XLogLocation, before4.Timeline = dcs.StateRunning, dcs.RolePrimary, "3.3.0", 50331976, 3
	switched := dcs.HistoryLine{Timeline: 1, LSN: 50331808, Reason: "no recovery target specified"}
	dated := switched
	dated.Timestamp = "2026-03-01T10:11:12.131415+00:00"
	want := map[string]dcs.Cluster{
		"members/n1.before-1.0":     {Members: []dcs.Member{{Name: "n1", Data: n1}}},
		"members/n1.before-4":       {Members: []dcs.Member{{Name: "n1", Data: before4}}},
		"status.bare":               {Status: dcs.Status{Optime: 50331976}},
		"optime/leader.before-2.1":  {Status: dcs.Status{Optime: 50331976}},
		"failover.before-1.0":       {Failover: &dcs.Failover{Leader: "n1", Candidate: "n2"}},
		"failover.empty":            {},
		"sync.without-quorum":       {Sync: &dcs.Sync{Leader: "n1", Standby: "n2"}},
		"sync.off":                  {},
		"sync.emptied-in-zookeeper": {},
		"history.before-1.6":        {History: dcs.History{switched}},
		"history.before-2.0":        {History: dcs.History{dated}},
		"initialize.bootstrapping":  {Initialize: &dcs.Initialize{}},
	}
	values := goldens(t, "legacy")
	for name, value := range values {
		key, _, _ := strings.Cut(name, ".")
		got := cluster(key, value)
		w, ok := want[name]
		if !ok {
			t.Errorf("%s: nobody says what it means", name)
		}
		blind := cmp.FilterPath(func(p cmp.Path) bool { // where it was read does not matter here
			switch p.Last().String() {
			case ".Version", ".StoreID", ".Meta", ".Entry", ".HistoryVersion":
				return p.String() != "Members.Data.Version"
			}
			return false
		}, cmp.Ignore())
		if diff := cmp.Diff(w, got, blind); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(values) != len(want) {
		t.Errorf("%d files, %d meanings", len(values), len(want))
	}
}

// TestLayout holds the client on a store in memory to the golden files; the real stores have tests of the same name.
func TestLayout(t *testing.T) {
	store := memory.New(memory.Options{})
	dcstest.Layout(t, store.Backend(), nil, func(t testing.TB, folder string) map[string]dcstest.Stored {
		snap, err := store.Backend().Read(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]dcstest.Stored{}
		for _, e := range snap.Entries {
			all[e.Key] = dcstest.Stored{Value: string(e.Value), Bound: e.Session != ""}
		}
		return all
	})
}

// TestGoldenTime: the time of a scheduled switchover in each spelling that Patroni or its users write.
func TestGoldenTime(t *testing.T) {
	at := time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)
	for _, text := range []string{"2026-03-01T12:00:00+01:00", "2026-03-01 12:00+01", "2026-03-01T11:00:00Z", "2026-03-01T12:00:00.000000+0100"} {
		value, _ := json.Marshal(map[string]string{"leader": "n1", "scheduled_at": text})
		if f := cluster("failover", string(value)).Failover; f == nil || f.ScheduledAt == nil || !f.ScheduledAt.Equal(at) {
			t.Errorf("%s is read as %+v", text, f)
		}
	}
}
