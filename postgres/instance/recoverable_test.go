package instance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tanist-ha/tanist/postgres"
)

// TestStrayHistory starts a standby on which the history of a branch was left that is not its own: PostgreSQL would not find its checkpoint, and ask
// its upstream for it for ever.
func TestStrayHistory(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	if err := a.Kill("the host is lost"); err != nil {
		t.Fatal(err)
	}
	b.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 2})
	b.must(postgres.Task{Kind: postgres.TaskStop})
	for _, history := range []string{"1\t0/1000000\tbranched before\n", "1\t0/1000000\tbranched before\n2\t0/1000060\tand again\n"} {
		mustWrite(t, b.historyPath(3), history)
		_, err := b.try(postgres.Task{Kind: postgres.TaskStart, Upstream: a.upstream()})
		wantError(t, err, "timeline 3 is not a child of this server's history", "cloned anew")
	}
	control, err := b.readControl(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	base := b.confPath(".base.conf")
	own, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, base, string(own)+"\nrestore_command = 'cp /an/archive/%f %p'\n")
	if err := b.checkWay(t.Context(), control); err != nil {
		t.Errorf("with an archive that the operator has named in a file of his own: %v", err)
	}
	mustWrite(t, base, string(own))
	mustWrite(t, b.historyPath(3), "1\t0/1000000\tbranched before\n2\tF/0\tlater\n")
	b.must(postgres.Task{Kind: postgres.TaskStart, Upstream: a.upstream()})
}

// TestRewoundWithoutItsLog rewinds a server from a primary that was cloned after the two had parted, and does not have the log from there on.
func TestRewoundWithoutItsLog(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	c := standbyOf(t, a, "c")
	c.must(postgres.Task{Kind: postgres.TaskStop})
	a.sql("CREATE TABLE public.later (n int)")
	b := standbyOf(t, a, "b") // its log begins behind that of c
	c.must(postgres.Task{Kind: postgres.TaskStart})
	c.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 2})
	c.must(postgres.Task{Kind: postgres.TaskStop})
	a.must(postgres.Task{Kind: postgres.TaskStop})
	b.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 3})
	b.must(postgres.Task{Kind: postgres.TaskCheckpoint})
	_, err := c.try(postgres.Task{Kind: postgres.TaskRewind, Upstream: b.upstream()})
	wantError(t, err, "neither here nor on the source", "made anew")
	if o := c.look(); o.DataDir != postgres.DataDirUnfinished || o.Unfinished != postgres.TaskRewind {
		t.Errorf("after the rewind: %+v", o)
	}
}

// TestNeverConsistent recovers and rewinds a rewound server before it has ever run.
func TestNeverConsistent(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	if err := a.Kill("the host is lost"); err != nil {
		t.Fatal(err)
	}
	b.must(postgres.Task{Kind: postgres.TaskPromote, Timeline: 2})
	b.must(postgres.Task{Kind: postgres.TaskCheckpoint})
	a.must(postgres.Task{Kind: postgres.TaskRewind, Upstream: b.upstream()})
	_, err := a.try(postgres.Task{Kind: postgres.TaskRecover})
	wantError(t, err, "never consistent")
	if o := a.look(); o.DataDir != postgres.DataDirReady || !o.NeverConsistent {
		t.Errorf("after the refused recovery: %+v", o)
	}
	made, err := os.ReadFile(a.markerPath())
	if err != nil {
		t.Fatal(err)
	}
	mustRemove(t, a.markerPath()) // as if an operator had made the copy
	_, err = a.try(postgres.Task{Kind: postgres.TaskRewind, Upstream: b.upstream()})
	wantError(t, err, "never consistent", "left alone")
	if o := a.look(); o.DataDir != postgres.DataDirReady {
		t.Errorf("after the refused rewind of what was not made here: %+v", o)
	}
	mustWrite(t, a.markerPath(), string(made))
	_, err = a.try(postgres.Task{Kind: postgres.TaskRewind, Upstream: b.upstream()})
	wantError(t, err, "never consistent", "made anew")
	if o := a.look(); o.DataDir != postgres.DataDirUnfinished {
		t.Errorf("after the refused rewind: %+v", o)
	}
	mustWrite(t, a.markerPath(), string(made))
	a.must(postgres.Task{Kind: postgres.TaskStart, Upstream: b.upstream()})
	if o := a.look(); o.NeverConsistent {
		t.Errorf("after it has become consistent: %+v", o)
	}
}

// TestBackupLabels tells a copy from a primary that crashed during an exclusive backup, as there could be up to 14: that is whole, and may be the
// only one that has its last rows.
func TestBackupLabels(t *testing.T) {
	i := &Instance{cfg: Config{DataDir: t.TempDir()}}
	label := func(method string) string {
		return "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: " + method + "\nBACKUP FROM: primary\n"
	}
	for _, tt := range []struct {
		name, label string
		control     postgres.Control
		want        bool
	}{
		{"none", "", postgres.Control{}, false},
		{"base backup", label("streamed"), postgres.Control{}, true},
		{"pg_rewind", label("pg_rewind"), postgres.Control{}, true},
		{"exclusive backup", label("pg_start_backup"), postgres.Control{}, false},
		{"base backup, started", "", postgres.Control{BackupStart: 1, BackupEndRequired: true}, true},
		{"pg_rewind, or a backup of a standby, started", "", postgres.Control{BackupStart: 1, BackupEnd: 2}, true},
		{"exclusive backup, crashed again while it recovered", "", postgres.Control{BackupStart: 1}, false},
	} {
		mustWrite(t, filepath.Join(i.cfg.DataDir, "backup_label"), tt.label)
		if tt.label == "" {
			mustRemove(t, filepath.Join(i.cfg.DataDir, "backup_label"))
		}
		if got, err := i.neverConsistent(&tt.control); err != nil || got != tt.want {
			t.Errorf("%s: never consistent %v (%v), want %v", tt.name, got, err, tt.want)
		}
	}
}

func mustRemove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
