package memory_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Several sessions that are overdue at once end in the order of their deadlines, each with its keys in order: one history
// for one seed.
func TestExpiryIsOrdered(t *testing.T) {
	for range 20 {
		now := time.Unix(0, 0)
		var told []string
		s := memory.New(memory.Options{
			Now:      func() time.Time { return now },
			OnChange: func(h dcs.Hint) { told = append(told, fmt.Sprint(h.Key, h.Version)) },
		})
		b := s.Backend()
		for i, ttl := range []time.Duration{5, 3, 4, 3} {
			x := must[dcs.Session](t)(b.OpenSession(t.Context(), ttl*time.Second))
			for _, k := range []string{"z", "a"} {
				must[dcs.Applied](t)(b.Apply(t.Context(), dcs.Txn{Do: []dcs.Write{{Key: fmt.Sprint(i, k), Session: x}}}))
			}
		}
		told = nil
		now = now.Add(10 * time.Second)
		if n := s.Tick(); n != 4 {
			t.Fatalf("%d sessions ended", n)
		}
		if want := []string{"1a10", "1z10", "3a11", "3z11", "2a12", "2z12", "0a13", "0z13"}; !slices.Equal(told, want) {
			t.Fatalf("told %v, want %v", told, want)
		}
	}
}

// Expiry needs no Tick: no request sees a key that should be gone.
func TestExpiryOnAccess(t *testing.T) {
	now := time.Unix(0, 0)
	s := memory.New(memory.Options{Now: func() time.Time { return now }})
	b := s.Backend()
	x := must[dcs.Session](t)(b.OpenSession(t.Context(), time.Second))
	must[dcs.Applied](t)(b.Apply(t.Context(), dcs.Txn{Do: []dcs.Write{{Key: "k", Session: x}}}))
	now = now.Add(time.Second)
	must[dcs.Applied](t)(b.Apply(t.Context(), dcs.Txn{If: []dcs.Cond{{Key: "k", Absent: true}}}))
	if at, ok := s.NextExpiry(); ok {
		t.Fatalf("next expiry %s of no session", at)
	}
}

func TestChangesMayUseTheStore(t *testing.T) {
	var s *memory.Store
	var seen []dcs.Version
	s = memory.New(memory.Options{OnChange: func(h dcs.Hint) {
		seen = append(seen, h.Version)
		if h.Key == "first" {
			s.Put("second", nil)
		}
	}})
	s.Put("first", nil)
	if !slices.Equal(seen, []dcs.Version{2, 3}) {
		t.Fatalf("seen %v", seen)
	}
}

// TestWipe: another identity, no sessions, versions from the start, and everybody is told.
func TestWipe(t *testing.T) {
	s := memory.New(memory.Options{})
	b := s.Backend()
	defer b.Close()
	x := must[dcs.Session](t)(b.OpenSession(t.Context(), time.Minute))
	must[dcs.Applied](t)(b.Apply(t.Context(), dcs.Txn{Do: []dcs.Write{{Key: "a/k", Session: x}, {Key: "a/l"}}}))
	before := must[dcs.Snapshot](t)(b.Read(t.Context(), "a/"))
	hints := must[<-chan dcs.Hint](t)(b.Watch(t.Context(), "a/"))
	s.Wipe()
	if h := <-hints; h.Key != "" {
		t.Fatalf("hint %+v", h)
	}
	after := must[dcs.Snapshot](t)(b.Read(t.Context(), "a/"))
	if len(after.Entries) != 0 || after.StoreID == before.StoreID || after.Version >= before.Version {
		t.Fatalf("before %+v\nafter %+v", before, after)
	}
	if _, err := x.KeepAlive(t.Context()); !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("keepalive: %v", err)
	}
}

// TestTouch: as in ZooKeeper, an answered keepalive counts when the follower that answered has told its leader.
func TestTouch(t *testing.T) {
	now := time.Unix(0, 0)
	s := memory.New(memory.Options{Now: func() time.Time { return now }, Tick: 2 * time.Second})
	b := s.Backend()
	x := must[dcs.Session](t)(b.OpenSession(t.Context(), 12*time.Second))
	alive := func(at time.Duration) bool {
		now = time.Unix(0, 0).Add(at)
		s.Tick()
		return len(s.Sessions()) == 1
	}
	alive(5 * time.Second)
	must[dcs.Applied](t)(x.Confirm(t.Context(), dcs.Txn{}))
	if !alive(17 * time.Second) { // told at 6 s
		t.Fatal("it ended early")
	}
	must[dcs.Version](t)(x.KeepAlive(t.Context()))
	s.LoseTouches(x.ID())
	if alive(18 * time.Second) {
		t.Fatal("a lost keepalive counts")
	}
}

// TestDeposed: a deposed leader's answer to a keepalive prolongs nothing, and confirms nothing.
func TestDeposed(t *testing.T) {
	for _, anyTerm := range []bool{false, true} {
		now := time.Unix(0, 0)
		s := memory.New(memory.Options{Now: func() time.Time { return now }, AnyTerm: anyTerm})
		b := s.Backend()
		x := must[dcs.Session](t)(b.OpenSession(t.Context(), 10*time.Second))
		b.Inject(func(memory.Op) memory.Fate { return memory.Deposed })
		now = now.Add(9 * time.Second)
		must[dcs.Version](t)(x.KeepAlive(t.Context()))
		if _, err := x.Confirm(t.Context(), dcs.Txn{}); errors.Is(err, dcs.ErrUnknown) == anyTerm {
			t.Fatalf("any term %v: %v", anyTerm, err)
		}
		now = now.Add(time.Second)
		if left := s.Sessions(); len(left) != 0 {
			t.Fatalf("it lives: %v", left)
		}
	}
}

// TestRestore: keys, versions and sessions of then, under another identity; nobody prolongs a session of the store before.
func TestRestore(t *testing.T) {
	now := time.Unix(0, 0)
	s := memory.New(memory.Options{Now: func() time.Time { return now }})
	b := s.Backend()
	x := must[dcs.Session](t)(b.OpenSession(t.Context(), 10*time.Second))
	must[dcs.Applied](t)(b.Apply(t.Context(), dcs.Txn{Do: []dcs.Write{{Key: "leader", Session: x}}}))
	backup, before := s.Backup(), must[dcs.Snapshot](t)(b.Read(t.Context(), ""))
	s.Put("later", nil)
	now = now.Add(9 * time.Second)
	s.Restore(backup)
	now = now.Add(9 * time.Second)
	after := must[dcs.Snapshot](t)(b.Read(t.Context(), ""))
	if len(after.Entries) != 1 || after.Version != before.Version || after.StoreID == before.StoreID {
		t.Fatalf("before %+v\nafter %+v", before, after)
	}
	if _, err := x.KeepAlive(t.Context()); !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("keepalive: %v", err)
	}
	if _, err := x.Confirm(t.Context(), dcs.Txn{}); !errors.Is(err, dcs.ErrUnknown) {
		t.Fatalf("confirm: %v", err)
	}
	if _, err := b.Apply(t.Context(), dcs.Txn{Do: []dcs.Write{{Key: "k", Session: x}}}); !errors.Is(err, dcs.ErrUnknown) {
		t.Fatalf("apply: %v", err)
	}
	now = now.Add(time.Second)
	if got := must[dcs.Snapshot](t)(b.Read(t.Context(), "")).Entries; len(got) != 0 {
		t.Fatalf("left: %+v", got)
	}
}

func TestEndAndRestartSessions(t *testing.T) {
	now := time.Unix(0, 0)
	s := memory.New(memory.Options{Now: func() time.Time { return now }, MinTTL: 2 * time.Second})
	b := s.Backend()
	x := must[dcs.Session](t)(b.OpenSession(t.Context(), time.Second))
	y := must[dcs.Session](t)(b.OpenSession(t.Context(), 4*time.Second))
	if x.TTL() != 2*time.Second || y.TTL() != 4*time.Second {
		t.Fatalf("granted %s and %s", x.TTL(), y.TTL())
	}
	now = now.Add(1500 * time.Millisecond)
	s.RestartSessions() // as a new leader of etcd
	now = now.Add(1500 * time.Millisecond)
	if got := s.Sessions(); len(got) != 2 {
		t.Fatalf("sessions %v", got)
	}
	if !s.EndSession(y.ID()) || s.EndSession(y.ID()) {
		t.Fatal("a session can be ended once")
	}
	if _, err := b.OpenSession(t.Context(), 0); err == nil {
		t.Fatal("a session of no ttl")
	}
}

// Requests that no store could carry out are refused, and mean nothing else.
func TestMalformed(t *testing.T) {
	b, other := memory.New(memory.Options{}).Backend(), memory.New(memory.Options{}).Backend()
	foreign := must[dcs.Session](t)(other.OpenSession(t.Context(), time.Minute))
	for _, tx := range []dcs.Txn{
		{Do: []dcs.Write{{Key: ""}}},
		{Do: []dcs.Write{{Key: "k"}, {Key: "k", Delete: true}}},
		{Do: []dcs.Write{{Key: "k", Session: foreign}}},
		{If: []dcs.Cond{{Key: "k", Absent: true, Version: 3}}},
	} {
		_, err := b.Apply(t.Context(), tx)
		for _, target := range []error{nil, dcs.ErrConflict, dcs.ErrUnknown, dcs.ErrUnavailable, dcs.ErrSessionLost} {
			if errors.Is(err, target) {
				t.Errorf("%+v: %v", tx, err)
			}
		}
	}
}

func BenchmarkConfirm(b *testing.B) {
	now := time.Unix(0, 0)
	s := memory.New(memory.Options{Now: func() time.Time { return now }})
	h := s.Backend()
	x := must[dcs.Session](b)(h.OpenSession(b.Context(), time.Minute))
	must[dcs.Applied](b)(h.Apply(b.Context(), dcs.Txn{Do: []dcs.Write{{Key: "leader", Value: []byte("a"), Session: x}}}))
	tx := dcs.Txn{If: []dcs.Cond{{Key: "leader", Session: x.ID(), Value: []byte("a")}}}
	for b.Loop() {
		now = now.Add(time.Millisecond)
		must[dcs.Applied](b)(x.Confirm(b.Context(), tx))
	}
}

func BenchmarkRead(b *testing.B) {
	s := memory.New(memory.Options{})
	for i := range 15 {
		s.Put(fmt.Sprintf("/service/main/members/n%d", i), make([]byte, 300))
	}
	h := s.Backend()
	for b.Loop() {
		must[dcs.Snapshot](b)(h.Read(b.Context(), "/service/main/"))
	}
}

func BenchmarkClientLoad(b *testing.B) {
	s := memory.New(memory.Options{})
	for i := range 5 {
		s.Put(fmt.Sprintf("/service/main/members/n%d", i), []byte(`{"conn_url":"postgres://10.1.0.10:5432/postgres","state":"running","role":"replica","version":"4.1.4"}`))
	}
	c := dcs.NewClient(s.Backend(), dcs.Options{Scope: "main", Name: "n1"})
	for b.Loop() {
		must[dcs.Cluster](b)(c.Load(b.Context()))
	}
}
