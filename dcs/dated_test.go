package dcs_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

// TestDatedSession: in a store whose answers prove nothing at once, a keepalive tells since when the session is certain to live, and an acquire is one
// write while that proof is young, and a confirmation when it is not (safety 1.4 and 2.4).
func TestDatedSession(t *testing.T) {
	w := newWorld(t)
	w.store = memory.New(memory.Options{Now: func() time.Time { return w.now }, Tick: 2 * time.Second})
	a := w.node("a")
	keep := func(age time.Duration) {
		t.Helper()
		alive, err := a.KeepAlive(t.Context(), dcs.KeepAlive{TTL: ttl})
		if err != nil || alive.Age != age || alive.Pace.Takes != 2*time.Second {
			t.Fatalf("a proof of age %s, of a session of %+v: %v; want %s, and a tick", alive.Age, alive.Pace, err, age)
		}
	}
	keep(0) // the opening
	w.pass(10 * time.Second)
	keep(0 + 10*time.Second)
	w.pass(time.Second)
	keep(11 * time.Second) // half a tick after the last: that one is not proven
	w.pass(9 * time.Second)
	keep(9 * time.Second)

	acquire := func(kind string, age time.Duration) {
		t.Helper()
		a.asked = nil
		h, err := a.Acquire(t.Context(), dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}})
		if err != nil || h.Age != age || h.Pace.Takes != 2*time.Second || !slices.Contains(a.asked, kind) {
			t.Fatalf("acquired with %+v by %q: %v; want age %s by %s", h, a.asked, err, age, kind)
		}
		if err := a.Release(t.Context(), dcs.Release{Leader: h.Leader}); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(5 * time.Second)
	acquire("apply", 5*time.Second) // it proves the keepalive before it
	w.pass(16 * time.Second)
	acquire("confirm", 0)
}
