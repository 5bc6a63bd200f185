package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/internal/sysfault"
	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

// TestWipeInterrupted kills an agent in the middle of a wipe (safety 13): what it leaves is never started, whatever still stands of it, and
// is cloned anew (safety 15).
func TestWipeInterrupted(t *testing.T) {
	binDir := needServer(t)
	t.Run("in a tablespace", func(t *testing.T) {
		from, to := t.TempDir(), t.TempDir()
		a := founded(t, testConfig(t, binDir, "a"))
		a.sql("CREATE TABLESPACE elsewhere LOCATION '" + from + "'")
		a.sql("CREATE TABLE public.far TABLESPACE elsewhere AS SELECT 42 AS n")
		cfg := testConfig(t, binDir, "b")
		cfg.Settings.BaseBackup = []string{"--tablespace-mapping=" + from + "=" + to}
		b := newNode(t, cfg)
		b.must(postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()})
		b.must(postgres.Task{Kind: postgres.TaskStart, Upstream: a.upstream()})
		b.must(postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate})
		had := countFiles(t, to)
		b.killedInWipe()
		if has := countFiles(t, to); had == 0 || has != 0 || !exists(b.controlPath()) {
			t.Fatalf("it did not end while it emptied the tablespace of %d files: %d are left", had, has)
		}
		b.isUnfinished(postgres.TaskWipe)
		b.must(postgres.Task{Kind: postgres.TaskClone, Upstream: a.upstream()})
		b.must(postgres.Task{Kind: postgres.TaskStart, Upstream: a.upstream()})
		b.eventually("the table in the tablespace", func(postgres.Observation) bool { return b.sql("SELECT n FROM public.far") == "42" })
		if exists(b.markerPath()) {
			t.Error("the marker is still there")
		}
	})
	for _, c := range []struct {
		name   string
		before *marker
		want   postgres.TaskKind
	}{
		{"in the data directory", nil, postgres.TaskWipe},
		{"of a clone that has never run", &marker{Work: postgres.TaskClone, Whole: true}, postgres.TaskWipe},
		{"of what an interrupted bootstrap left", &marker{Work: postgres.TaskBootstrap}, postgres.TaskBootstrap}, // else nobody may found a cluster in its place
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, testConfig(t, binDir, "b"))
			for _, name := range []string{"PG_VERSION", "base/1/PG_VERSION", "global/pg_control"} {
				mustWrite(t, filepath.Join(n.cfg.DataDir, name), itoa(n.major)+"\n")
			}
			if c.before != nil {
				if err := n.writeMarker(*c.before); err != nil {
					t.Fatal(err)
				}
			}
			n.killedInWipe()
			if exists(n.cfg.DataDir+"/PG_VERSION") || !exists(n.controlPath()) {
				t.Fatal("it did not end in the middle")
			}
			n.isUnfinished(c.want)
			n.must(postgres.Task{Kind: postgres.TaskWipe})
			if o := n.look(); o.DataDir != postgres.DataDirEmpty || exists(n.markerPath()) {
				t.Errorf("after the next wipe: %+v", o)
			}
		})
	}
}

// isUnfinished says that the data directory is not whole, and cannot be started.
func (n *node) isUnfinished(what postgres.TaskKind) {
	n.t.Helper()
	if o := n.look(); o.DataDir != postgres.DataDirUnfinished || o.Unfinished != what {
		n.t.Errorf("after the wipe was interrupted: %+v", o)
	}
	for _, start := range []postgres.Task{{Kind: postgres.TaskStart}, {Kind: postgres.TaskStart, AsPrimary: true}} {
		if _, err := n.try(start); err == nil {
			n.t.Fatalf("it was started: %+v", start)
		}
	}
}

func countFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const wipeMark = "wipe-until-killed"

// killedInWipe hands the data directory to another process, which dies while it wipes it, and takes it over from that.
func (n *node) killedInWipe() {
	n.t.Helper()
	cfg := n.cfg
	n.detach()
	order, err := json.Marshal(wipeOrder{DataDir: cfg.DataDir, BinDir: cfg.BinDir, Port: cfg.Port})
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", wipeMark, string(order))
	out, err := cmd.CombinedOutput()
	var died *exec.ExitError
	if !errors.As(err, &died) || died.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
		n.t.Fatalf("the wipe was not killed, but ended by %v: %s", err, out)
	}
	if n.Instance, err = New(cfg); err != nil {
		n.t.Fatal(err)
	}
}

type wipeOrder struct {
	DataDir, BinDir string
	Port            int
}

// wipeUntilKilled is that process. A folder is emptied before it is removed, and the first removal inside of another folder kills us.
func wipeUntilKilled(order string) error {
	var o wipeOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return err
	}
	i, err := New(Config{
		Name: "b", Scope: "demo", DataDir: o.DataDir, BinDir: o.BinDir, ListenAddresses: "127.0.0.1", Port: o.Port,
		Superuser: Credentials{Username: "postgres"}, Replication: Credentials{Username: "replicator"}, Connector: pgxdriver.Connector{},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	cwd := uint32(unix.AT_FDCWD & 0xffffffff)
	err = sysfault.Install(sysfault.Rule{Call: unix.SYS_UNLINKAT, Match: []sysfault.Argument{
		{Index: 2, Value: unix.AT_REMOVEDIR}, {Index: 0, Value: cwd, Not: true}, // os.RemoveAll first tries, by its full name, whether it is empty
	}})
	if err != nil {
		return err
	}
	if err := i.wipe(context.Background(), postgres.Task{Kind: postgres.TaskWipe}); err != nil {
		return fmt.Errorf("not killed, but: %w", err)
	}
	return errors.New("not killed")
}
