package guard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// startServer starts a server with room for a hundred clients.
func startServer(t testing.TB, binDir string) *pgtest.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	c := pgtest.Init(t, binDir)
	c.Configure(t, "max_connections = 150")
	c.Start(t)
	return c
}

// session is one client connection, by psql; its backend is held by a pidfd.
type session struct {
	pid     int // of the backend
	backend handle
	in      *os.File
}

// connect opens a session and runs sql in it; it goes on reading commands.
func connect(t testing.TB, c *pgtest.Cluster, params, sql string) *session {
	t.Helper()
	cmd := exec.Command(filepath.Join(c.BinDir, "psql"), "-X", "-A", "-t", "-q", "-d", c.ConnString("postgres")+params)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout = in, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		w.Close()
		r.Close()
	})
	fmt.Fprintln(w, "SELECT pg_backend_pid();")
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	s := &session{in: w}
	if s.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatalf("connect: %v", err)
	}
	s.backend = hold(t, s.pid)
	fmt.Fprintln(w, sql)
	return s
}

// child finds a child of the postmaster by its title.
func child(t testing.TB, postmaster int, title string) int {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
		if err != nil {
			t.Fatal(err)
		}
		for pid := range strings.FieldsSeq(string(raw)) {
			if cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.HasPrefix(string(cmdline), "postgres: "+title) {
				n, _ := strconv.Atoi(pid)
				return n
			}
		}
	}
	t.Fatalf("postmaster %d has no %s", postmaster, title)
	return 0
}

// everyone holds all processes of the server.
func everyone(t testing.TB, postmaster int) []handle {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	if err != nil {
		t.Fatal(err)
	}
	all := []handle{hold(t, postmaster)}
	for pid := range strings.FieldsSeq(string(raw)) {
		n, _ := strconv.Atoi(pid)
		if fd, err := unix.PidfdOpen(n, 0); err == nil {
			t.Cleanup(func() { unix.Close(fd) })
			all = append(all, handle{fd})
		}
	}
	return all
}

// A long checkpoint after T_fast is left to finish, beyond T_kill: such a server serves nobody (claim 5.4).
func TestCheckpointMayFinish(t *testing.T) {
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := startServer(t, binDir)
		p := identify(t, c.PID())
		checkpointer := child(t, p.PID, "checkpointer")
		g, clock := newGuard(t)
		o := order(clock, p, 1300*time.Millisecond, 1600*time.Millisecond, 1800*time.Millisecond)
		arm(t, g, o)
		freeze(t, checkpointer)
		h := hold(t, p.PID)
		fired, stop := clock.At(o.Kill.Add(time.Second))
		defer stop()
		<-fired
		if h.endsWithin(0) {
			t.Fatalf("the server was ended before its checkpoint:\n%s", c.Log())
		}
		thaw(t, checkpointer)
		<-c.Exited()
	})
}

// The same server with a backend that hangs is killed, all of it, at T_kill.
func TestHungBackendIsKilled(t *testing.T) {
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := startServer(t, binDir)
		p := identify(t, c.PID())
		hung := connect(t, c, "", "SELECT 1;")
		frozen := child(t, p.PID, "checkpointer")
		all := everyone(t, p.PID)
		g, clock := newGuard(t)
		o := order(clock, p, 1300*time.Millisecond, 1600*time.Millisecond, 1800*time.Millisecond)
		arm(t, g, o)
		freeze(t, hung.pid)
		freeze(t, frozen)
		for _, h := range all {
			h.ended(t)
		}
		hung.backend.ended(t)
		if now := clock.Now(); now.Before(o.Kill) {
			t.Errorf("ended %v before T_kill", o.Kill.Sub(now))
		}
		<-c.Exited()
	})
}

// busy are clients that keep a backend at work after its postmaster has died.
var busy = map[string]string{
	"DO loop":    `DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$;`,
	"pipelining": strings.Repeat("SELECT count(*) FROM generate_series(1,100000);\n", 500),
}

// Claim 5.4: what a postmaster leaves when it is killed is ended at once, and what starts afterwards is not.
func TestOrphansAreSwept(t *testing.T) {
	for name, sql := range busy {
		t.Run(name, func(t *testing.T) {
			c := startServer(t, pgtest.BinDir(t))
			p := identify(t, c.PID())
			orphan := connect(t, c, "", sql)
			g, clock := newGuard(t)
			arm(t, g, order(clock, p, time.Hour, 2*time.Hour, 3*time.Hour))
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			orphan.backend.ended(t)
			<-c.Exited()
			// Acknowledged only after the sweep.
			arm(t, g, order(clock, nil, time.Hour, 2*time.Hour, 3*time.Hour))
			c2 := *c
			restart(t, g, &c2)
		})
	}
}

// restart starts the server of c again through the shim and stops it.
func restart(t *testing.T, g *guard.Guard, c *pgtest.Cluster) {
	t.Helper()
	s := startThroughShim(t, g, c)
	if err := g.Attach(t.Context(), s.pid); err != nil {
		t.Fatal(err)
	}
	s.release(t)
	s.ready(t, c)
	if err := syscall.Kill(s.pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if state := s.wait(t); state.ExitCode() != 0 {
		t.Errorf("the server ended: %v", state)
	}
	if err := g.Disarm(t.Context(), nil); err != nil {
		t.Errorf("Disarm: %v", err)
	}
}

// shimmed is a server that is started through the shim.
type shimmed struct {
	pid   int
	proc  *os.Process
	gate  *os.File
	log   string
	ended chan *os.ProcessState
}

func startThroughShim(t *testing.T, g *guard.Guard, c *pgtest.Cluster) *shimmed {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &shimmed{gate: w, log: filepath.Join(t.TempDir(), "log"), ended: make(chan *os.ProcessState, 1)}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	path, args := g.Command([]string{filepath.Join(c.BinDir, "postgres"), "-D", c.DataDir})
	s.proc, err = os.StartProcess(path, args, &os.ProcAttr{
		Dir: c.DataDir, Env: os.Environ(), Files: []*os.File{nil, log, log, r},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.pid = s.proc.Pid
	go func() {
		state, _ := s.proc.Wait()
		s.ended <- state
	}()
	t.Cleanup(func() {
		w.Close()
		_ = s.proc.Signal(syscall.SIGQUIT)
	})
	return s
}

func (s *shimmed) release(t *testing.T) {
	t.Helper()
	if _, err := s.gate.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
}

func (s *shimmed) wait(t *testing.T) *os.ProcessState {
	t.Helper()
	return await(t, s.ended)
}

func (s *shimmed) ready(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		raw, _ := os.ReadFile(filepath.Join(c.DataDir, "postmaster.pid"))
		if lines := strings.Split(string(raw), "\n"); len(lines) >= 8 && lines[0] == strconv.Itoa(s.pid) && strings.TrimSpace(lines[7]) == "ready" {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(s.log)
			t.Fatalf("the server does not get ready:\n%s", log)
		}
	}
}

// Claim 5.3: the shim becomes the server under its own pid only after its byte, and the guard holds it before.
func TestShim(t *testing.T) {
	c := startServer(t, pgtest.BinDir(t))
	c.Stop(t)
	g, clock := newGuard(t)
	t.Run("end of file", func(t *testing.T) {
		s := startThroughShim(t, g, c)
		s.gate.Close()
		if state := s.wait(t); state.ExitCode() != 125 {
			t.Errorf("the shim ended: %v", state)
		}
		if _, err := os.Stat(filepath.Join(c.DataDir, "postmaster.pid")); err == nil {
			t.Error("a server ran")
		}
	})
	t.Run("not armed", func(t *testing.T) {
		s := startThroughShim(t, g, c)
		var refused *guard.RefusedError
		if err := g.Attach(t.Context(), s.pid); !errors.As(err, &refused) {
			t.Errorf("Attach = %v", err)
		}
		s.gate.Close()
		s.wait(t)
	})
	t.Run("fires", func(t *testing.T) {
		arm(t, g, order(clock, nil, time.Hour, time.Hour, time.Hour))
		s := startThroughShim(t, g, c)
		if err := g.Attach(t.Context(), s.pid); err != nil {
			t.Fatal(err)
		}
		s.release(t)
		s.ready(t, c)
		orphan := connect(t, c, "", busy["DO loop"])
		arm(t, g, order(clock, nil, time.Hour, time.Hour, time.Hour)) // it has not been observed yet
		arm(t, g, order(clock, identify(t, s.pid), time.Hour, time.Hour, time.Hour))
		if err := g.Arm(t.Context(), order(clock, nil, time.Hour, time.Hour, time.Hour)); err == nil {
			t.Error("armed for a start beside a server that runs")
		}
		if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		orphan.backend.ended(t)
		s.wait(t)
	})
}

// agentMain is this test binary as an agent of its own: it arms its guard for a postmaster, says so, and goes on until it is killed.
func agentMain() {
	var pid int
	var start uint64
	var fast, quit, kill time.Duration
	if _, err := fmt.Sscan(os.Getenv(agentMark), &pid, &start, &fast, &quit, &kill); err != nil {
		panic(err)
	}
	clock, err := bootclock.New()
	if err != nil {
		panic(err)
	}
	g, err := guard.New(guard.Config{Boottime: clock.Boottime})
	if err != nil {
		panic(err)
	}
	p := identifyProcess(pid)
	now := clock.Now()
	err = g.Arm(context.Background(), ha.FenceOrder{Postmaster: &p, Fast: now.Add(fast), Quit: now.Add(quit), Kill: now.Add(kill), At: now})
	if err != nil {
		panic(err)
	}
	fmt.Println(g.Describe())
	select {}
}

const agentMark = "GUARD_TEST_AGENT"

// startAgent starts an agent whose guard is armed, and returns both.
func startAgent(t *testing.T, pid int, fast, quit, kill time.Duration) (agent *exec.Cmd, guardPID int) {
	t.Helper()
	agent = exec.Command("/proc/self/exe")
	agent.Env = append(os.Environ(), fmt.Sprintf("%s=%d 0 %d %d %d", agentMark, pid, fast, quit, kill))
	agent.Stderr = os.Stderr
	agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	agent.Stdout = w
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "guard %d", &guardPID); err != nil {
		t.Fatalf("the agent said %q", line)
	}
	h := hold(t, guardPID)
	t.Cleanup(func() { _ = unix.PidfdSendSignal(h.fd, unix.SIGKILL, nil, 0) })
	return agent, guardPID
}

func TestAgentIsKilled(t *testing.T) {
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := startServer(t, binDir)
		loop := connect(t, c, "", busy["DO loop"])
		agent, guardPID := startAgent(t, c.PID(), 1500*time.Millisecond, 1700*time.Millisecond, 1800*time.Millisecond)
		ended := hold(t, guardPID)
		_ = agent.Process.Kill()
		_ = agent.Wait()
		<-c.Exited()
		loop.backend.ended(t)
		ended.ended(t)
	})
}

// Claim 5.6, from a guard that answers, that is frozen, and that was killed.
func TestTakeover(t *testing.T) {
	for _, state := range []string{"alive", "frozen", "killed"} {
		t.Run(state, func(t *testing.T) {
			c := startServer(t, pgtest.BinDir(t))
			agent, old := startAgent(t, c.PID(), time.Minute, 2*time.Minute, 3*time.Minute)
			_ = agent.Process.Kill()
			_ = agent.Wait()
			h := hold(t, old)
			switch state {
			case "frozen":
				freeze(t, old)
			case "killed":
				_ = syscall.Kill(old, syscall.SIGKILL)
				h.ended(t)
			}
			g, clock := newGuard(t)
			o := order(clock, identify(t, c.PID()), 1500*time.Millisecond, 30*time.Second, time.Hour)
			arm(t, g, o)
			h.ended(t)
			r := g.State()
			if got, want := r.Kill, clock.Boottime(o.Kill); got != want {
				t.Errorf("T_kill %v, want the later one, %v", got, want)
			}
			if state == "alive" && r.Fast <= clock.Boottime(o.Fast) {
				t.Errorf("T_fast %v is the new one, though the old one was later", r.Fast)
			}
			if state != "alive" && r.Fast != clock.Boottime(o.Fast) {
				t.Errorf("T_fast %v, want the new one's", r.Fast)
			}
			select {
			case <-c.Exited():
				if state == "alive" {
					t.Error("the server was ended")
				}
			default:
			}
		})
	}
}

// A guard that has fired cannot be taken over.
func TestTakeoverFromFiredGuard(t *testing.T) {
	s := startSignalLog(t)
	pid := s.cmd.Process.Pid
	startAgent(t, pid, 1300*time.Millisecond, time.Hour, time.Hour)
	if got := await(t, s.more); got != "INT" {
		t.Fatalf("got %q", got)
	}
	g, clock := newGuard(t)
	var refused *guard.RefusedError
	err := g.Arm(t.Context(), order(clock, identify(t, pid), time.Hour, time.Hour, time.Hour))
	if !errors.As(err, &refused) || !refused.Fired {
		t.Errorf("Arm = %v", err)
	}
}

// Claim 5.7.
func TestGuardIsKilled(t *testing.T) {
	g, clock := newGuard(t)
	s := startSignalLog(t)
	p := identify(t, s.cmd.Process.Pid)
	arm(t, g, order(clock, p, time.Hour, time.Hour, time.Hour))
	old := g.Process()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if l := await(t, g.Lost()); l.Fired {
		t.Errorf("Lost() = %+v", l)
	}
	began := clock.Now()
	arm(t, g, order(clock, p, time.Hour, time.Hour, time.Hour))
	t.Logf("armed again after %v", clock.Now().Sub(began))
	if now := g.Process(); now == old || now == 0 {
		t.Errorf("guard %d after guard %d", now, old)
	}
}

func TestSilentGuardIsReplaced(t *testing.T) {
	g, clock := newGuard(t)
	s := startSignalLog(t)
	p := identify(t, s.cmd.Process.Pid)
	arm(t, g, order(clock, p, time.Hour, time.Hour, time.Hour))
	old := g.Process()
	h := hold(t, old)
	freeze(t, old)
	o := order(clock, p, 2*time.Hour, 2*time.Hour, 2*time.Hour)
	arm(t, g, o)
	h.ended(t)
	if r := g.State(); r.Guard == old || r.Kill != clock.Boottime(o.Kill) {
		t.Errorf("state %+v", r)
	}
}

func TestDisarmedGuardKeepsStill(t *testing.T) {
	g, clock := newGuard(t)
	s := startSignalLog(t)
	p := identify(t, s.cmd.Process.Pid)
	o := order(clock, p, 1200*time.Millisecond, 1300*time.Millisecond, 1400*time.Millisecond)
	arm(t, g, o)
	if err := g.Disarm(t.Context(), nil); err == nil {
		t.Error("it lets go of a server that is called down and lives")
	}
	if err := g.Disarm(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	until(t, clock.Boottime(o.Kill))
	if r := g.Ask(t); r.State != 0 || len(s.more) != 0 {
		t.Errorf("after the deadline: %+v, %d signals", r, len(s.more))
	}
}

// The program's file is replaced under the server, as a package upgrade does, before the postmaster dies.
func TestBinaryIsReplaced(t *testing.T) {
	bin := copiedServer(t, pgtest.BinDir(t))
	c := startServer(t, bin)
	p := identify(t, c.PID())
	orphan := connect(t, c, "", busy["DO loop"])
	g, clock := newGuard(t)
	arm(t, g, order(clock, p, time.Hour, time.Hour, time.Hour))
	if err := os.Rename(filepath.Join(bin, "postgres.new"), filepath.Join(bin, "postgres")); err != nil {
		t.Fatal(err)
	}
	if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", orphan.pid)); !strings.HasSuffix(exe, " (deleted)") {
		t.Fatalf("the backend runs %s", exe)
	}
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	orphan.backend.ended(t)
	<-c.Exited()
}

// copiedServer is a folder like binDir with a copy of the server in it, and a second one to replace it.
func copiedServer(t *testing.T, binDir string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The server looks for its libraries beside its folder.
	if err := os.Symlink(filepath.Join(binDir, "../lib"), filepath.Join(dir, "../lib")); err != nil {
		t.Fatal(err)
	}
	programs, err := filepath.Glob(filepath.Join(binDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if filepath.Base(p) != "postgres" {
			if err := os.Symlink(p, filepath.Join(dir, filepath.Base(p))); err != nil {
				t.Fatal(err)
			}
		}
	}
	raw, err := os.ReadFile(filepath.Join(binDir, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "postgres.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
