package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
)

func TestParseBool(t *testing.T) {
	for text, want := range map[string]string{
		"on": "true", "ON": "true", "True": "true", "yes": "true", "1": "true",
		"off": "false", "False": "false", "NO": "false", "0": "false",
		"": "invalid", "t": "invalid", "of": "invalid", "2": "invalid", " on": "invalid",
	} {
		got := "invalid"
		if b, ok := postgres.ParseBool(text); ok {
			got = map[bool]string{true: "true", false: "false"}[b]
		}
		if got != want {
			t.Errorf("ParseBool(%q) is %s, want %s", text, got, want)
		}
	}
}

// intVectors are values with their base units and what PostgreSQL makes of them.
var intVectors = []struct {
	text, unit string
	want       int64
}{
	{"10MB", "B", 10485760}, {"1.5GB", "B", 1610612736}, {"0x10", "", 16}, {"010", "", 8}, {"1e3", "", 1000},
	{"30min", "s", 1800}, {"2.5", "", 2}, {"3.5", "", 4}, {"10kB", "8kB", 1}, {"12kB", "8kB", 2}, {"1d", "s", 86400},
	{"-1", "", -1}, {"+7", "kB", 7}, {"-0x1F", "", -31}, {" 5 ", "", 5}, {"1 GB", "MB", 1024}, {"0", "ms", 0},
	{"0.3GB", "8kB", 307 * 128}, {"1.5kB", "kB", 2}, {"1500us", "ms", 2}, {"2500us", "ms", 2}, {"1.4s", "ms", 1400},
	{".5h", "min", 30}, {"1.", "", 1}, {"1E1kB", "kB", 10}, {"2d", "h", 48}, {"1TB", "8kB", 134217728}, {"0.5", "", 0},
}

var badInts = []struct{ text, unit string }{
	{"abc", ""}, {"", ""}, {"-", ""}, {".", ""}, {"1kB", ""}, {"1kb", "kB"}, {"1s", "kB"}, {"1MB", "ms"}, {"08", ""},
	{"0x", ""}, {"1 2", ""}, {"1e", "kB"}, {"9e99", ""}, {"1MBx", "kB"}, {"--1", ""}, {"1kB", "x8kB"}, {"1kB", "0kB"},
	{"0xFFFFFFFFFFFFFFFFFF", ""}, {"NaN", ""}, {"Inf", ""}, {"1_000", ""},
}

func TestParseInt(t *testing.T) {
	for _, tt := range intVectors {
		if got, ok := postgres.ParseInt(tt.text, tt.unit); !ok || got != tt.want {
			t.Errorf("ParseInt(%q, %q) = %d, %t, want %d", tt.text, tt.unit, got, ok, tt.want)
		}
	}
	for _, tt := range badInts {
		if got, ok := postgres.ParseInt(tt.text, tt.unit); ok {
			t.Errorf("ParseInt(%q, %q) = %d, want none", tt.text, tt.unit, got)
		}
	}
}

func TestFormatGUC(t *testing.T) {
	got, err := postgres.FormatGUC("archive_command", `cp '%p' "C:\wal"`+"\nnext")
	if want := `archive_command = 'cp ''%p'' "C:\\wal"\nnext'`; err != nil || got != want {
		t.Errorf("FormatGUC = %s, %v, want %s", got, err, want)
	}
	for name, value := range map[string]string{"": "1", "a b": "1", "x\n": "1", "1a": "1", "a.": "1", ".a": "1", "a-b": "1", "ok": "a\x00b"} {
		if line, err := postgres.FormatGUC(name, value); err == nil {
			t.Errorf("FormatGUC(%q, %q) = %q, want an error", name, value, line)
		}
	}
	if !postgres.ValidGUCName("pg_stat_statements.max") || !postgres.ValidGUCName("a$1") {
		t.Error("a good name was refused")
	}
}

func TestControlledValues(t *testing.T) {
	defaults := map[string]string{
		"wal_level": "replica", "hot_standby": "on", "max_connections": "100", "max_wal_senders": "10",
		"max_prepared_transactions": "0", "max_locks_per_transaction": "64", "track_commit_timestamp": "off",
		"max_replication_slots": "10", "max_worker_processes": "8", "wal_log_hints": "on", "wal_keep_size": "128MB",
	}
	tests := []struct {
		name     string
		given    map[string]string
		changed  map[string]string
		warnings string
	}{
		{"nothing", nil, nil, ""},
		{"not controlled", map[string]string{"work_mem": "64MB"}, nil, ""},
		{"good values", map[string]string{"max_connections": "0x100", "WAL_LEVEL": "Logical", "hot_standby": "yes", "wal_log_hints": "0", "wal_keep_size": "1GB"},
			map[string]string{"max_connections": "256", "wal_level": "logical", "wal_log_hints": "off", "wal_keep_size": "1024MB"}, ""},
		{"old name of a level", map[string]string{"wal_level": "hot_standby"}, nil, ""},
		{"below the least", map[string]string{"max_connections": "24", "max_wal_senders": "2", "max_replication_slots": "3", "max_worker_processes": "1", "max_locks_per_transaction": "31", "max_prepared_transactions": "-1", "wal_keep_size": "15MB"},
			nil, "max_connections max_wal_senders max_prepared_transactions max_locks_per_transaction max_replication_slots max_worker_processes wal_keep_size"},
		{"at the least", map[string]string{"max_connections": "25", "wal_keep_size": "16"}, map[string]string{"max_connections": "25", "wal_keep_size": "16MB"}, ""},
		{"unusable", map[string]string{"max_connections": "many", "hot_standby": "off", "wal_level": "minimal", "track_commit_timestamp": "maybe"},
			nil, "wal_level hot_standby max_connections track_commit_timestamp"},
		{"the agent's own", map[string]string{"port": "1", "listen_addresses": "*", "cluster_name": "x"}, nil, "listen_addresses port cluster_name"},
		{"segments", map[string]string{"wal_keep_segments": "64"}, map[string]string{"wal_keep_size": "1024MB"}, ""},
		{"segments beside size", map[string]string{"wal_keep_segments": "64", "wal_keep_size": "32MB"}, map[string]string{"wal_keep_size": "32MB"}, ""},
		{"no segments", map[string]string{"wal_keep_segments": "0"}, nil, "wal_keep_segments"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := map[string]string{}
			for k, v := range defaults {
				want[k] = v
			}
			for k, v := range tt.changed {
				want[k] = v
			}
			got, err := postgres.ControlledValues(tt.given)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			var warned []string
			if err != nil {
				for line := range strings.SplitSeq(err.Error(), "\n") {
					name, _, _ := strings.Cut(line, ":")
					warned = append(warned, name)
				}
			}
			if got := strings.Join(warned, " "); got != tt.warnings {
				t.Errorf("warnings about %q, want %q (%v)", got, tt.warnings, err)
			}
		})
	}
	if !postgres.IsControlled("Max_Connections") || !postgres.IsControlled("wal_keep_segments") || postgres.IsControlled("work_mem") {
		t.Error("IsControlled is wrong")
	}
}
