package guard_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
)

// armRequest guards the process of s until then.
func armRequest(t testing.TB, pid int, fast, quit, kill time.Duration) warden.Request {
	t.Helper()
	now := guard.Boottime()
	r := warden.Request{Kind: warden.KindArm, Fast: now + fast, Quit: now + quit, Kill: now + kill}
	if pid != 0 {
		r.PID, r.Start = pid, identify(t, pid).Start
	}
	return r
}

// until waits for a moment of CLOCK_BOOTTIME.
func until(t testing.TB, at time.Duration) {
	t.Helper()
	clock := newClock(t)
	now := clock.Now()
	fired, stop := clock.At(now.Add(at - clock.Boottime(now)))
	defer stop()
	<-fired
}

// stopped waits until a process is stopped.
func freeze(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), ") T ") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d does not stop", pid)
		}
	}
}

func thaw(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// Claim 5.2: a guard that slept past its deadline finds a later one in its channel, and kills nobody.
func TestFrozenGuardReadsItsChannelBeforeItFires(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	pid := s.cmd.Process.Pid
	first := armRequest(t, pid, 1200*time.Millisecond, 1300*time.Millisecond, 1400*time.Millisecond)
	if a := r.Ask(first); a.Result != warden.ResultOK {
		t.Fatalf("arm: %+v", a)
	}
	freeze(t, r.PID())
	second := first
	second.Fast, second.Quit, second.Kill = first.Fast+time.Hour, first.Quit+time.Hour, first.Kill+time.Hour
	r.Send(second)
	until(t, first.Kill+50*time.Millisecond)
	thaw(t, r.PID())
	a := await(t, r.Answers)
	if a.Result != warden.ResultOK || a.State != warden.StateArmed || a.Kill != second.Kill {
		t.Errorf("answer after the thaw: %+v", a)
	}
	if a := r.Ask(warden.Request{Kind: warden.KindQuery}); a.State != warden.StateArmed || a.Signalled != warden.StepNone {
		t.Errorf("state after the thaw: %+v", a)
	}
}

// Claim 5.2: without a later deadline it fires at once, and refuses what comes then.
func TestFrozenGuardFiresWhenItThaws(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	pid := s.cmd.Process.Pid
	h := hold(t, pid)
	first := armRequest(t, pid, 1200*time.Millisecond, 1300*time.Millisecond, 1400*time.Millisecond)
	r.Ask(first)
	freeze(t, r.PID())
	until(t, first.Kill)
	if h.endsWithin(0) {
		t.Fatal("ended by a frozen guard")
	}
	thaw(t, r.PID())
	h.ended(t)
	<-r.Gone()
}

func TestFiredGuardRefuses(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	pid := s.cmd.Process.Pid
	first := armRequest(t, pid, 1020*time.Millisecond, time.Hour, time.Hour)
	r.Ask(first)
	if got := await(t, s.more); got != "INT" {
		t.Fatalf("got %q", got)
	}
	for _, kind := range []warden.Kind{warden.KindArm, warden.KindAttach, warden.KindDisarm, warden.KindQuery, warden.KindDismiss} {
		later := first
		later.Kind, later.Fast, later.Quit, later.Kill = kind, first.Fast+time.Hour, first.Quit+time.Hour, first.Kill+time.Hour
		if a := r.Ask(later); a.Result != warden.ResultFired || a.State != warden.StateFired || a.Kill != first.Kill {
			t.Errorf("kind %d after it has fired: %+v", kind, a)
		}
	}
}

func TestDeadlinesOnlyGrow(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	pid := s.cmd.Process.Pid
	first := armRequest(t, pid, time.Hour, 2*time.Hour, 3*time.Hour)
	r.Ask(first)
	for _, c := range []struct {
		name             string
		fast, quit, kill time.Duration
		want             time.Duration // of all three
	}{
		{"earlier", -time.Minute, -time.Minute, -time.Minute, 0},
		{"later", time.Minute, time.Minute, time.Minute, time.Minute},
		{"long past", -5 * time.Hour, -5 * time.Hour, -5 * time.Hour, time.Minute},
	} {
		q := first
		q.Fast, q.Quit, q.Kill = q.Fast+c.fast, q.Quit+c.quit, q.Kill+c.kill
		a := r.Ask(q)
		got := [...]time.Duration{a.Fast - first.Fast, a.Quit - first.Quit, a.Kill - first.Kill}
		if diff := cmp.Diff([...]time.Duration{c.want, c.want, c.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := startSignalLog(t)
	pid := s.cmd.Process.Pid
	other := startSignalLog(t).cmd.Process.Pid
	reused := armRequest(t, pid, time.Hour, time.Hour, time.Hour)
	reused.Start++
	for _, c := range []struct {
		name    string
		first   warden.Kind // KindArm: for pid; KindAttach: for the one to be started
		request warden.Request
		want    warden.Result
	}{
		{"a process of another user", 0, warden.Request{Kind: warden.KindArm, PID: 1, Start: identify(t, 1).Start, Fast: guard.Boottime() + time.Hour}, warden.ResultOtherUser},
		{"no such process", 0, reused, warden.ResultGone},
		{"a deadline that has passed", 0, armRequest(t, pid, -1, time.Hour, time.Hour), warden.ResultPast},
		{"another postmaster while the first lives", warden.KindArm, armRequest(t, other, time.Hour, time.Hour, time.Hour), warden.ResultAlive},
		{"a start while the first lives", warden.KindArm, armRequest(t, 0, time.Hour, time.Hour, time.Hour), warden.ResultAlive},
		{"attach to an idle guard", 0, warden.Request{Kind: warden.KindAttach, PID: pid, Start: identify(t, pid).Start}, warden.ResultNotArmed},
		{"attach what is gone", warden.KindAttach, warden.Request{Kind: warden.KindAttach, PID: pid, Start: 1}, warden.ResultGone},
		{"dismiss for another postmaster", warden.KindArm, warden.Request{Kind: warden.KindDismiss, PID: other, Start: 1}, warden.ResultMismatch},
		{"a kind of the future", 0, warden.Request{Kind: 99}, warden.ResultUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := guard.StartRaw(t)
			switch c.first {
			case warden.KindArm:
				r.Ask(armRequest(t, pid, time.Hour, time.Hour, time.Hour))
			case warden.KindAttach:
				r.Ask(armRequest(t, 0, time.Hour, time.Hour, time.Hour))
			}
			if a := r.Ask(c.request); a.Result != c.want {
				t.Errorf("result %d, want %d", a.Result, c.want)
			}
		})
	}
}

// Claim 5.1: what a service manager sends to a whole group reaches the guard, too.
func TestSignalsAreIgnored(t *testing.T) {
	r := guard.StartRaw(t)
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		switch sig {
		case syscall.SIGKILL, syscall.SIGSTOP:
		default:
			if err := syscall.Kill(r.PID(), sig); err != nil {
				t.Fatalf("signal %d: %v", sig, err)
			}
			if a := r.Ask(warden.Request{Kind: warden.KindQuery}); a.Result != warden.ResultOK {
				t.Fatalf("after signal %d: %+v", sig, a)
			}
		}
	}
}

// Claim 5.1: own session, working directory "/", no file but its own.
func TestGuardHoldsNothing(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	r.Ask(armRequest(t, s.cmd.Process.Pid, time.Hour, time.Hour, time.Hour))
	dir := fmt.Sprintf("/proc/%d", r.PID())
	if cwd, _ := os.Readlink(dir + "/cwd"); cwd != "/" {
		t.Errorf("working directory %q", cwd)
	}
	if sid, _, _ := syscall.Syscall(syscall.SYS_GETSID, uintptr(r.PID()), 0, 0); int(sid) != r.PID() {
		t.Errorf("session %d", sid)
	}
	files, err := filepath.Glob(dir + "/fd/*")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, f := range files {
		to, _ := os.Readlink(f)
		if to != "/dev/null" && !strings.HasPrefix(to, "socket:") && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "pidfd:") && !strings.HasPrefix(to, "pipe:") {
			t.Errorf("open file %s", to)
		}
	}
}

func TestIdleGuardEndsWithItsAgent(t *testing.T) {
	r := guard.StartRaw(t)
	h := hold(t, r.PID())
	r.HangUp()
	h.ended(t)
}

// Claim 5.2: the end of the channel changes nothing for an armed guard; when its postmaster ends, it does.
func TestArmedGuardOutlivesItsAgent(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	h, target := hold(t, r.PID()), hold(t, s.cmd.Process.Pid)
	q := armRequest(t, s.cmd.Process.Pid, 1200*time.Millisecond, 1300*time.Millisecond, 1400*time.Millisecond)
	r.Ask(q)
	r.HangUp()
	target.ended(t)
	if now := guard.Boottime(); now < q.Kill {
		t.Errorf("killed %v early", q.Kill-now)
	}
	h.ended(t)
}

// A guard that was armed for a start holds nobody to it: when the time has come and nobody was attached, it is idle again.
func TestNobodyIsAttachedInTime(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	q := armRequest(t, 0, 1050*time.Millisecond, 1060*time.Millisecond, 1070*time.Millisecond)
	if a := r.Ask(q); a.State != warden.StateReserved {
		t.Fatalf("armed: %+v", a)
	}
	until(t, q.Fast)
	pid := s.cmd.Process.Pid
	if a := r.Ask(warden.Request{Kind: warden.KindAttach, PID: pid, Start: identify(t, pid).Start}); a.Result == warden.ResultOK {
		t.Errorf("attached after the deadline: %+v", a)
	}
}

// Claim 5.6: a guard that was dismissed leaves the server to its successor, also where its own time has come by then.
func TestDismissedGuardNeverFires(t *testing.T) {
	r, s := guard.StartRaw(t), startSignalLog(t)
	first := armRequest(t, s.cmd.Process.Pid, 1200*time.Millisecond, 1300*time.Millisecond, 1400*time.Millisecond)
	r.Ask(first)
	freeze(t, r.PID())
	r.Send(warden.Request{Kind: warden.KindDismiss, PID: first.PID, Start: first.Start})
	until(t, first.Kill)
	thaw(t, r.PID())
	<-r.Gone()
	if len(s.more) != 0 {
		t.Errorf("%d signals after the dismissal", len(s.more))
	}
}
