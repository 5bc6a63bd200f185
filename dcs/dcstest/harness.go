package dcstest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
)

// Harness is what the suite needs to know about a store.
type Harness struct {
	// New returns a fresh handle on the store that all handles of this Harness share. The suite closes it.
	New func(t testing.TB) dcs.Backend
	// Linked returns a fresh handle on the same store, and the means to disturb the way between the two, of this handle alone (see Proxy). The
	// suite closes the handle. Nil: the tests of faults are skipped.
	Linked func(t testing.TB) (dcs.Backend, Link)
	// Complete makes it a failure if a test would have to be skipped because the Harness lacks what it needs.
	Complete bool
	// MinTTL is the shortest TTL that can be asked for without being raised (0: one second). Tests of expiry last a few times as long, side by side.
	MinTTL time.Duration
	// Advance moves the store's clock, where it has one of its own, and ends the sessions that are overdue then. Nil: real time.
	Advance func(d time.Duration)
	// Patience is how long an event may take that a correct store does produce, beyond TTLs. 0: 30 seconds.
	Patience time.Duration
	// NoLeakCheck leaves the search for forgotten goroutines out, for a store that runs in this process, or runs of the suite side by side.
	NoLeakCheck bool
}

// Run runs the suite. It returns when all of its tests have ended.
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
	groups := [][]test{keyTests, txnTests, sessionTests, watchTests, contextTests, raceTests, clientTests, faultTests, leaseTests}
	for _, tt := range slices.Concat(groups...) {
		if !tt.waits {
			t.Run(tt.name, func(t *testing.T) { h.run(t, tt) })
		}
	}
	t.Run("waiting", func(t *testing.T) { h.runWaiting(t, slices.Concat(groups...)) })
}

// runWaiting runs the tests in which time passes: all at once, as they use no processor, unless they move one clock. (t.Parallel would run as many
// as there are processors.)
func (h Harness) runWaiting(t *testing.T, tests []test) {
	h.checkLeaks(t)
	h.NoLeakCheck = true
	var wg sync.WaitGroup
	for _, tt := range tests {
		switch {
		case !tt.waits:
		case h.Advance == nil:
			wg.Go(func() { t.Run(tt.name, func(t *testing.T) { h.run(t, tt) }) })
		case !tt.realTime:
			t.Run(tt.name, func(t *testing.T) { h.run(t, tt) })
		}
	}
	wg.Wait()
}

// test is one subtest; it gets a folder of keys for itself.
type test struct {
	name     string
	run      func(t *testing.T, s *suite)
	waits    bool // time passes in it: it runs beside others
	realTime bool // it makes no sense on a clock that the test advances
}

// suite is what one subtest works with.
type suite struct {
	Harness
	ctx    context.Context
	prefix string // of all keys of this subtest, with a slash at the end
}

func (h Harness) run(t *testing.T, tt test) {
	h.checkLeaks(t)
	var id [6]byte
	_, _ = rand.Read(id[:])
	limit := 12*h.MinTTL + 4*h.Patience
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	tt.run(t, &suite{Harness: h, ctx: ctx, prefix: "/tanist-test/" + hex.EncodeToString(id[:]) + "/"})
}

// checkLeaks looks for forgotten goroutines when t ends, after everything that is registered later.
func (h Harness) checkLeaks(t *testing.T) {
	if !h.NoLeakCheck {
		old := goleak.IgnoreCurrent()
		t.Cleanup(func() { goleak.VerifyNone(t, old) })
	}
}

// open returns a fresh handle that is closed at the test's end.
func (s *suite) open(t testing.TB) dcs.Backend {
	t.Helper()
	b := s.New(t)
	closeAfter(t, b)
	return b
}

func closeAfter(t testing.TB, b dcs.Backend) {
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the handle: %v", err)
		}
	})
}

// linked returns a fresh handle and the Link to disturb it; both end, healthy, with the test.
func (s *suite) linked(t testing.TB) (dcs.Backend, Link) {
	t.Helper()
	if s.Linked == nil {
		if s.Complete {
			t.Fatal("the harness is to be complete, and cannot disturb the way to the store: Linked is missing")
		}
		t.Skip("the harness cannot disturb the way to the store")
	}
	b, link := s.Linked(t)
	closeAfter(t, b)
	t.Cleanup(func() { link(Healthy) })
	return b, link
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
	return s.sessionOf(t, b, s.MinTTL)
}

// longSession does not end while a test disturbs things.
func (s *suite) longSession(t testing.TB, b dcs.Backend) dcs.Session {
	t.Helper()
	return s.sessionOf(t, b, max(s.MinTTL, time.Minute))
}

func (s *suite) sessionOf(t testing.TB, b dcs.Backend, ttl time.Duration) dcs.Session {
	t.Helper()
	x, err := b.OpenSession(s.ctx, ttl)
	if err != nil {
		t.Fatalf("open a session of %s: %v", ttl, err)
	}
	if x.ID() == "" || x.TTL() <= 0 {
		t.Fatalf("session has id %q and ttl %s", x.ID(), x.TTL())
	}
	return x
}

// alive opens a short session, puts name under it, and keeps it alive once: since sent. On a machine that was too busy for that within the session's TTL
// it begins anew.
func (s *suite) alive(t testing.TB, b dcs.Backend, name string) (x dcs.Session, sent time.Time) {
	t.Helper()
	for range 10 {
		opened := time.Now()
		x = s.session(t, b)
		_, err := b.Apply(s.ctx, dcs.Txn{Do: []dcs.Write{{Key: s.key(name), Value: []byte("a"), Session: x}}})
		if err == nil {
			sent = time.Now()
			_, err = x.KeepAlive(s.ctx)
		}
		if err == nil {
			return x, since(x, sent)
		}
		if !errors.Is(err, dcs.ErrSessionLost) || time.Since(opened) < x.TTL() {
			t.Fatalf("%s after a session of %s was opened: %v", time.Since(opened), x.TTL(), err)
		}
	}
	t.Fatal("the machine is too busy to keep a session alive")
	return nil, sent
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
