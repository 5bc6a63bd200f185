package guard_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/postgres"
)

// patience bounds every wait. It is a safety net, not a measure.
const patience = 60 * time.Second

func newClock(t testing.TB) *bootclock.Clock {
	t.Helper()
	c, err := bootclock.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newGuard makes a Guard whose process is killed at the end of the test, armed or not.
func newGuard(t testing.TB) (*guard.Guard, *bootclock.Clock) {
	t.Helper()
	clock := newClock(t)
	g, err := guard.New(guard.Config{Boottime: clock.Boottime, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pid := g.Process()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	})
	return g, clock
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// order makes an order with deadlines so long from now. The first is a second away or more: a new guard is given half of that to answer,
// and on a busy machine it takes that to start one.
func order(c *bootclock.Clock, p *postgres.Postmaster, fast, quit, kill time.Duration) ha.FenceOrder {
	now := c.Now()
	return ha.FenceOrder{Postmaster: p, Fast: now.Add(fast), Quit: now.Add(quit), Kill: now.Add(kill), At: now}
}

// identify returns what names a process.
func identify(t testing.TB, pid int) *postgres.Postmaster {
	t.Helper()
	p := identifyProcess(pid)
	if p.Start == 0 {
		t.Fatalf("there is no process %d", pid)
	}
	return &p
}

func identifyProcess(pid int) postgres.Postmaster {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	p := postgres.Postmaster{PID: pid}
	if len(fields) > 19 {
		_, _ = fmt.Sscan(string(fields[19]), &p.Start)
	}
	return p
}

func arm(t testing.TB, g *guard.Guard, o ha.FenceOrder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.Arm(ctx, o); err != nil {
		t.Fatalf("Arm: %v", err)
	}
}

// handle is a pidfd of a process, opened while it certainly lived.
type handle struct{ fd int }

func hold(t testing.TB, pid int) handle {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("hold process %d: %v", pid, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return handle{fd}
}

// ended waits for the end of the process.
func (h handle) ended(t testing.TB) {
	t.Helper()
	if !h.endsWithin(patience) {
		t.Fatal("the process did not end")
	}
}

func (h handle) endsWithin(d time.Duration) bool {
	end := time.Now().Add(d)
	for {
		left := max(time.Until(end), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if err == nil {
			return n > 0
		}
	}
}

func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// signalLog is a process that writes down which signals it gets, instead of a server. SIGINT and SIGQUIT do not end it.
type signalLog struct {
	cmd  *exec.Cmd
	more chan string
}

func startSignalLog(t testing.TB) *signalLog {
	t.Helper()
	s := &signalLog{more: make(chan string, 100)}
	s.cmd = exec.Command("/bin/bash", "-c", `trap 'echo INT' INT; trap 'echo QUIT' QUIT; sleep 1000 >/dev/null 2>&1 & echo ready; while :; do wait; done`)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = w
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.more)
		defer r.Close()
		b := make([]byte, 100)
		for {
			n, err := r.Read(b)
			for word := range strings.FieldsSeq(string(b[:n])) {
				s.more <- word
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		_ = s.cmd.Wait()
		<-done
	})
	if got := await(t, s.more); got != "ready" {
		t.Fatalf("the process said %q", got)
	}
	return s
}
