package guard

import (
	"context"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
)

// Process is the process id of the guard, 0 if there is none.
func (g *Guard) Process() int {
	p := g.process()
	if p == nil {
		return 0
	}
	return p.pid
}

// Spare waits until the guard has a spare one and returns its process id.
func (g *Guard) Spare(t testing.TB) int {
	t.Helper()
	for {
		g.mu.Lock()
		p, starting := g.spare, g.starting
		g.mu.Unlock()
		switch {
		case p != nil:
			return p.pid
		case starting == nil:
			t.Fatal("there is no spare guard, and none is being started")
		}
		<-starting
	}
}

// State is the newest thing that the guard said.
func (g *Guard) State() warden.Reply { return g.process().state() }

// Ask asks the guard for its state.
func (g *Guard) Ask(t testing.TB) warden.Reply {
	t.Helper()
	r, err := g.process().ask(context.Background(), warden.Request{Kind: warden.KindQuery})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Raw is a guard process without the agent's side: requests are sent and answers read one by one.
type Raw struct {
	t       testing.TB
	p       *process
	seq     uint64
	Answers chan warden.Reply
}

// StartRaw starts a guard process that is killed at the end of the test.
func StartRaw(t testing.TB) *Raw {
	t.Helper()
	r := &Raw{t: t, seq: 1000, Answers: make(chan warden.Reply, 100)}
	done := make(chan struct{})
	p, err := startProcess(context.Background(), self, func(*process, warden.Reply) {}, func(f func()) { go func() { defer close(done); f() }() })
	if err != nil {
		t.Fatal(err)
	}
	r.p = p
	t.Cleanup(func() {
		p.kill()
		<-done
	})
	return r
}

// PID is the guard's process id.
func (r *Raw) PID() int { return r.p.pid }

// Gone is closed when the guard has ended.
func (r *Raw) Gone() <-chan struct{} { return r.p.gone }

// Send sends q without waiting for the answer, which comes on Answers.
func (r *Raw) Send(q warden.Request) {
	r.t.Helper()
	r.seq++
	q.Seq = r.seq
	r.p.mu.Lock()
	r.p.waiting[q.Seq] = r.Answers
	r.p.mu.Unlock()
	var b [warden.RequestBytes]byte
	q.Encode(&b)
	if _, err := r.p.channel.Write(b[:]); err != nil {
		r.t.Fatal(err)
	}
}

// Ask sends q and returns the answer.
func (r *Raw) Ask(q warden.Request) warden.Reply {
	r.t.Helper()
	r.Send(q)
	select {
	case a := <-r.Answers:
		return a
	case <-r.p.gone:
		r.t.Fatal("the guard has ended")
	case <-time.After(time.Minute):
		r.t.Fatal("the guard did not answer")
	}
	panic("unreachable")
}

// HangUp closes the agent's end of the channel.
func (r *Raw) HangUp() { r.p.channel.Close() }

// Boottime is CLOCK_BOOTTIME now.
func Boottime() time.Duration { return boottime() }
