package guard_test

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/postgres/pgtest"
)

func TestFiresInOrder(t *testing.T) {
	g, clock := newGuard(t)
	s := startSignalLog(t)
	p := identify(t, s.cmd.Process.Pid)
	h := hold(t, p.PID)
	o := order(clock, p, 1100*time.Millisecond, 1300*time.Millisecond, 1500*time.Millisecond)
	arm(t, g, o)
	for _, step := range []struct {
		word string
		due  time.Time
	}{{"INT", o.Fast}, {"QUIT", o.Quit}} {
		if got := await(t, s.more); got != step.word {
			t.Fatalf("got %q, want %q", got, step.word)
		}
		if now := clock.Now(); now.Before(step.due) {
			t.Errorf("%s came %v early", step.word, step.due.Sub(now))
		}
	}
	h.ended(t)
	if now := clock.Now(); now.Before(o.Kill) {
		t.Errorf("killed %v early", o.Kill.Sub(now))
	}
	if l := await(t, g.Lost()); !l.Fired {
		t.Errorf("Lost() = %+v, want Fired", l)
	}
}

func TestServerIsStoppedAtItsTime(t *testing.T) {
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := pgtest.Init(t, binDir)
		c.Start(t)
		g, clock := newGuard(t)
		o := order(clock, identify(t, c.PID()), 1200*time.Millisecond, 30*time.Second, 60*time.Second)
		arm(t, g, o)
		<-c.Exited()
		if now := clock.Now(); now.Before(o.Fast) {
			t.Errorf("stopped %v early", o.Fast.Sub(now))
		}
		if l := await(t, g.Lost()); !l.Fired {
			t.Errorf("Lost() = %+v, want Fired", l)
		}
	})
}
