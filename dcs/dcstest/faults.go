package dcstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

var faultTests = []test{
	{name: "fault/cut", run: func(t *testing.T, s *suite) { testFault(t, s, Cut) }, waits: true},
	{name: "fault/lost-replies", run: func(t *testing.T, s *suite) { testFault(t, s, LostReplies) }, waits: true},
	{name: "fault/silent", run: func(t *testing.T, s *suite) { testFault(t, s, Silent) }, waits: true},
	{name: "fault/slow", run: testSlow, waits: true, realTime: true},
	{name: "fault/unknown-is-no-conflict", run: testUnknown, waits: true},
	{name: "fault/repeated-is-no-conflict", run: testRepeated, waits: true},
	{name: "fault/watch-is-not-lost-in-silence", run: testWatchLoss, waits: true},
	{name: "fault/expiry-behind-a-cut", run: testExpiryCut, waits: true},
}

// deadline of a request that is meant to run into it.
const short = time.Second

// attempt is a request that a fault meets.
type attempt struct {
	name string
	do   func(ctx context.Context) error
	key  string // what it writes, if anything: proof that it was carried out
	err  error
}

// testFault: whatever is wrong with the way to the store, each request returns when its context ends, none claims an answer of the store, none
// says "no effect" when there was one, and all is well again when the fault has passed.
func testFault(t *testing.T, s *suite, f Fault) {
	b, link := s.linked(t)
	observer := s.open(t)
	x := s.longSession(t, b)
	s.put(t, b, "leader", "a", x)
	led := dcs.Cond{Key: s.key("leader"), Session: x.ID()}
	write := func(name string) []dcs.Write { return []dcs.Write{{Key: s.key(name), Value: []byte("1")}} }
	apply := func(tx dcs.Txn) func(context.Context) error {
		return func(ctx context.Context) error { _, err := b.Apply(ctx, tx); return err }
	}
	attempts := []*attempt{
		{name: "Read", do: func(ctx context.Context) error { _, err := b.Read(ctx, s.prefix); return err }},
		{name: "compare", do: apply(dcs.Txn{If: []dcs.Cond{led}})},
		{name: "compare what does not hold", do: apply(dcs.Txn{If: []dcs.Cond{{Key: s.key("leader"), Value: []byte("b")}}})},
		{name: "create", do: apply(dcs.Txn{If: []dcs.Cond{{Key: s.key("created"), Absent: true}}, Do: write("created")}), key: "created"},
		{name: "put", do: apply(dcs.Txn{Do: write("put")}), key: "put"},
		{name: "OpenSession", do: func(ctx context.Context) error { _, err := b.OpenSession(ctx, s.MinTTL); return err }},
		{name: "KeepAlive", do: func(ctx context.Context) error { _, err := x.KeepAlive(ctx); return err }},
		{name: "Confirm", do: func(ctx context.Context) error {
			_, err := x.Confirm(ctx, dcs.Txn{If: []dcs.Cond{led}, Do: write("confirmed")})
			return err
		}, key: "confirmed"},
		{name: "Watch", do: func(ctx context.Context) error {
			hints, err := b.Watch(ctx, s.prefix)
			if err == nil { // a store that says so before it has asked loses the watch then
				s.ends(t, hints)
				err = dcs.ErrUnavailable
			}
			return err
		}},
	}
	link(f)
	s.makeAll(t, attempts)
	link(Healthy)
	for _, a := range attempts {
		fails(t, a.name, a.err)
		if a.key != "" && !errors.Is(a.err, dcs.ErrUnknown) && s.get(t, observer, a.key) != nil {
			t.Errorf("%s: %v, but it was carried out", a.name, a.err)
		}
	}
	s.recovers(t, "read", func(ctx context.Context) error { _, err := b.Read(ctx, s.prefix); return err })
	s.recovers(t, "confirm", func(ctx context.Context) error {
		_, err := x.Confirm(ctx, dcs.Txn{If: []dcs.Cond{led}})
		return err
	})
}

// makeAll makes all requests at once, with a short deadline, and waits for their ends.
func (s *suite) makeAll(t *testing.T, attempts []*attempt) {
	t.Helper()
	var wg sync.WaitGroup
	for _, a := range attempts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, short)
			defer cancel()
			a.err = a.do(ctx)
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	limit := time.NewTimer(s.Patience)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		t.Fatalf("requests with a deadline of %s have not ended after %s", short, s.Patience)
	}
}

// recovers repeats a request until it is served; a definite refusal, or no service at all, fails.
func (s *suite) recovers(t *testing.T, what string, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		once, done := context.WithTimeout(ctx, 2*short)
		if err = do(once); err == nil {
			done()
			return
		}
		if errors.Is(err, dcs.ErrConflict) || errors.Is(err, dcs.ErrSessionLost) {
			done()
			t.Fatalf("%s after a fault: %v", what, err)
		}
		s.tick(t, 50*time.Millisecond) // a bounded pace
		done()
	}
	t.Fatalf("%s: the handle does not recover: %v", what, err)
}

// testSlow: on a slow way everything works, and a session is counted from when its renewal was sent.
func testSlow(t *testing.T, s *suite) {
	b, link := s.linked(t)
	observer := s.open(t)
	link(Slow)
	hints := s.watch(t, b)
	s.put(t, b, "status", "1", nil)
	s.expect(t, hints, "status")
	_, err := b.Apply(s.ctx, dcs.Txn{If: []dcs.Cond{{Key: s.key("status"), Absent: true}}})
	if !errors.Is(err, dcs.ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
	x, sent := s.alive(t, b, "leader")
	s.endsAfter(t, observer, x, "leader", sent)
}

// testUnknown loses the answers to a write from some moment on: before it was sent, and then, on a slow way, after ever more of its round trips, as
// not every store does a transaction in one. Whatever was lost, a write that was carried out is never called a conflict, nor without effect.
func testUnknown(t *testing.T, s *suite) {
	observer := s.open(t)
	var wg sync.WaitGroup
	var met atomic.Int32
	for n := range 10 {
		b, link := s.linked(t)
		wg.Go(func() {
			for _, tx := range s.leaderChanges(t, observer, fmt.Sprint(n)) {
				s.read(t, b) // connected
				healed := loseReplies(link, n)
				ctx, cancel := context.WithTimeout(s.ctx, 3*short)
				_, err := b.Apply(ctx, tx)
				cancel()
				healed()
				if s.judge(t, observer, tx, err) {
					met.Add(1)
				}
				s.recovers(t, "read", func(ctx context.Context) error { _, err := b.Read(ctx, s.prefix); return err })
			}
		})
	}
	wg.Wait()
	t.Logf("%d writes were carried out, and of unknown fate", met.Load())
}

// loseReplies loses the answers from now on, or, on a slow way, after about n round trips. The function that it returns ends that.
func loseReplies(link Link, n int) (heal func()) {
	if n == 0 {
		link(LostReplies)
		return func() { link(Healthy) }
	}
	link(Slow)
	lost := make(chan struct{})
	lose := time.AfterFunc(slowness*time.Duration(2*n)-slowness/2, func() {
		defer close(lost)
		link(LostReplies)
	})
	return func() {
		if !lose.Stop() {
			<-lost // on a busy machine it may be about to begin
		}
		link(Healthy)
	}
}

// judge checks what is said of a change whose conditions held and which nobody else makes, and reports whether it was made and is unknown.
func (s *suite) judge(t *testing.T, observer dcs.Backend, tx dcs.Txn, err error) bool {
	t.Helper()
	made := s.made(t, observer, tx)
	unknown := errors.Is(err, dcs.ErrUnknown)
	switch {
	case err == nil && !made:
		t.Errorf("%+v is said to be done, and is not", tx)
	case errors.Is(err, dcs.ErrConflict):
		t.Errorf("%+v (made: %v) met nobody, and is called a conflict: %v", tx, made, err)
	case err != nil && !unknown && !errors.Is(err, dcs.ErrUnavailable), unknown && errors.Is(err, dcs.ErrUnavailable):
		t.Errorf("%+v (made: %v) is neither unknown nor unavailable: %v", tx, made, err)
	case err != nil && !unknown && made:
		t.Errorf("%+v was made, and is said to have had no effect: %v", tx, err)
	}
	return unknown && made
}

func (s *suite) made(t testing.TB, b dcs.Backend, tx dcs.Txn) bool {
	t.Helper()
	e := find(s.read(t, b), tx.Do[0].Key)
	return e != nil && string(e.Value) == string(tx.Do[0].Value)
}

// testRepeated: a client library that sends a request again, because the answer to the first was lost, gets the store's "no" to the second,
// which says nothing about the first.
func testRepeated(t *testing.T, s *suite) {
	b, link := s.linked(t)
	observer := s.open(t)
	for _, tx := range s.leaderChanges(t, observer, "") {
		s.read(t, b)
		link(LostReplies)
		result := make(chan error, 1)
		ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
		go func() { _, err := b.Apply(ctx, tx); result <- err }()
		for since := time.Now(); time.Since(since) < short && !s.made(t, observer, tx); {
			s.tick(t, 10*time.Millisecond) // a store that needs several round trips gets stuck in the first one
		}
		link(Healthy) // and the connections that lost answers are closed
		err := <-result
		cancel()
		s.judge(t, observer, tx, err)
		s.recovers(t, "read", func(ctx context.Context) error { _, err := b.Read(ctx, s.prefix); return err })
	}
}

// leaderChanges are an acquire and a conditional write, whose conditions do not hold any more once they have been made.
func (s *suite) leaderChanges(t *testing.T, b dcs.Backend, id string) []dcs.Txn {
	t.Helper()
	v := s.put(t, b, "sync"+id, "s", nil).Version
	return []dcs.Txn{
		{If: []dcs.Cond{{Key: s.key("leader" + id), Absent: true}}, Do: []dcs.Write{{Key: s.key("leader" + id), Value: []byte("a")}}},
		{If: []dcs.Cond{{Key: s.key("sync" + id), Version: v, Created: v}}, Do: []dcs.Write{{Key: s.key("sync" + id), Value: []byte("t")}}},
	}
}

// testWatchLoss: a change that a fault hides from a watch is told afterwards, or the watch is closed.
func testWatchLoss(t *testing.T, s *suite) {
	for _, f := range []Fault{Cut, LostReplies, Silent} {
		t.Run(f.String(), func(t *testing.T) {
			b, link := s.linked(t)
			observer := s.open(t)
			for round := range 2 {
				hints := s.watch(t, b)
				s.put(t, observer, "before", fmt.Sprint(round), nil)
				s.expect(t, hints, "before")
				link(f)
				s.put(t, observer, "hidden", fmt.Sprint(round), nil)
				link(Healthy)
				s.expectOrEnd(t, hints, "hidden")
				s.recovers(t, "read", func(ctx context.Context) error { _, err := b.Read(ctx, s.prefix); return err })
			}
		})
	}
}

// expectOrEnd waits for a hint of name, or for the end of the watch.
func (s *suite) expectOrEnd(t testing.TB, hints <-chan dcs.Hint, name string) {
	t.Helper()
	limit := time.NewTimer(s.Patience)
	defer limit.Stop()
	for {
		select {
		case h, open := <-hints:
			if !open || h.Key == "" || h.Key == s.key(name) {
				return
			}
		case <-limit.C:
			t.Fatalf("the watch goes on as if nothing had happened, and there was no hint of %s", name)
		}
	}
}

// testExpiryCut: a session whose owner is cut off ends by itself, not before its TTL, and nothing renews it behind the owner's back; the owner
// learns of it when he is back.
func testExpiryCut(t *testing.T, s *suite) {
	b, link := s.linked(t)
	observer := s.open(t)
	x, sent := s.alive(t, b, "leader")
	link(Cut)
	s.endsAfter(t, observer, x, "leader", sent)
	link(Healthy)
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	var err error
	for ctx.Err() == nil && !errors.Is(err, dcs.ErrSessionLost) {
		once, done := context.WithTimeout(ctx, 2*short)
		if _, err = x.KeepAlive(once); err == nil {
			t.Error("keepalive of a session that has ended: no error")
		}
		done()
		s.tick(t, 50*time.Millisecond)
	}
	if !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatalf("keepalive of a session that has ended: %v", err)
	}
	_, err = x.Confirm(s.ctx, dcs.Txn{Do: []dcs.Write{{Key: s.key("leader"), Value: []byte("a"), Session: x}}})
	if err == nil || errors.Is(err, dcs.ErrConflict) || s.get(t, observer, "leader") != nil {
		t.Fatalf("confirm under a session that has ended: %v", err)
	}
}
