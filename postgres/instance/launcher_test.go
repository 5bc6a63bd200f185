package instance

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/postgres"
)

// shimMark makes the test binary wait on descriptor 3 and become another program, as the guard's own shim does.
const shimMark = "become"

func shim(argv []string) (code int) {
	wait := os.NewFile(3, "gate")
	if n, _ := wait.Read(make([]byte, 1)); n != 1 {
		return 3
	}
	_ = wait.Close()
	err := unix.Exec(argv[0], argv, os.Environ())
	_, _ = os.Stderr.WriteString(err.Error())
	return 4
}

// testLauncher lets the test be the guard.
type testLauncher struct {
	attach func(ctx context.Context, pid int) error
	pids   []int
}

func (l *testLauncher) Command(argv []string) (string, []string) {
	return "/proc/self/exe", append([]string{"server-to-be", shimMark}, argv...)
}

func (l *testLauncher) Attach(ctx context.Context, pid int) error {
	l.pids = append(l.pids, pid)
	if l.attach == nil {
		return nil
	}
	return l.attach(ctx, pid)
}

// guarded is a server that was founded and stopped; its next starts ask l.
func guarded(t *testing.T, l *testLauncher) *node {
	t.Helper()
	cfg := testConfig(t, needServer(t), "a")
	cfg.Launcher = l
	n := founded(t, cfg)
	if len(l.pids) > 0 {
		t.Error("the closed server of a bootstrap asked the guard, of which nothing is known yet")
	}
	n.must(postgres.Task{Kind: postgres.TaskStop})
	n.awaitExit()
	return n
}

func TestGuardedStart(t *testing.T) {
	l := &testLauncher{}
	n := guarded(t, l)
	l.attach = func(_ context.Context, pid int) error {
		if base := filepath.Base(executable(pid)); base == "postgres" {
			t.Error("the server runs before the guard holds it")
		}
		if exists(n.pidFilePath()) {
			t.Error("postmaster.pid exists before the guard holds the server")
		}
		if o := n.look(); o.Postmaster != nil && o.SQL != nil {
			t.Errorf("a server answers before it was let go: %+v", o)
		}
		return nil
	}
	n.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
	o := n.look()
	if len(l.pids) != 1 || o.Postmaster == nil || o.Postmaster.PID != l.pids[0] {
		t.Fatalf("the guard was told of %v, and the server is %+v", l.pids, o.Postmaster)
	}
	if o.SQL == nil || o.SQL.InRecovery {
		t.Errorf("not writable: %+v", o)
	}
	if sid, err := unix.Getsid(o.Postmaster.PID); err != nil || sid != o.Postmaster.PID {
		t.Errorf("the server is in session %d, %v, and not in one of its own", sid, err)
	}
	if h := n.provenPostmaster(o.Postmaster.PID); h == nil {
		t.Error("an agent that is started now would not recognise the server")
	} else {
		h.close()
	}
	n.must(postgres.Task{Kind: postgres.TaskStop})
	n.awaitExit()

	n.must(postgres.Task{Kind: postgres.TaskStart}) // a standby cannot write
	if len(l.pids) != 1 {
		t.Error("a standby's start asked the guard")
	}
}

func TestGuardedStartFails(t *testing.T) {
	l := &testLauncher{}
	n := guarded(t, l)
	ctx, cancel := context.WithCancelCause(t.Context())
	for _, tc := range []struct {
		name, says string
		attach     func(context.Context, int) error
	}{
		{"refused", "the guard did not take the server, which was not started: no pidfd",
			func(context.Context, int) error { return errors.New("no pidfd") }},
		{"the server-to-be is frozen", "no room", func(_ context.Context, pid int) error {
			return errors.Join(errors.New("no room"), unix.Kill(pid, unix.SIGSTOP))
		}},
		{"killed meanwhile", "killed", func(context.Context, int) error { return n.Kill("test") }},
		{"it died meanwhile", "let the server go", func(ctx context.Context, pid int) error {
			err := unix.Kill(pid, unix.SIGKILL)
			return errors.Join(err, awaitEnd(ctx, n.current.Load()))
		}},
		{"cancelled", errStopped.Error(), func(ctx context.Context, _ int) error {
			cancel(errStopped)
			<-ctx.Done()
			return ctx.Err()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l.attach = tc.attach
			_, err := n.Run(ctx, postgres.Task{Kind: postgres.TaskStart, AsPrimary: true}, nil)
			wantError(t, err, tc.says)
			if exists(n.pidFilePath()) {
				t.Error("a server was started")
			}
			if left, _ := n.orphans(); len(left) > 0 {
				t.Errorf("left: %s", describe(left))
			}
			if o := n.look(); o.Postmaster != nil {
				t.Errorf("a server is seen: %+v", o)
			}
			n.awaitExit()
		})
	}
	l.attach = nil
	n.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
}

// TestServerToBeOfADeadAgent lets an agent die between its last word to the server-to-be and the moment in which that one heard it.
func TestServerToBeOfADeadAgent(t *testing.T) {
	l := &testLauncher{}
	n := guarded(t, l)
	wait, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	defer wait.Close()
	path, args := l.Command(append([]string{n.program(progPostgres)}, n.serverArguments(n.settings, nil, false)...))
	late := exec.Command(path)
	late.Args, late.Dir, late.ExtraFiles = args, n.cfg.DataDir, []*os.File{wait}
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- late.Wait() }()
	n.must(postgres.Task{Kind: postgres.TaskStart, AsPrimary: true})
	if _, err := hold.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || err.Error() != "signal: killed" {
		t.Errorf("the late one was not swept: %v", err)
	}
}
