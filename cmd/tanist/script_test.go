package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// programMark in the environment makes the test binary the program itself.
const programMark = "TANIST_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programMark) != "" {
		main()
		return
	}
	if script := os.Getenv(initMark); script != "" {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil { // as if it were pid 1
			panic(err)
		}
		os.Exit(runAsInit("/bin/sh", []string{"sh", "-c", script}))
	}
	pgtest.Main(m)
}

// initMark in the environment makes the test binary the first process of a container, with a script as its agent.
const initMark = "TANIST_TEST_INIT"

// patience bounds waits that would otherwise hang the tests.
const patience = time.Minute

// The scripts in testdata run the program. Commands of their own:
//
//	tanist ARGS...          run it to its end, whatever its exit code
//	code N                  the exit code of the last run
//	port NAME...            put free ports into variables
//	occupy PORT             listen there until the script ends
//	expand FILE             replace $VARIABLES in a file
//	start NAME ARGS...      start it, and leave it running
//	log NAME PATTERN        wait until it has written a line that matches
//	signal NAME SIGNAL      TERM or HUP
//	ended NAME CODE         wait for its end, and compare the exit code
func TestScripts(t *testing.T) {
	bin := pgtest.BinDir(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			w := &world{agents: map[string]*running{}}
			env.Defer(w.close)
			env.Values[worldKey{}] = w
			env.Setenv("PGBIN", bin)
			return nil
		},
		Cmds: commands(nil),
	})
}

// worldCommand is a command of scripts.
type worldCommand func(w *world, ts *testscript.TestScript, args []string)

// commands are those of TestScripts, and more.
func commands(more map[string]worldCommand) map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){}
	for _, list := range []map[string]worldCommand{more, {
		"tanist": (*world).run, "code": (*world).code, "port": (*world).port,
		"occupy": (*world).occupy, "expand": (*world).expand, "start": (*world).start,
		"log": (*world).log, "signal": (*world).signal, "ended": (*world).ended,
	}} {
		for name, f := range list {
			all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
				if neg {
					ts.Fatalf("! is not supported here")
				}
				f(ts.Value(worldKey{}).(*world), ts, args)
			}
		}
	}
	return all
}

type worldKey struct{}

// world is what one script has started.
type world struct {
	exit      int
	agents    map[string]*running
	listeners []net.Listener
}

// running is an agent in the background.
type running struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed at the next line
}

func (w *world) close() {
	for _, r := range w.agents {
		_ = r.cmd.Process.Kill() // it may have ended
		<-r.ended
	}
	for _, l := range w.listeners {
		l.Close()
	}
}

func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{programMark + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + ts.Getenv("WORK"), "TMPDIR=" + ts.Getenv("WORK")}
	for _, name := range []string{"PATRONI_CONFIGURATION", "PATRONI_NAME", "PATRONI_SCOPE"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

func (w *world) run(ts *testscript.TestScript, args []string) {
	cmd := command(ts, args)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Check(err)
	}
	w.exit = cmd.ProcessState.ExitCode()
}

func (w *world) code(ts *testscript.TestScript, args []string) {
	if got := strconv.Itoa(w.exit); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func (w *world) port(ts *testscript.TestScript, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		ts.Check(err)
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
		defer l.Close() // held until all are found, so that they differ
	}
}

func (w *world) occupy(ts *testscript.TestScript, args []string) {
	l, err := net.Listen("tcp4", "127.0.0.1:"+args[0])
	ts.Check(err)
	w.listeners = append(w.listeners, l)
}

func (w *world) expand(ts *testscript.TestScript, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o644))
}

func (w *world) start(ts *testscript.TestScript, args []string) {
	r := &running{cmd: command(ts, args[1:]), ended: make(chan struct{}), more: make(chan struct{})}
	out, in, err := os.Pipe()
	ts.Check(err)
	r.cmd.Stdout, r.cmd.Stderr = in, in
	ts.Check(r.cmd.Start())
	in.Close()
	w.agents[args[0]] = r
	go func() { // ends with the process, which holds the other end
		defer close(r.ended)
		defer out.Close()
		r.read(out)
		_ = r.cmd.Wait() // ended looks at the state
	}()
}

func (r *running) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		r.mu.Lock()
		r.lines = append(r.lines, lines.Text())
		close(r.more)
		r.more = make(chan struct{})
		r.mu.Unlock()
	}
}

func (w *world) log(ts *testscript.TestScript, args []string) {
	r, pattern := w.agents[args[0]], regexp.MustCompile(args[1])
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		text, more := strings.Join(r.lines, "\n"), r.more
		r.mu.Unlock()
		for _, line := range strings.Split(text, "\n") {
			if pattern.MatchString(line) {
				return
			}
		}
		select {
		case <-more:
		case <-r.ended:
			ts.Fatalf("%s has ended without a line that matches %q:\n%s", args[0], args[1], text)
		case <-timeout:
			ts.Fatalf("%s wrote no line that matches %q:\n%s", args[0], args[1], text)
		}
	}
}

func (w *world) signal(ts *testscript.TestScript, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	ts.Check(w.agents[args[0]].cmd.Process.Signal(signals[args[1]]))
}

func (w *world) ended(ts *testscript.TestScript, args []string) {
	r := w.agents[args[0]]
	select {
	case <-r.ended:
	case <-time.After(patience):
		ts.Fatalf("%s does not end:\n%s", args[0], strings.Join(r.lines, "\n"))
	}
	if got := strconv.Itoa(r.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s ended with %s, want %s:\n%s", args[0], got, args[1], strings.Join(r.lines, "\n"))
	}
}

func TestRootIsRefused(t *testing.T) {
	err := refuseRoot(0, "/data")
	if err == nil || refuseRoot(1, "/data") != nil {
		t.Fatal("root is not told apart")
	}
	f, openErr := os.Create(filepath.Join(t.TempDir(), "out"))
	if openErr != nil {
		t.Fatal(openErr)
	}
	defer f.Close()
	printError(f, errors.Join(err, errors.New("another")))
	got, readErr := os.ReadFile(f.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	want := "tanist: PostgreSQL refuses to run as root, and so does its agent\n" +
		"        start it as the user that owns /data, on most systems postgres\ntanist: another\n"
	if !bytes.Equal(got, []byte(want)) {
		t.Errorf("got %q, want %q", got, want)
	}
}
