package guard_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// A guard that was frozen when its postmaster died, and thaws when another server runs in its place, sweeps and spares that one: it cannot
// tell when its postmaster died, but what a newer one is.
func TestNewServerIsSpared(t *testing.T) {
	c := startServer(t, pgtest.BinDir(t))
	r := guard.StartRaw(t)
	if a := r.Ask(armRequest(t, c.PID(), time.Hour, time.Hour, time.Hour)); a.Result != warden.ResultOK {
		t.Fatalf("arm: %+v", a)
	}
	freeze(t, r.PID())
	if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Ended(t)
	c.Start(t)
	client := connect(t, c, "", "SELECT 1;")
	all := everyone(t, c.PID())
	thaw(t, r.PID())
	for end := time.Now().Add(patience); r.Ask(warden.Request{Kind: warden.KindQuery}).State != warden.StateIdle; {
		if time.Now().After(end) {
			t.Fatal("the guard does not end its sweep")
		}
	}
	if client.backend.endsWithin(0) {
		t.Error("a client of the new server was ended")
	}
	for _, h := range all {
		if h.endsWithin(0) {
			t.Error("a process of the new server was ended")
		}
	}
	if got := c.Query(t, "SELECT 1"); got != "1" {
		t.Errorf("the new server says %q", got)
	}
}
