package dcstest

import (
	"context"
	"errors"
	"testing"

	"github.com/tanist-ha/tanist/dcs"
)

var contextTests = []test{
	{name: "context/cancelled", run: testCancelled},
	{name: "context/closed-handle", run: testClosedHandle},
}

// fails expects that a request was not served, and that nothing claims a definite answer of the store.
func fails(t testing.TB, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error", what)
	case errors.Is(err, dcs.ErrConflict), errors.Is(err, dcs.ErrSessionLost):
		t.Errorf("%s: %v: but the store was not asked", what, err)
	case !errors.Is(err, dcs.ErrUnavailable) && !errors.Is(err, dcs.ErrUnknown):
		t.Errorf("%s: %v is neither ErrUnavailable nor ErrUnknown", what, err)
	}
}

// testCancelled: each method gives up at once when its context is over, and does nothing.
func testCancelled(t *testing.T, s *suite) {
	b := s.open(t)
	x := s.longSession(t, b)
	s.put(t, b, "k", "v", x)
	before := s.read(t, b)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := b.Read(ctx, s.prefix)
	fails(t, "Read", err)
	_, err = b.Apply(ctx, dcs.Txn{Do: []dcs.Write{{Key: s.key("k"), Value: []byte("w")}}})
	fails(t, "Apply", err)
	_, err = b.OpenSession(ctx, s.MinTTL)
	fails(t, "OpenSession", err)
	_, err = x.KeepAlive(ctx)
	fails(t, "KeepAlive", err)
	_, err = x.Confirm(ctx, dcs.Txn{If: []dcs.Cond{{Key: s.key("k"), Session: x.ID()}}})
	fails(t, "Confirm", err)
	fails(t, "Close of a session", x.Close(ctx))
	if hints, err := b.Watch(ctx, s.prefix); err == nil {
		s.ends(t, hints) // either form is right
	} else {
		fails(t, "Watch", err)
	}
	if got, want := describe(s.read(t, b)), describe(before); got != want {
		t.Fatalf("requests that were cancelled before they were made changed something:\nbefore\n%s\nafter\n%s", want, got)
	}
}

func testClosedHandle(t *testing.T, s *suite) {
	b := s.New(t)
	x := s.longSession(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := b.Read(s.ctx, s.prefix)
	fails(t, "Read", err)
	_, err = b.Apply(s.ctx, dcs.Txn{Do: []dcs.Write{{Key: s.key("k"), Value: []byte("w")}}})
	fails(t, "Apply", err)
	_, err = x.KeepAlive(s.ctx)
	fails(t, "KeepAlive", err)
}
