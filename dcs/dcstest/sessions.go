package dcstest

import (
	"errors"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

var sessionTests = []test{
	{"session/ttl-is-not-less-than-asked", testTTL},
	{"session/close-deletes", testSessionClose},
	{"session/lives-exactly-while-kept-alive", testExpiry},
	{"session/lost-is-final", testLost},
	{"session/confirm", testConfirm},
	{"session/confirm-is-definite-about-a-deleted-key", testConfirmDeleted},
	{"session/outlives-its-handle", testSessionOutlivesHandle},
}

func testTTL(t *testing.T, s *suite) {
	b := s.open(t)
	x := s.session(t, b)
	if x.TTL() < s.MinTTL {
		t.Fatalf("asked for %s, which the store is said to grant, and got %s", s.MinTTL, x.TTL())
	}
	if y := s.session(t, b); y.ID() == x.ID() {
		t.Fatalf("two sessions have id %q", x.ID())
	}
}

func testSessionClose(t *testing.T, s *suite) {
	b, other := s.open(t), s.open(t)
	x, y := s.session(t, b), s.session(t, b)
	s.put(t, b, "leader", "a", x)
	s.put(t, b, "members/a", "{}", x)
	s.put(t, b, "members/b", "{}", y)
	s.put(t, b, "status", "{}", nil)
	if e := s.get(t, other, "leader"); e.Session != x.ID() {
		t.Fatalf("leader is bound to %q, want %q", e.Session, x.ID())
	}
	if err := x.Close(s.ctx); err != nil {
		t.Fatal(err)
	}
	snap := s.read(t, other)
	if len(snap.Entries) != 2 || find(snap, s.key("members/b")) == nil || find(snap, s.key("status")) == nil {
		t.Fatalf("after the end of one session:\n%s", describe(snap))
	}
	if _, err := x.KeepAlive(s.ctx); !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("keepalive of a closed session: %v", err)
	}
	if err := x.Close(s.ctx); err != nil && !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("second close: %v", err)
	}
}

// testExpiry: a session lives on beyond its TTL while it is kept alive, and not less than TTL after the last KeepAlive was sent.
func testExpiry(t *testing.T, s *suite) {
	b := s.open(t)
	x := s.session(t, b)
	s.put(t, b, "leader", "a", x)
	s.put(t, b, "members/a", "{}", x)
	if s.Advance != nil {
		for range 3 {
			s.Advance(x.TTL() * 3 / 4)
			s.keepAlive(t, x)
		}
		s.Advance(x.TTL() - time.Millisecond)
		if s.get(t, b, "leader") == nil {
			t.Fatal("the session ended before its TTL had passed")
		}
		s.Advance(time.Millisecond)
		s.awaitGone(t, b, "leader")
	} else {
		sent := time.Now()
		for until := sent.Add(x.TTL() * 5 / 4); time.Now().Before(until); {
			sent = time.Now()
			s.keepAlive(t, x)
			s.tick(t, x.TTL()/4)
		}
		if s.get(t, b, "leader") == nil {
			t.Fatal("a session that was kept alive has ended")
		}
		s.awaitGone(t, b, "leader")
		if age := time.Since(sent); age < x.TTL() {
			t.Fatalf("the session ended %s after the last keepalive was sent; its TTL is %s", age, x.TTL())
		}
	}
	s.awaitGone(t, b, "members/a")
	if _, err := x.KeepAlive(s.ctx); !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("keepalive after expiry: %v", err)
	}
}

func (s *suite) keepAlive(t *testing.T, x dcs.Session) {
	t.Helper()
	if _, err := x.KeepAlive(s.ctx); err != nil {
		t.Fatalf("keepalive: %v", err)
	}
}

// tick lets real time pass: expiry is the one thing here that no event stands for.
func (s *suite) tick(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		t.Fatal(s.ctx.Err())
	}
}

func testLost(t *testing.T, s *suite) {
	b := s.open(t)
	x := s.session(t, b)
	if err := x.Close(s.ctx); err != nil {
		t.Fatal(err)
	}
	before := s.read(t, b)
	_, err := b.Apply(s.ctx, dcs.Txn{Do: []dcs.Write{
		{Key: s.key("other"), Value: []byte("1")},
		{Key: s.key("leader"), Value: []byte("a"), Session: x},
	}})
	s.refused(t, b, before, err, dcs.ErrSessionLost)
	_, err = x.Confirm(s.ctx, dcs.Txn{Do: []dcs.Write{{Key: s.key("status"), Value: []byte("{}")}}})
	s.refused(t, b, before, err, dcs.ErrSessionLost)
	if _, err := x.KeepAlive(s.ctx); !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("keepalive: %v", err)
	}
}

func testConfirm(t *testing.T, s *suite) {
	b := s.open(t)
	x := s.session(t, b)
	s.put(t, b, "leader", "a", x)
	e := s.get(t, b, "leader")
	mine := dcs.Cond{Key: s.key("leader"), Created: e.Created, Session: x.ID(), Value: []byte("a")}
	for range 2 { // a confirmation changes nothing that its conditions name
		if _, err := x.Confirm(s.ctx, dcs.Txn{If: []dcs.Cond{mine}}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := x.Confirm(s.ctx, dcs.Txn{If: []dcs.Cond{mine}, Do: []dcs.Write{{Key: s.key("status"), Value: []byte("7")}}})
	if err != nil {
		t.Fatal(err)
	}
	st := s.get(t, b, "status")
	if st == nil || string(st.Value) != "7" || st.Version != a.Version || st.Session != "" {
		t.Fatalf("written under confirmation: %+v, applied %+v", st, a)
	}
	if s.Advance != nil {
		s.Advance(x.TTL() * 3 / 4)
		if _, err := x.Confirm(s.ctx, dcs.Txn{If: []dcs.Cond{mine}}); err != nil {
			t.Fatal(err)
		}
		s.Advance(x.TTL() * 3 / 4)
		if s.get(t, b, "leader") == nil {
			t.Fatal("a confirmation did not prolong the session")
		}
	}
}

// testConfirmDeleted: the session lives, the key does not. Whoever trusts keepalives alone believes that he still leads.
func testConfirmDeleted(t *testing.T, s *suite) {
	b, operator := s.open(t), s.open(t)
	x := s.session(t, b)
	s.put(t, b, "leader", "a", x)
	e := s.get(t, b, "leader")
	mine := dcs.Cond{Key: s.key("leader"), Created: e.Created, Session: x.ID(), Value: []byte("a")}
	s.delete(t, operator, "leader")
	s.keepAlive(t, x)
	before := s.read(t, b)
	tx := dcs.Txn{If: []dcs.Cond{mine}, Do: []dcs.Write{{Key: s.key("status"), Value: []byte("7")}}}
	_, err := x.Confirm(s.ctx, tx)
	s.refused(t, b, before, err, dcs.ErrConflict)
	s.put(t, operator, "leader", "a", x) // another life, with the same name and session
	before = s.read(t, b)
	_, err = x.Confirm(s.ctx, tx)
	s.refused(t, b, before, err, dcs.ErrConflict)
}

func testSessionOutlivesHandle(t *testing.T, s *suite) {
	b := s.open(t)
	a := s.New(t)
	x := s.session(t, a)
	s.put(t, a, "leader", "a", x)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if e := s.get(t, b, "leader"); e == nil {
		t.Skip("this store ends the sessions of a handle with it: earlier than by the contract's default, which only costs time")
	}
	if s.Advance != nil {
		s.Advance(x.TTL())
	}
	s.awaitGone(t, b, "leader")
}
