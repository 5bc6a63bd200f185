package instance

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

func TestParsePidFile(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want *pidFile
	}{
		"whole": {
			"4711\n/data\n1762000000\n5432\n/run/postgresql\n127.0.0.1\n  1234567     98304\nready   \n",
			&pidFile{pid: 4711, dataDir: "/data", port: 5432, socketDir: "/run/postgresql", listen: "127.0.0.1", shmKey: 1234567, shmID: 98304, status: "ready"},
		},
		"negative key, no socket": {
			"4711\n/data\n1762000000\n5432\n\n*\n18446744071562067968 5\nstandby \n",
			&pidFile{pid: 4711, dataDir: "/data", port: 5432, listen: "*", shmKey: -2147483648, shmID: 5, status: "standby"},
		},
		"half written": {"4711\n/data\n", &pidFile{pid: 4711, dataDir: "/data", shmID: -1}},
		"single user":  {"-4711\n/data\n", &pidFile{pid: 4711, standalone: true, dataDir: "/data", shmID: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parsePidFile(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(pidFile{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, bad := range []string{"", "x\n", "0\n"} {
		if _, err := parsePidFile(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSplitCommand(t *testing.T) {
	for in, want := range map[string][]string{
		`/bin/x a  b`:            {"/bin/x", "a", "b"},
		`x 'a b' "c \" d" e\ f`:  {"x", "a b", `c " d`, "e f"},
		`x '' "a\b" 'it'"'"'s'`:  {"x", "", `a\b`, "it's"},
		"  ":                     nil,
		`aws s3 "cp" --x='1 2'3`: {"aws", "s3", "cp", "--x=1 23"},
	} {
		got, err := splitCommand(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for _, bad := range []string{`x 'a`, `x "a`, `x \`} {
		if _, err := splitCommand(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestProcessHandle(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, err := openProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.wait(ctx); err == nil {
		t.Error("wait returned before the end of the process")
	}
	if filepath.Base(executable(h.pid)) != "sleep" {
		t.Errorf("executable %q", executable(h.pid))
	}
	if err := h.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second, err := openProcess(h.pid)
	if err == nil {
		defer second.close()
		if err := second.wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := reap(h.pid, cmd.Process); got != "signal: killed" {
		t.Errorf("reaped as %q", got)
	}
	if h.alive() {
		t.Error("a reaped process counts as alive")
	}
}

func TestChildren(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 600 & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		_ = cmd.Wait()
	}()
	ctx, cancel := testContext()
	defer cancel()
	look := pace{next: time.Millisecond, limit: 10 * time.Millisecond}
	for len(children(cmd.Process.Pid)) != 1 {
		if !look.wait(ctx, nil) {
			t.Fatalf("children %v", children(cmd.Process.Pid))
		}
	}
}

func TestWaitByLooking(t *testing.T) {
	cmd := exec.Command("sleep", "0.1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := readProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	h := &processHandle{pid: p.pid, start: p.start} // as on a kernel without pidfd_open
	if err := h.wait(t.Context()); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

func TestTitles(t *testing.T) {
	for title, want := range map[string]bool{
		"postgres: checkpointer ":                                               true,
		"postgres: checkpointer performing shutdown checkpoint":                 true,
		"postgres: demo: walsender replicator 127.0.0.1(1) streaming 0/3000148": true,
		"postgres: demo: walsender postgres app [local] idle":                   true,
		"postgres: demo: archiver last was 00000001":                            true,
		"postgres: io worker 1":                                                 true,
		"postgres: demo: postgres app [local] idle":                             false,
		"postgres: checkpointer app [local] COMMIT":                             false, // a role of that name
		"postgres: walsender app [local] COMMIT":                                false,
		"/usr/bin/postgres -D /data":                                            false,
	} {
		if got, _ := dutyAtStop(title, "demo"); got != want {
			t.Errorf("%q quiet: %v, want %v", title, got, want)
		}
	}
}

func TestLadder(t *testing.T) {
	now := time.Unix(1000, 0)
	if l := newLadder(postgres.StopFast, now, 9*time.Second); l.first != unix.SIGINT || l.quit.Sub(now) != 6*time.Second || l.kill.Sub(now) != 9*time.Second {
		t.Errorf("%+v", l)
	}
	if l := newLadder(postgres.StopFast, now, unlimited); !l.quit.IsZero() || !l.kill.IsZero() {
		t.Errorf("%+v", l)
	}
	if l := newLadder(postgres.StopFast, now, -time.Second); l.kill != now {
		t.Errorf("%+v", l)
	}
	if l := newLadder(postgres.StopImmediate, now, time.Minute); l.first != unix.SIGQUIT || l.kill.Sub(now) != immediatePatience {
		t.Errorf("%+v", l)
	}
	i := &Instance{cfg: Config{Now: func() time.Time { return now }}}
	if left := i.timeLeft(context.Background(), postgres.Task{By: now.Add(time.Second)}); left != time.Second {
		t.Errorf("left: %v", left)
	}
	if left := i.timeLeft(context.Background(), postgres.Task{}); left != unlimited {
		t.Errorf("left: %v", left)
	}
}

func bareInstance(t *testing.T) *Instance {
	t.Helper()
	cfg := Config{
		Name: "a", Scope: "demo", DataDir: filepath.Join(t.TempDir(), "data"), ListenAddresses: "10.0.0.1,127.0.0.1",
		Replication: Credentials{Username: "repl", Password: `p:a\s s`, Options: postgres.Conninfo{"sslmode": "verify-full", "sslrootcert": "/ca"}},
		Superuser:   Credentials{Username: "postgres", Password: "s"}, BinDir: "/nowhere", Logger: slog.New(slog.DiscardHandler),
	}
	cfg.setDefaults()
	mustWrite(t, cfg.DataDir+"/PG_VERSION", "17\n")
	return &Instance{cfg: cfg, log: cfg.Logger, major: 17}
}

func TestConfFiles(t *testing.T) {
	i := bareInstance(t)
	mustWrite(t, i.confPath(".conf"), "shared_buffers = '8MB'\n")
	mustWrite(t, i.cfg.DataDir+"/postgresql.auto.conf", "work_mem = '1MB'\nprimary_conninfo = 'host=old'\nrecovery_target_xid='5'\n")
	s := postgres.Settings{
		Parameters:   map[string]string{"archive_command": `cp "%p" 'x'`, "restore_command": "cp %f %p"},
		Controlled:   map[string]string{"max_connections": "50"},
		RecoveryConf: map[string]string{"recovery_target_time": "now"},
	}
	up := &postgres.Upstream{Name: "b", Host: "10.0.0.2", Port: 5433, Slot: "a"}
	st := i.streamOf(up)
	if changed, err := i.writeConf(s, &st); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if changed, err := i.writeConf(s, &st); err != nil || changed {
		t.Error("written again without a change", err)
	}
	raw, err := os.ReadFile(i.confPath(".conf"))
	if err != nil {
		t.Fatal(err)
	}
	d := i.cfg.DataDir
	want := confMark + "\n# Settings of your own belong into the agent's configuration, or into postgresql.base.conf.\n" +
		"include 'postgresql.base.conf'\n\n" +
		"archive_command = 'cp \"%p\" ''x'''\ncluster_name = 'demo'\nhba_file = '" + d + "/pg_hba.conf'\nident_file = '" + d + "/pg_ident.conf'\n" +
		"listen_addresses = '10.0.0.1,127.0.0.1'\nmax_connections = '50'\nport = '5432'\n\n# recovery.conf\n" +
		"primary_conninfo = 'host=10.0.0.2 port=5433 user=repl dbname=postgres application_name=a channel_binding=prefer gssencmode=prefer passfile=" +
		i.cfg.PgPass + " sslmode=verify-full sslrootcert=/ca'\nprimary_slot_name = 'a'\nrecovery_target_timeline = 'latest'\nrestore_command = 'cp %f %p'\nwal_retrieve_retry_interval = '1s'\n"
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Error(diff)
	}
	if got := i.readStream(); got != st {
		t.Errorf("read back %+v, want %+v", got, st)
	}
	for path, want := range map[string]string{
		i.confPath(".base.conf"):    "shared_buffers = '8MB'\n",
		d + "/postgresql.auto.conf": "work_mem = '1MB'\n",
	} {
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	if _, err := i.writeConf(postgres.Settings{Parameters: map[string]string{"x = 1\ny": "1"}}, nil); err == nil {
		t.Error("a name with a line break was written")
	}
}

func TestPassFile(t *testing.T) {
	i := bareInstance(t)
	if err := i.writePassFile("10.0.0.2,/run/x", 5433); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(i.cfg.PgPass)
	want := `10.0.0.2:5433:*:repl:p\:a\\s s
/run/x:5433:*:repl:p\:a\\s s
localhost:5433:*:repl:p\:a\\s s
10.0.0.2:5433:*:postgres:s
/run/x:5433:*:postgres:s
localhost:5433:*:postgres:s
`
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(i.cfg.PgPass); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
}

func TestStandbyArguments(t *testing.T) {
	i := bareInstance(t)
	i.major = 15
	s := postgres.Settings{Controlled: map[string]string{"max_connections": "100", "max_wal_senders": "20", "wal_keep_size": "1GB"}}
	c := &postgres.Control{MaxConnections: 300, MaxWALSenders: 10, MaxWorkerProcesses: 8, MaxLocksPerXact: 64}
	got := strings.Join(i.serverArguments(s, c, true), " ")
	for _, want := range []string{"--max_connections=300 ", "--max_wal_senders=20 ", "--recovery_target_xid=", "--promote_trigger_file=", "--cluster_name=demo", "--port=5432"} {
		if !strings.Contains(got+" ", want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if strings.Contains(got, "wal_keep_size") {
		t.Errorf("%s", got)
	}
	if got := strings.Join(i.serverArguments(s, c, false), " "); !strings.Contains(got, "--max_connections=100 ") || strings.Contains(got, "recovery_target") {
		t.Errorf("primary: %s", got)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("PATRONI_SUPERUSER_PASSWORD", "x")
	t.Setenv("NOTIFY_SOCKET", "x")
	t.Setenv("PG_MALLOC_ARENA_MAX", "3")
	t.Setenv("PGHOST", "elsewhere")
	env := strings.Join(environment(), "\n")
	if strings.Contains(env, "PATRONI_") || strings.Contains(env, "NOTIFY") || !strings.Contains(env, "\nMALLOC_ARENA_MAX=3") {
		t.Error(env)
	}
	if tools := strings.Join(bareInstance(t).toolEnvironment(), "\n"); strings.Contains(tools, "PGHOST") || !strings.Contains(tools, "LC_ALL=C") {
		t.Error(tools)
	}
}

func TestConfigErrors(t *testing.T) {
	_, err := New(Config{DataDir: "relative", InitDB: []string{"--pwfile=x"}, Port: 70000})
	wantError(t, err, "not an absolute path", "Connector is nil", "Replication.Username is empty", `"pwfile" is not allowed`, "port 70000")
	cfg := bareInstance(t).cfg
	cfg.Connector = nopConnector{}
	_, err = New(cfg)
	wantError(t, err, "/nowhere/postgres", "bin_dir")
}

type nopConnector struct{}

func (nopConnector) Connect(context.Context, postgres.ConnectParams) (postgres.Conn, error) {
	return nil, errStopped
}
