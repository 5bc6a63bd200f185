package dcstest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

var faultTests = []test{
	{"fault/cut", testCut},
	{"fault/lost-reply", testLostReply},
}

// testCut: while the store cannot be reached, nothing claims an answer, and afterwards the handle works again.
func testCut(t *testing.T, s *suite) {
	if s.Faults == nil || s.Faults.Cut == nil || s.Faults.Restore == nil {
		t.Skip("the harness cannot cut connections")
	}
	b := s.open(t)
	s.put(t, b, "k", "v", nil)
	s.Faults.Cut(t)
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	_, err := b.Read(ctx, s.prefix)
	fails(t, "Read", err)
	cancel()
	ctx, cancel = context.WithTimeout(s.ctx, time.Second)
	_, err = b.Apply(ctx, dcs.Txn{If: []dcs.Cond{{Key: s.key("k"), Value: []byte("no")}}})
	fails(t, "Apply", err)
	cancel()
	s.Faults.Restore(t)
	ctx, cancel = context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	for ctx.Err() == nil {
		once, done := context.WithTimeout(ctx, time.Second)
		_, err = b.Read(once, s.prefix)
		if err == nil {
			done()
			return
		}
		<-once.Done() // the rest of its second: a bounded pace
		done()
	}
	t.Fatalf("the handle does not recover: %v", err)
}

// testLostReply: a write that happened but was not acknowledged is unknown, never a conflict.
func testLostReply(t *testing.T, s *suite) {
	if s.Faults == nil || s.Faults.DropReply == nil {
		t.Skip("the harness cannot drop replies")
	}
	b, other := s.open(t), s.open(t)
	s.read(t, b) // connected
	s.Faults.DropReply(t)
	ctx, cancel := context.WithTimeout(s.ctx, 3*time.Second)
	defer cancel()
	_, err := b.Apply(ctx, dcs.Txn{
		If: []dcs.Cond{{Key: s.key("leader"), Absent: true}},
		Do: []dcs.Write{{Key: s.key("leader"), Value: []byte("a")}},
	})
	if !errors.Is(err, dcs.ErrUnknown) {
		t.Fatalf("got %v, want ErrUnknown", err)
	}
	if errors.Is(err, dcs.ErrConflict) {
		t.Fatalf("%v claims a conflict", err)
	}
	_ = s.get(t, other, "leader") // it may be there or not; the store still answers
}
