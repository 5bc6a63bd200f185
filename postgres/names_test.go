package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
)

func TestSlotName(t *testing.T) {
	for member, want := range map[string]string{
		"Node-1.example.com": "node_1_example_com", "päg": "pu0228g", "a b": "au0032b", "db:1": "dbu00581",
		"PÄG": "pu0228g", "a_b9": "a_b9", "€": "u8364", "😀": "u128512", strings.Repeat("x", 70): strings.Repeat("x", 63),
		strings.Repeat("x", 61) + "€": strings.Repeat("x", 61) + "u8",
	} {
		got := postgres.SlotName(member)
		if got != want || !postgres.ValidSlotName(got) {
			t.Errorf("SlotName(%q) = %q, want %q", member, got, want)
		}
	}
	for _, bad := range []string{"", "A", "a-b", strings.Repeat("x", 64), "ä"} {
		if postgres.ValidSlotName(bad) {
			t.Errorf("ValidSlotName(%q)", bad)
		}
	}
}

// syncVectors are values of synchronous_standby_names, what they mean, and how we write the same.
var syncVectors = []struct {
	text      string
	want      postgres.SyncNames
	canonical string
}{
	{"", postgres.SyncNames{}, ""},
	{"a", sync1("a"), "a"},
	{`"node-1"`, sync1("node-1"), `"node-1"`},
	{"*", sync1("*"), "*"},
	{"b, a", sync1("b", "a"), "1 (a,b)"},
	{"2 (b,a)", postgres.SyncNames{Method: "FIRST", Num: 2, Names: []string{"b", "a"}}, "2 (a,b)"},
	{"first 1 (a)", sync1("a"), "a"},
	{`ANY 1("first","any","A""b",_x$1)`, postgres.SyncNames{Method: "ANY", Num: 1, Names: []string{"first", "any", `A"b`, "_x$1"}}, `ANY 1 ("A""b",_x$1,"any","first")`},
	{"any 2 ( a , b , c )", postgres.SyncNames{Method: "ANY", Num: 2, Names: []string{"a", "b", "c"}}, "ANY 2 (a,b,c)"},
	{"2 (*)", postgres.SyncNames{Method: "FIRST", Num: 2, Names: []string{"*"}}, "2 (*)"},
}

func sync1(names ...string) postgres.SyncNames {
	return postgres.SyncNames{Method: postgres.SyncFirst, Num: 1, Names: names}
}

func TestSyncNames(t *testing.T) {
	for _, tt := range syncVectors {
		got, err := postgres.ParseSyncNames(tt.text)
		if err != nil {
			t.Errorf("ParseSyncNames(%q): %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseSyncNames(%q) (-want +got):\n%s", tt.text, diff)
		}
		if got.String() != tt.canonical {
			t.Errorf("%q is written %q, want %q", tt.text, got, tt.canonical)
		}
	}
	for _, bad := range []string{" ", ",", "a,", "a b", "2 (a", "2 ()", "0 (a)", "few 2 (a)", "ANY (a)", "(a)", "2 a", `"a`, "a-b", "ANY 99999999999999999999 (a)", ")"} {
		if got, err := postgres.ParseSyncNames(bad); err == nil {
			t.Errorf("ParseSyncNames(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]postgres.Version{
		"15.18 (Debian 15.18-0+deb12u1)":                      150018,
		"postgres (PostgreSQL) 17.6 (Debian 17.6-1.pgdg13+1)": 170006,
		"pg_ctl (PostgreSQL) 18.0\n":                          180000,
		"150018":                                              150018, "15\n": 150000, "19beta1": 190000, "19devel": 190000, "18rc1": 180000,
		"9.6.24": 90624, "9.6": 90600, "90624": 90624,
	} {
		if got, err := postgres.ParseVersion(text); err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "15.x", "15.1.2", "9", "15foo", "postgres (PostgreSQL) ", "-15", "1000000", "15..1"} {
		if got, err := postgres.ParseVersion(bad); err == nil {
			t.Errorf("ParseVersion(%q) = %d, want an error", bad, got)
		}
	}
	v := postgres.Version(150018)
	if v.String() != "15.18" || v.Major() != 15 || v.Minor() != 18 || !v.Supported() {
		t.Errorf("version %v, major %d, minor %d, supported %t", v, v.Major(), v.Minor(), v.Supported())
	}
	if old := postgres.Version(90624); old.String() != "9.6.24" || old.Supported() || postgres.Version(190000).Supported() {
		t.Errorf("old version %v, supported %t", old, old.Supported())
	}
}
