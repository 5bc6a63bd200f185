package instance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/postgres"
)

// outside names a program outside of BinDir for BinNames.
func outside(path string) string { return strings.Repeat("../", 12) + path }

// TestDebianLayout keeps the configuration outside of the data directory, the socket inside, and has a base configuration
// that names another data directory, as Debian's does.
func TestDebianLayout(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	cfg.ConfigDir = filepath.Join(t.TempDir(), "etc")
	mustWrite(t, cfg.ConfigDir+"/postgresql.conf", "data_directory = '/var/lib/elsewhere'\nwork_mem = '7MB'\n")
	cfg.Settings.Parameters["unix_socket_directories"] = "."
	n := newNode(t, cfg)
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if len(cfg.DataDir) > 80 {
		t.Skip("the temporary folder's name is too long for a socket")
	}
	n.must(postgres.Task{Kind: postgres.TaskBootstrap})
	n.must(postgres.Task{Kind: postgres.TaskOpen})
	if got := n.sql("SELECT current_setting('work_mem'), current_setting('hba_file')"); got != "7MB|"+cfg.ConfigDir+"/pg_hba.conf" {
		t.Errorf("settings: %s", got)
	}
	b := newNode(t, testConfig(t, cfg.BinDir, "b"))
	b.must(postgres.Task{Kind: postgres.TaskClone, Upstream: n.upstream()})
	b.must(postgres.Task{Kind: postgres.TaskStart, Upstream: n.upstream()})
	b.awaitStreaming()
}

func TestGates(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	b := standbyOf(t, a, "b")
	s := b.settings
	s.PrePromote = "sh -c 'echo not today; exit 1'"
	out := filepath.Join(t.TempDir(), "out")
	s.BeforeStop = "sh -c 'echo stopping > " + out + "; exit 1'"
	if err := b.Configure(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	_, err := b.try(postgres.Task{Kind: postgres.TaskPromote})
	wantError(t, err, "pre_promote refused", "not today")
	if len(b.phases) != 0 || !b.look().SQL.InRecovery {
		t.Error("promoted against the gate")
	}
	if err := b.EnsureSlots(t.Context(), []string{"c"}); err != nil {
		t.Errorf("slots on a standby: %v", err)
	}
	if out := b.must(postgres.Task{Kind: postgres.TaskStop}); !out.Clean || out.End != 0 {
		t.Errorf("stop of a standby: %+v", out)
	}
	if raw, _ := os.ReadFile(out); string(raw) != "stopping\n" {
		t.Errorf("before_stop left %q", raw)
	}
	_, err = a.try(postgres.Task{Kind: postgres.TaskPromote})
	wantError(t, err, "not a running standby", "in production")
}

// TestDiskFull lets pg_basebackup fail in the middle, as a full disk does.
func TestDiskFull(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	a.sql("CREATE TABLE public.bulk AS SELECT g, repeat('x', 500) AS filler FROM generate_series(1, 5000) g")
	cfg := testConfig(t, a.cfg.BinDir, "b")
	script := filepath.Join(t.TempDir(), "pg_basebackup")
	mustWrite(t, script, "#!/bin/sh\ntrap '' XFSZ\nulimit -f 1000\nexec "+cfg.BinDir+"/pg_basebackup \"$@\"\n")
	cfg.BinNames = map[string]string{"pg_basebackup": outside(script)}
	b := newNode(t, cfg)
	_, err := b.try(postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()})
	wantError(t, err, "copy from a", "could not open write-ahead log file")
	if o := b.look(); o.DataDir != postgres.DataDirEmpty || exists(b.markerPath()) {
		t.Errorf("after the failure: %+v", o)
	}
}

func TestWrongPassword(t *testing.T) {
	a := founded(t, testConfig(t, needServer(t), "a"))
	cfg := testConfig(t, a.cfg.BinDir, "b")
	cfg.Replication.Password = "wrong"
	b := newNode(t, cfg)
	_, err := b.try(postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()})
	wantError(t, err, "copy from a", "password authentication failed")
	_, err = b.try(postgres.Task{Kind: postgres.TaskLineage, Upstream: a.upstream()})
	wantError(t, err, "connect to a for replication", "28P01")
}
