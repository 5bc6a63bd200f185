package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
)

// controlText is what pg_controldata 15 prints, shortened by lines that nobody reads.
const controlText = `pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7710745670633522941
Database cluster state:               shut down in recovery
pg_control last modified:             Sat Nov 21 21:51:18 2026
Latest checkpoint location:           0/1500718
Latest checkpoint's REDO location:    0/1500718
Latest checkpoint's REDO WAL file:    000000010000000000000001
Latest checkpoint's TimeLineID:       3
Latest checkpoint's PrevTimeLineID:   2
Latest checkpoint's oldestCommitTsXid:0
Time of latest checkpoint:            Sat Nov 21 21:51:18 2026
Minimum recovery ending location:     1A/2B3C4D58
Min recovery ending loc's timeline:   4
Backup start location:                0/15006E0
Backup end location:                  0/1500900
End-of-backup record required:        yes
wal_level setting:                    replica
wal_log_hints setting:                on
max_connections setting:              101
max_worker_processes setting:         9
max_wal_senders setting:              11
max_prepared_xacts setting:           2
max_locks_per_xact setting:           65
Database block size:                  8192
WAL block size:                       8192
Bytes per WAL segment:                16777216
Data page checksum version:           1
Mock authentication nonce:            be1552bc30bcabadcdba987677fcfa7f7bb93a664b63650235c99d5f73b47bc3
`

func TestParseControlData(t *testing.T) {
	got, err := postgres.ParseControlData(controlText)
	if err != nil {
		t.Fatal(err)
	}
	want := postgres.Control{
		SystemID: "7710745670633522941", State: postgres.ControlShutDownInRecovery, Timeline: 3, Checkpoint: 0x1500718,
		MinRecoveryEnd: 0x1A_2B3C4D58, MinRecoveryTimeline: 4, BackupStart: 0x15006E0, BackupEnd: 0x1500900, BackupEndRequired: true, Checksums: true, WALLogHints: true,
		MaxConnections: 101, MaxWorkerProcesses: 9, MaxWALSenders: 11, MaxPreparedXacts: 2, MaxLocksPerXact: 65,
		CatalogVersion: 202209061, WALSegmentSize: 16 << 20,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("control data (-want +got):\n%s", diff)
	}
}

func TestParseControlDataRefuses(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"nothing", controlText, "", "no such line (hint: run pg_controldata with LC_ALL=C)"},
		{"another language", "Database cluster state:", "Datenbank-Cluster-Status:", `"Database cluster state": no such line`},
		{"unknown state", "shut down in recovery", "unrecognized status code", `unknown state "unrecognized status code"`},
		{"wrong checksum, on standard output", "pg_control version", "WARNING: Calculated CRC checksum does not match value stored in file.\npg_control version", "pg_control is damaged"},
		{"wrong checksum, on standard error", "pg_control version", "pg_controldata: warning: calculated CRC checksum does not match value stored in control file\npg_control version", "pg_control is damaged"},
		{"not a number", "101", "many", `"max_connections setting"`},
		{"not a position", "1A/2B3C4D58", "here", `"Minimum recovery ending location"`},
		{"not a switch", "wal_log_hints setting:                on", "wal_log_hints setting: yes", "neither on nor off"},
		{"page size", "WAL block size:                       8192", "WAL block size: 16384", "16384 is not supported"},
		{"segment size", "16777216", "16777217", "not a power of two"},
		{"several at once", "setting:", "setting;", `"max_locks_per_xact setting"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := postgres.ParseControlData(strings.ReplaceAll(controlText, tt.old, tt.new))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}
