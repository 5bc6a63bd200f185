package instance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
)

func TestBootstrapStaysClosedUntilOpened(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	cfg.BootstrapUsers = []User{{Name: "admin", Password: "admin", Options: []string{"createrole", "createdb"}}}
	script := filepath.Join(filepath.Dir(cfg.DataDir), "post.sh")
	mustWrite(t, script, "#!/bin/sh\nexec "+cfg.BinDir+"/psql -X -d \"$1\" -c 'CREATE TABLE made (n int)'\n")
	cfg.PostBootstrap = script
	n := newNode(t, cfg)

	if got := n.look().DataDir; got != postgres.DataDirEmpty {
		t.Fatalf("data directory is %s", got)
	}
	out := n.must(postgres.Task{Kind: postgres.TaskBootstrap})
	o := n.look()
	if !o.Closed || o.SQL == nil || o.SQL.InRecovery || o.Accepting != postgres.AcceptingYes {
		t.Fatalf("after bootstrap: %+v, SQL %+v", o, o.SQL)
	}
	if out.SystemID == "" || out.SystemID != o.Control.SystemID || o.SQL.Timeline != 1 || o.SQL.Flush == 0 {
		t.Errorf("outcome %+v, observation %+v %+v", out, o.Control, o.SQL)
	}
	login := func() error {
		ctx, cancel := testContext()
		defer cancel()
		conn, err := n.cfg.Connector.Connect(ctx, postgres.ConnectParams{
			Conninfo: Credentials{Username: "admin", Password: "admin"}.conninfo("127.0.0.1", cfg.Port, "postgres"),
		})
		if err == nil {
			closeConn(conn)
		}
		return err
	}
	if code := serverCode(login()); code != postgres.CodeInvalidAuth {
		t.Fatalf("a client at the closed server: %v", login())
	}
	n.must(postgres.Task{Kind: postgres.TaskOpen})
	if err := login(); err != nil {
		t.Fatalf("a client at the open server: %v", err)
	}
	if n.look().Closed {
		t.Error("still closed")
	}
	got := n.sql("SELECT rolname, rolcreatedb, rolreplication FROM pg_roles WHERE rolname IN ('admin', 'replicator', 'rewinder') ORDER BY 1")
	if diff := cmp.Diff("admin|t|f\nreplicator|f|t\nrewinder|f|f", got); diff != "" {
		t.Error(diff)
	}
	if got := n.sql("SELECT count(*) FROM public.made"); got != "0" {
		t.Errorf("table of post_bootstrap: %s", got)
	}
	if got := n.sql("SELECT has_function_privilege('rewinder', 'pg_read_binary_file(text)', 'execute')"); got != "t" {
		t.Error("the rewind role lacks its grants")
	}
	if log, _ := os.ReadFile(n.cfg.LogFile); strings.Contains(string(log), "secret") {
		t.Error("a password is in the server's log")
	}
	_, err := n.try(postgres.Task{Kind: postgres.TaskBootstrap})
	wantError(t, err, "not empty")
}

func TestBootstrapFailure(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	cfg.PostBootstrap = "sh -c 'echo no such luck; exit 3'"
	n := newNode(t, cfg)
	_, err := n.try(postgres.Task{Kind: postgres.TaskBootstrap})
	wantError(t, err, "post_bootstrap", "exit status 3", "no such luck")
	if o := n.look(); o.DataDir != postgres.DataDirUnfinished || o.Unfinished != postgres.TaskBootstrap || !o.Closed {
		t.Errorf("after a failed bootstrap: %+v", o)
	}
	n.must(postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate})
	n.must(postgres.Task{Kind: postgres.TaskWipe, Rename: true})
	if o := n.look(); o.DataDir != postgres.DataDirEmpty {
		t.Errorf("after the wipe: %+v", o)
	}
	if !exists(n.cfg.DataDir + ".failed/PG_VERSION") {
		t.Error("the failed directory was not kept")
	}
}

func TestBootstrapWithInitdbsAccessRules(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	cfg.Settings.HBA = nil
	cfg.BootstrapHBA = []string{"host replication replicator 127.0.0.1/32 scram-sha-256"}
	n := founded(t, cfg)
	raw, err := os.ReadFile(n.hbaPath())
	if err != nil {
		t.Fatal(err)
	}
	if s := string(raw); !strings.Contains(s, cfg.BootstrapHBA[0]) || !strings.Contains(s, "127.0.0.1/32            scram-sha-256") || strings.HasPrefix(s, closedMark) {
		t.Errorf("pg_hba.conf:\n%s", s)
	}
}

func TestOpenRefusesBrokenAccessRules(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	cfg.Settings.HBA = []string{"host all all nonsense"}
	n := newNode(t, cfg)
	n.must(postgres.Task{Kind: postgres.TaskBootstrap})
	_, err := n.try(postgres.Task{Kind: postgres.TaskOpen})
	wantError(t, err, "pg_hba.conf has an error", "line 2")
	if !n.look().Closed {
		t.Error("the server counts as open")
	}
}
