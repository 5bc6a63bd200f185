package dcstest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
)

// Harness is what the suite needs to know about a store.
type Harness struct {
	// New returns a fresh handle on the store that all handles of this Harness share. The suite closes it.
	New func(t testing.TB) dcs.Backend
	// MinTTL is the shortest session that the store grants (0: one second). Tests of expiry last a few times as long.
	MinTTL time.Duration
	// Advance moves the store's clock, where it has one of its own, and ends the sessions that are overdue then. Nil: real time.
	Advance func(d time.Duration)
	// Patience is how long an event may take that a correct store does produce, beyond TTLs. 0: 30 seconds.
	Patience time.Duration
	// NoLeakCheck leaves the search for forgotten goroutines out, for a store that runs in this process.
	NoLeakCheck bool
	// Faults, if not nil, are hooks into a proxy before the store.
	Faults *Faults
}

// Faults disturb the way between a handle and the store. A field may be nil: its tests are left out.
type Faults struct {
	Cut       func(t testing.TB) // no request of any handle reaches the store, until Restore
	Restore   func(t testing.TB)
	DropReply func(t testing.TB) // the next request that writes reaches the store, and its reply is lost
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.New == nil {
		t.Fatal("Harness.New is missing")
	}
	if h.MinTTL == 0 {
		h.MinTTL = time.Second
	}
	if h.Patience == 0 {
		h.Patience = 30 * time.Second
	}
	for _, group := range [][]test{keyTests, txnTests, sessionTests, watchTests, contextTests, raceTests, clientTests, faultTests} {
		for _, tt := range group {
			t.Run(tt.name, func(t *testing.T) { h.run(t, tt) })
		}
	}
}

// test is one subtest; it gets a folder of keys for itself.
type test struct {
	name string
	run  func(t *testing.T, s *suite)
}

// suite is what one subtest works with.
type suite struct {
	Harness
	ctx    context.Context
	prefix string // of all keys of this subtest, with a slash at the end
}

func (h Harness) run(t *testing.T, tt test) {
	if !h.NoLeakCheck {
		old := goleak.IgnoreCurrent()
		t.Cleanup(func() { goleak.VerifyNone(t, old) }) // registered first, so it runs after all handles are closed
	}
	var id [6]byte
	_, _ = rand.Read(id[:])
	limit := 4*h.MinTTL + 4*h.Patience
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	tt.run(t, &suite{Harness: h, ctx: ctx, prefix: "/tanist-test/" + hex.EncodeToString(id[:]) + "/"})
}

// open returns a fresh handle that is closed at the test's end.
func (s *suite) open(t testing.TB) dcs.Backend {
	t.Helper()
	b := s.New(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the handle: %v", err)
		}
	})
	return b
}

// key is the full name of a key of this subtest.
func (s *suite) key(name string) string { return s.prefix + name }

func (s *suite) read(t testing.TB, b dcs.Backend) dcs.Snapshot {
	t.Helper()
	snap, err := b.Read(s.ctx, s.prefix)
	if err != nil {
		t.Fatalf("read %s: %v", s.prefix, err)
	}
	return snap
}

// get reads one key; nil if it is absent.
func (s *suite) get(t testing.TB, b dcs.Backend, name string) *dcs.Entry {
	t.Helper()
	for _, e := range s.read(t, b).Entries {
		if e.Key == s.key(name) {
			return &e
		}
	}
	return nil
}

func (s *suite) must(t testing.TB, b dcs.Backend, tx dcs.Txn) dcs.Applied {
	t.Helper()
	a, err := b.Apply(s.ctx, tx)
	if err != nil {
		t.Fatalf("apply %+v: %v", tx, err)
	}
	return a
}

// put writes one key without conditions.
func (s *suite) put(t testing.TB, b dcs.Backend, name, value string, x dcs.Session) dcs.Applied {
	t.Helper()
	return s.must(t, b, dcs.Txn{Do: []dcs.Write{{Key: s.key(name), Value: []byte(value), Session: x}}})
}

func (s *suite) delete(t testing.TB, b dcs.Backend, name string) dcs.Applied {
	t.Helper()
	return s.must(t, b, dcs.Txn{Do: []dcs.Write{{Key: s.key(name), Delete: true}}})
}

func (s *suite) session(t testing.TB, b dcs.Backend) dcs.Session {
	t.Helper()
	x, err := b.OpenSession(s.ctx, s.MinTTL)
	if err != nil {
		t.Fatalf("open a session of %s: %v", s.MinTTL, err)
	}
	if x.ID() == "" || x.TTL() <= 0 {
		t.Fatalf("session has id %q and ttl %s", x.ID(), x.TTL())
	}
	return x
}

// refused expects err to be target, and the folder to be as before.
func (s *suite) refused(t testing.TB, b dcs.Backend, before dcs.Snapshot, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
	if errors.Is(err, dcs.ErrUnknown) {
		t.Fatalf("%v is both definite and unknown", err)
	}
	if got, want := describe(s.read(t, b)), describe(before); got != want {
		t.Fatalf("a refused request changed something:\nbefore\n%s\nafter\n%s", want, got)
	}
}

// await reads until done says so, woken by hints.
func (s *suite) await(t testing.TB, b dcs.Backend, what string, done func(dcs.Snapshot) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience+3*s.MinTTL)
	defer cancel()
	for {
		hints, err := b.Watch(ctx, s.prefix)
		if err != nil {
			t.Fatalf("watch while waiting until %s: %v", what, err)
		}
		for open := true; open; {
			snap, err := b.Read(ctx, s.prefix)
			if err != nil {
				t.Fatalf("read while waiting until %s: %v", what, err)
			}
			if done(snap) {
				cancel()
				s.ends(t, hints)
				return
			}
			_, open = <-hints
		}
		if ctx.Err() != nil {
			t.Fatalf("waited %s until %s: no hint came", s.Patience, what)
		}
	}
}

// awaitGone waits until a key has disappeared.
func (s *suite) awaitGone(t testing.TB, b dcs.Backend, name string) {
	t.Helper()
	s.await(t, b, name+" is gone", func(snap dcs.Snapshot) bool { return find(snap, s.key(name)) == nil })
}

func find(snap dcs.Snapshot, key string) *dcs.Entry {
	for i := range snap.Entries {
		if snap.Entries[i].Key == key {
			return &snap.Entries[i]
		}
	}
	return nil
}

// describe renders what a snapshot holds, without its version.
func describe(snap dcs.Snapshot) string {
	var b strings.Builder
	for _, e := range snap.Entries {
		v := string(e.Value)
		if len(v) > 40 {
			v = v[:40] + "..."
		}
		b.WriteString(e.Key + " = " + v + " version " + itoa(e.Version) + " created " + itoa(e.Created) + " session " + e.Session + "\n")
	}
	return b.String()
}
