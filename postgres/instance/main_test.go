package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shimMark {
		os.Exit(shim(os.Args[2:]))
	}
	if len(os.Args) == 3 && os.Args[1] == wipeMark {
		fmt.Println(wipeUntilKilled(os.Args[2]))
		os.Exit(1)
	}
	pgtest.Guard(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// patience is a safety net on a loaded machine, not a measure.
const patience = 60 * time.Second

// node is an Instance with its own data directory and port; its server is killed when the test ends.
type node struct {
	*Instance
	t      testing.TB
	cfg    Config
	phases []postgres.Phase
}

func needServer(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	return pgtest.BinDir(t)
}

func testConfig(t testing.TB, binDir, name string) Config {
	t.Helper()
	root := t.TempDir()
	socket, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(socket) })
	return Config{
		Name: name, Scope: "demo",
		DataDir: filepath.Join(root, "data"), BinDir: binDir,
		ListenAddresses: "127.0.0.1", Port: pgtest.FreePort(t),
		Superuser:   Credentials{Username: "postgres", Password: "su:per'secret"},
		Replication: Credentials{Username: "replicator", Password: "repl secret"},
		Rewind:      Credentials{Username: "rewinder", Password: "rewind"},
		InitDB:      []string{"--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"},
		Connector:   pgxdriver.Connector{},
		Logger:      slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Settings:    testSettings(socket),
	}
}

func testSettings(socketDir string) postgres.Settings {
	return postgres.Settings{
		Parameters: map[string]string{
			"unix_socket_directories": socketDir, "fsync": "off", "shared_buffers": "16MB", "log_line_prefix": "%p ",
			"wal_keep_size": "64MB",
		},
		Controlled: map[string]string{
			"max_connections": "30", "wal_level": "replica", "hot_standby": "on", "wal_log_hints": "on", "max_wal_senders": "5",
			"max_replication_slots": "5",
		},
		HBA: []string{
			"local all all trust",
			"host all all 127.0.0.1/32 scram-sha-256",
			"host replication replicator 127.0.0.1/32 scram-sha-256",
		},
		UsePgRewind: true, UseSlots: true,
	}
}

// testWriter sends the log of an Instance to the test's.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func newNode(t testing.TB, cfg Config) *node {
	t.Helper()
	i, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	n := &node{Instance: i, t: t, cfg: i.cfg}
	t.Cleanup(n.end)
	return n
}

func (n *node) end() {
	if n.Instance == nil {
		return
	}
	if err := n.Kill("end of test"); err != nil {
		n.t.Errorf("Kill: %v", err)
	}
	if n.t.Failed() {
		if log, err := os.ReadFile(n.cfg.LogFile); err == nil {
			n.t.Logf("log of %s:\n%s", n.cfg.Name, log)
		}
	}
	n.detach()
}

// detach ends the Instance and leaves the server, as the death of an agent does.
func (n *node) detach() {
	if err := n.Close(); err != nil {
		n.t.Errorf("Close: %v", err)
	}
	n.Instance = nil
}

func (n *node) try(task postgres.Task) (postgres.Outcome, error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.phases = nil
	return n.Run(ctx, task, func(p postgres.Phase) { n.phases = append(n.phases, p) })
}

func (n *node) must(task postgres.Task) postgres.Outcome {
	n.t.Helper()
	out, err := n.try(task)
	if err != nil {
		n.t.Fatalf("%s: %v", n.cfg.Name, err)
	}
	return out
}

func (n *node) phase(name postgres.PhaseName) *postgres.Phase {
	for k := range n.phases {
		if n.phases[k].Name == name {
			return &n.phases[k]
		}
	}
	return nil
}

func (n *node) look() postgres.Observation {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return n.Observe(ctx)
}

// eventually looks until ok is content.
func (n *node) eventually(what string, ok func(postgres.Observation) bool) postgres.Observation {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p := pace{next: 2 * time.Millisecond, limit: 50 * time.Millisecond}
	for {
		o := n.look()
		if ok(o) {
			return o
		}
		if !p.wait(ctx, nil) {
			n.t.Fatalf("%s: never saw: %s; last: %+v %+v", n.cfg.Name, what, o, o.SQL)
		}
	}
}

// sql runs a statement as the superuser, over the socket, and returns its rows joined by "|" and newlines.
func (n *node) sql(query string) string {
	n.t.Helper()
	out, err := n.trySQL(query)
	if err != nil {
		n.t.Fatalf("%s: %s: %v", n.cfg.Name, query, err)
	}
	return out
}

func (n *node) trySQL(query string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := n.connect(ctx, longSession)
	if err != nil {
		return "", err
	}
	defer closeConn(conn)
	rows, err := conn.Query(ctx, query)
	var lines []string
	for _, cols := range rows {
		var words []string
		for _, c := range cols {
			if c == nil {
				words = append(words, "NULL")
			} else {
				words = append(words, *c)
			}
		}
		lines = append(lines, strings.Join(words, "|"))
	}
	return strings.Join(lines, "\n"), err
}

func (n *node) upstream() *postgres.Upstream {
	return &postgres.Upstream{Name: n.cfg.Name, Host: "127.0.0.1", Port: n.cfg.Port}
}

// founded is a node that was bootstrapped and opened.
func founded(t testing.TB, cfg Config) *node {
	t.Helper()
	n := newNode(t, cfg)
	n.must(postgres.Task{Kind: postgres.TaskBootstrap})
	n.must(postgres.Task{Kind: postgres.TaskOpen})
	return n
}

// standbyOf is a node that was cloned from up and streams from it.
func standbyOf(t testing.TB, up *node, name string) *node {
	t.Helper()
	n := newNode(t, testConfig(t, up.cfg.BinDir, name))
	n.must(postgres.Task{Kind: postgres.TaskClone, Upstream: up.upstream()})
	n.must(postgres.Task{Kind: postgres.TaskStart, Upstream: up.upstream()})
	n.awaitStreaming()
	return n
}

func (n *node) awaitStreaming() postgres.Observation {
	n.t.Helper()
	return n.eventually("streaming", func(o postgres.Observation) bool {
		return o.SQL != nil && o.SQL.Receiver != nil && o.SQL.Receiver.Status == "streaming"
	})
}

func phaseNames(phases []postgres.Phase) []postgres.PhaseName {
	var names []postgres.PhaseName
	for _, p := range phases {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q lacks %q", err, p)
		}
	}
}

func mustWrite(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}

func testContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

var errStopped = errors.New("stopped by the test")

func (n *node) awaitExit() postgres.Exit {
	n.t.Helper()
	select {
	case e := <-n.Exits():
		return e
	case <-time.After(patience):
		n.t.Fatal("the end of the postmaster was not told")
		return postgres.Exit{}
	}
}
