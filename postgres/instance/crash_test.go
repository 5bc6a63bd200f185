package instance

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// TestCrashWithOrphans kills only the postmaster: a backend in a loop goes on and commits, until the next start sweeps it.
func TestCrashWithOrphans(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	n.sql("CREATE TABLE public.work (n int)")
	ctx, cancel := testContext()
	defer cancel()
	conn, err := n.connect(ctx, longSession)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(conn)
	busy := make(chan error, 1)
	go func() {
		busy <- conn.Exec(ctx, "DO $$ BEGIN LOOP INSERT INTO public.work VALUES (1); COMMIT; END LOOP; END $$")
	}()
	n.eventually("rows", func(postgres.Observation) bool { return n.sql("SELECT count(*) > 10 FROM public.work") == "t" })
	r := n.postmaster()
	if err := unix.Kill(r.id.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exit := n.awaitExit()
	if exit.Postmaster != r.id || exit.Status != "signal: killed" {
		t.Errorf("exit %+v", exit)
	}
	if left, err := n.orphans(); err != nil || len(left) == 0 {
		t.Fatal("the crash left no orphans: this test proves nothing")
	}
	if o := n.look(); o.Postmaster != nil || o.SQL != nil || o.Control.State != postgres.ControlInProduction {
		t.Errorf("after the crash: %+v", o)
	}
	n.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true, Slots: []string{"b"}})
	if err := <-busy; err == nil {
		t.Error("the orphan's client was told success")
	}
	o := n.look()
	if o.SQL == nil || o.SQL.InRecovery || o.SQL.Timeline != 1 || len(o.SQL.Slots) != 1 {
		t.Errorf("after the restart: %+v %+v", o, o.SQL)
	}
	if got := n.sql("SELECT count(*) > 10 FROM public.work"); got != "t" {
		t.Error("committed rows are gone")
	}
}

// TestBackendIsKilled: the postmaster lives and starts anew, and nothing but the end of the agent's own session tells of it at that moment.
func TestBackendIsKilled(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	n.look() // from now on there is a session
	was := n.postmaster().id
	pid, err := strconv.Atoi(n.busyBackend())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-n.Disturbed():
		if p != was {
			t.Errorf("told of the server of postmaster %+v, want %+v", p, was)
		}
	case <-time.After(patience):
		t.Fatal("nothing was told")
	}
	o := n.eventually("to be answered again", func(o postgres.Observation) bool { return o.SQL != nil })
	if *o.Postmaster != was {
		t.Errorf("postmaster %+v, want %+v", *o.Postmaster, was)
	}

	// A session that we give up ourselves tells nothing.
	own := n.sql("SELECT pid FROM pg_stat_activity WHERE application_name = '" + heartbeat + "' AND pid <> pg_backend_pid()")
	n.eye.close()
	if pid, err = strconv.Atoi(own); err != nil {
		t.Fatalf("our session: %q", own)
	}
	for h, err := openProcess(pid); err == nil; h, err = openProcess(pid) {
		_ = h.wait(t.Context())
		h.close()
	}
	select {
	case <-n.Disturbed():
		t.Error("the end of a session that was given up was told")
	default:
	}
}

// busyBackend is the process id of a backend that serves a client until the end of the test.
func (n *node) busyBackend() string {
	n.t.Helper()
	ctx, cancel := testContext()
	defer cancel()
	conn, err := n.connect(ctx, longSession)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { closeConn(conn) })
	rows, err := conn.Query(ctx, "SELECT pg_backend_pid()")
	if err != nil {
		n.t.Fatal(err)
	}
	return *rows[0][0]
}

func TestKillEndsEverything(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	if err := n.Kill("test"); err != nil {
		t.Fatal(err)
	}
	if left, err := n.orphans(); err != nil || len(left) != 0 {
		t.Errorf("left: %s", describe(left))
	}
	n.awaitExit()
	if err := n.Kill("nothing runs"); err != nil {
		t.Errorf("second Kill: %v", err)
	}
	out := n.must(postgres.Task{Kind: postgres.TaskStop})
	if out.Clean {
		t.Error("a killed server counts as clean")
	}
}

func TestAdoption(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	a := founded(t, cfg)
	b := standbyOf(t, a, "b")
	_, err := New(cfg)
	wantError(t, err, "two agents", "another agent manages")
	was := *b.look().Postmaster
	b.detach() // the agent dies, the server goes on

	again := newNode(t, b.cfg)
	o := again.look()
	if o.Postmaster == nil || *o.Postmaster != was || o.SQL == nil || !o.SQL.InRecovery {
		t.Fatalf("not adopted: %+v", o)
	}
	before, err := os.ReadFile(again.confPath(".conf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Configure(t.Context(), again.settings); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(again.confPath(".conf"))
	if string(before) != string(after) {
		t.Errorf("a restarted agent changed the configuration from\n%s\nto\n%s", before, after)
	}
	again.must(postgres.Task{Kind: postgres.TaskStop})
	if exit := again.awaitExit(); exit.Postmaster != was {
		t.Errorf("exit %+v of an adopted postmaster, want %+v", exit, was)
	}
}

// TestStrangersPid: after a reboot another program may have the pid that postmaster.pid names.
func TestStrangersPid(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	raw, err := os.ReadFile(n.pidFilePath())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Kill("test"); err != nil {
		t.Fatal(err)
	}
	n.awaitExit()
	_, rest, _ := strings.Cut(string(raw), "\n")
	mustWrite(t, n.pidFilePath(), itoa(os.Getpid())+"\n"+rest)
	if o := n.look(); o.Postmaster != nil {
		t.Fatalf("took this test for a postmaster: %+v", o.Postmaster)
	}
	n.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
}

func TestStartFailures(t *testing.T) {
	cfg := testConfig(t, needServer(t), "a")
	n := founded(t, cfg)
	_, err := n.try(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
	wantError(t, err, "runs already")
	n.must(postgres.Task{Kind: postgres.TaskStop})
	n.awaitExit()

	t.Run("port in use", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:"+itoa(cfg.Port))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = n.try(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
		wantError(t, err, "port "+itoa(cfg.Port)+" is in use by another program", "exit status 1")
		n.awaitExit()
	})
	t.Run("wrong setting", func(t *testing.T) {
		s := n.settings
		defer func() { n.settings = s }()
		n.settings.Parameters = map[string]string{"shared_buffers": "much"}
		_, err := n.try(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
		wantError(t, err, `invalid value for parameter "shared_buffers"`, "hint")
		select {
		case <-n.Exits():
		case <-time.After(patience):
			t.Error("no exit was told")
		}
	})
	t.Run("logging collector", func(t *testing.T) {
		s := n.settings
		defer func() { n.settings = s }()
		n.settings.Parameters = map[string]string{"logging_collector": "on", "shared_preload_libraries": "no_such_library"}
		_, err := n.try(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
		wantError(t, err, "no_such_library")
		n.awaitExit()
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		_, err := n.Run(ctx, postgres.Task{Kind: postgres.TaskStart, AsPrimary: true}, func(p postgres.Phase) {
			if p.Name == postgres.PhaseStarting {
				cancel(errStopped)
			}
		})
		if err != nil { // it may have been faster
			wantError(t, err, errStopped.Error())
			if o := n.look(); o.Postmaster != nil {
				t.Errorf("still there: %+v", o)
			}
		}
	})
}

// TestStopLadder hangs the server: a fast shutdown cannot end it, the deadline does.
func TestStopLadder(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	pid := n.postmaster().id.PID
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	o := n.Observe(ctx)
	if o.Postmaster == nil || o.SQL != nil || o.SQLError == "" {
		t.Errorf("a hung server: %+v", o)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	out, err := n.Run(ctx, postgres.Task{Kind: postgres.TaskStop}, nil)
	if err != nil || out.Clean {
		t.Errorf("outcome %+v, error %v", out, err)
	}
	if exit := n.awaitExit(); exit.Status != "signal: killed" {
		t.Errorf("exit %+v", exit)
	}
}

func TestBusy(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	err := error(nil)
	n.settings.BeforeStop = "sh -c true"
	n.task.Lock()
	_, err = n.try(postgres.Task{Kind: postgres.TaskCheckpoint})
	n.task.Unlock()
	wantError(t, err, ErrBusy.Error())
}

func TestConfigure(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	s := n.settings
	s.Parameters = map[string]string{
		"unix_socket_directories": s.Parameters["unix_socket_directories"], "fsync": "off", "shared_buffers": "17MB",
		"work_mem": "5MB", "log_line_prefix": `it's \p`,
	}
	s.Controlled = map[string]string{"max_connections": "33", "wal_level": "replica", "wal_log_hints": "on"}
	s.HBA = append([]string{"local all nobody reject"}, s.HBA...)
	if err := n.Configure(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := n.sql("SELECT current_setting('work_mem'), current_setting('log_line_prefix')"); got != `5MB|it's \p` {
		t.Errorf("settings: %s", got)
	}
	if got := n.sql("SELECT count(*) FROM pg_hba_file_rules WHERE 'nobody' = ANY (user_name)"); got != "1" {
		t.Errorf("rules: %s", got)
	}
	o := n.look()
	if o.PendingRestart["max_connections"] != [2]string{"30", "33"} || o.PendingRestart["shared_buffers"][1] != "17MB" {
		t.Errorf("pending: %v", o.PendingRestart)
	}
	n.must(postgres.Task{Kind: postgres.TaskStop})
	n.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
	if o := n.look(); len(o.PendingRestart) != 0 {
		t.Errorf("pending after a restart: %v", o.PendingRestart)
	}
	if got := n.sql("SELECT current_setting('max_connections')"); got != "33" {
		t.Errorf("max_connections %s", got)
	}
	if !exists(filepath.Join(n.cfg.DataDir, "pg_hba.conf.backup")) {
		t.Error("no backup of pg_hba.conf")
	}
}

// TestMajors runs the life of a pair on each installed major.
func TestMajors(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		a := founded(t, testConfig(t, binDir, "a"))
		b := standbyOf(t, a, "b")
		end := stopUnderLoad(t, a)
		b.eventually("the end of the log", func(o postgres.Observation) bool { return o.SQL != nil && o.SQL.Position().LSN >= end })
		b.must(postgres.Task{Kind: postgres.TaskPromote})
		b.must(postgres.Task{Kind: postgres.TaskCheckpoint})
		a.must(postgres.Task{Kind: postgres.TaskLineage, Upstream: b.upstream()})
		a.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true}) // diverges
		a.sql("CREATE TABLE public.lost (n int)")
		a.must(postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopImmediate})
		a.must(postgres.Task{Kind: postgres.TaskRewind, Upstream: b.upstream()})
		a.must(postgres.Task{Kind: postgres.TaskStart, Upstream: b.upstream()})
		a.eventually("streaming on timeline 2", streamsOn(2))
	})
}

// An agent without a file descriptor left sees nothing; that is no proof that the server is gone, nor that nothing of it is left.
func TestBlindLook(t *testing.T) {
	n := founded(t, testConfig(t, needServer(t), "a"))
	n.look() // so that the connection is there
	want := n.postmaster().id
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	o := n.Observe(ctx)
	_, blind := n.orphans()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if o.Postmaster == nil || *o.Postmaster != want {
		t.Errorf("the postmaster %+v is taken for gone: %+v", want, o)
	}
	if blind == nil {
		t.Error("a sweep that sees nothing passes for a finished one")
	}
	n.eventually("to see again", func(o postgres.Observation) bool { return o.Postmaster != nil })
}
