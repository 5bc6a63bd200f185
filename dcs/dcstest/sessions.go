package dcstest

import (
	"errors"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

var sessionTests = []test{
	{name: "session/ttl", run: testTTL},
	{name: "session/close-deletes", run: testSessionClose},
	{name: "session/lost-is-final", run: testLost},
	{name: "session/confirm", run: testConfirm},
	{name: "session/confirm-is-definite-about-a-deleted-key", run: testConfirmDeleted},
	{name: "session/lives-exactly-while-kept-alive", run: testExpiry, waits: true},
	{name: "session/confirm-prolongs", run: testConfirmProlongs, waits: true},
	{name: "session/outlives-its-handle", run: testSessionOutlivesHandle, waits: true},
}

func testTTL(t *testing.T, s *suite) {
	b := s.open(t)
	x := s.session(t, b)
	if long := s.longSession(t, b); x.TTL() < s.MinTTL/2 || long.TTL() < x.TTL() { // Consul's TTL is half of what is asked
		t.Fatalf("asked for %s, which the store is said to grant, and got %s; for more, %s", s.MinTTL, x.TTL(), long.TTL())
	}
	if y := s.session(t, b); y.ID() == x.ID() {
		t.Fatalf("two sessions have id %q", x.ID())
	}
}

func testSessionClose(t *testing.T, s *suite) {
	b, other := s.open(t), s.open(t)
	x, y := s.longSession(t, b), s.longSession(t, b)
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
	x, sent := s.livesBy(t, b, func(x dcs.Session) error { _, err := x.KeepAlive(s.ctx); return err })
	s.endsAfter(t, b, x, "leader", sent)
	s.awaitGone(t, b, "members/a")
	if _, err := x.KeepAlive(s.ctx); !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("keepalive after expiry: %v", err)
	}
}

// livesBy renews a session with two keys for longer than its TTL, and returns it with the moment since when it promises to live for another one. On a machine that
// was too busy to renew in time it begins anew.
func (s *suite) livesBy(t *testing.T, b dcs.Backend, renew func(dcs.Session) error) (x dcs.Session, sent time.Time) {
	t.Helper()
	for range 5 {
		x, sent = s.alive(t, b, "leader")
		_, err := b.Apply(s.ctx, dcs.Txn{Do: []dcs.Write{{Key: s.key("members/a"), Value: []byte("{}"), Session: x}}})
		for until, last := sent.Add(x.TTL()*5/4), false; err == nil && !last; {
			last = time.Now().After(until)
			before := sent
			sent = time.Now()
			if err = renew(x); err == nil {
				sent = since(x, sent)
			} else if !ended(err) || time.Since(before) < x.TTL() {
				t.Fatalf("renew a session that was renewed %s ago: %v", time.Since(before), err)
			}
			switch {
			case last:
			case s.Advance != nil:
				s.Advance(x.TTL() / 2)
				until = until.Add(-x.TTL() / 2)
			default:
				s.tick(t, x.TTL()/4)
			}
		}
		if err == nil {
			return x, sent
		}
	}
	t.Fatal("the machine is too busy to keep a session alive")
	return nil, sent
}

// ended says whether a renewal failed as it does when the session has ended; where it ended between the two parts of a confirmation, its key is missing.
func ended(err error) bool {
	return errors.Is(err, dcs.ErrSessionLost) || errors.Is(err, dcs.ErrConflict)
}

// since is the moment from which x promises to live for its TTL, after a KeepAlive that was sent at sent.
func since(x dcs.Session, sent time.Time) time.Time {
	if d, ok := x.(dcs.Dated); ok {
		now := time.Now()
		if proven := now.Add(-d.Proven()); proven.Before(sent) {
			return proven
		}
	}
	return sent
}

// endsAfter awaits the end of x by the disappearance of name, and checks that it comes not before its TTL has passed since sent.
func (s *suite) endsAfter(t *testing.T, b dcs.Backend, x dcs.Session, name string, sent time.Time) {
	t.Helper()
	if s.Advance != nil {
		s.Advance(x.TTL() - time.Millisecond)
		if s.get(t, b, name) == nil {
			t.Fatal("the session ended before its TTL had passed")
		}
		s.Advance(time.Millisecond)
		s.awaitGone(t, b, name)
		return
	}
	s.awaitGone(t, b, name)
	age := time.Since(sent)
	if age < x.TTL() {
		t.Fatalf("the session ended %s after its last renewal was sent; its TTL is %s", age, x.TTL())
	}
	t.Logf("ended %s after the last renewal was sent; TTL %s", age.Round(10*time.Millisecond), x.TTL())
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
	x := s.longSession(t, b)
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
	x := s.longSession(t, b)
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
}

// testConfirmProlongs: a confirmation is a keepalive.
func testConfirmProlongs(t *testing.T, s *suite) {
	b := s.open(t)
	x, sent := s.livesBy(t, b, func(x dcs.Session) error {
		_, err := x.Confirm(s.ctx, dcs.Txn{If: []dcs.Cond{{Key: s.key("leader"), Session: x.ID()}}})
		return err
	})
	s.endsAfter(t, b, x, "leader", sent)
}

// testConfirmDeleted: the session lives, the key does not. Whoever trusts keepalives alone believes that he still leads.
func testConfirmDeleted(t *testing.T, s *suite) {
	b, operator := s.open(t), s.open(t)
	x := s.longSession(t, b)
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
	x, _ := s.alive(t, a, "leader")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if e := s.get(t, b, "leader"); e == nil {
		t.Log("this store ends the sessions of a handle with it: a handle that is closed has no more use for them")
		return
	}
	if s.Advance != nil {
		s.Advance(x.TTL())
	}
	s.awaitGone(t, b, "leader")
}
