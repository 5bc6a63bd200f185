package etcd3

import (
	"context"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/reach"
)

// kind says what may be done with a request.
type kind struct {
	op           string
	changes      bool // without an answer, it may have had an effect
	linearizable bool // a quorum stands behind the answer
}

// repeat carries out a request that may be made more than once, until one attempt succeeds or ctx ends.
func repeat[T any](ctx context.Context, b *Backend, k kind, c call[T]) (T, error) {
	attempts, cancel := context.WithCancel(ctx)
	defer cancel()
	var none T
	t := newTour(k.op, b.pool)
	results := make(chan attempt[T])
	more := func() bool { // asks one endpoint more, if this round has not asked all
		left := t.left()
		if left {
			t.open++
			begin(attempts, b, t, c, results)
		}
		return left
	}
	more()
	silence := time.NewTimer(min(patience, third(ctx)))
	defer silence.Stop()
	var pause <-chan time.Time
	for {
		select {
		case a := <-results:
			t.open--
			if a.err == nil {
				t.won(a.ep)
				return a.answer, nil
			}
			if err := t.final(ctx, a.ep, a.err, b.login.named()); err != nil {
				return none, err
			}
			t.fail(a.ep, a.sent && judge(a.err) == failed, a.err)
			if !more() && pause == nil {
				pause = t.pause()
			}
		case <-pause:
			pause = nil
			if t.again() && k.linearizable {
				b.era.forget()
			}
			b.lookAgain(attempts)
			more()
		case <-silence.C:
			t.late()
			more()
			silence.Reset(max(min(patience, third(ctx)), time.Millisecond))
		case <-ctx.Done():
			return none, t.expired(ctx, k.changes && (t.sent || t.asking()))
		}
	}
}

// begin makes one attempt on the next endpoint of the tour. It does not wait; what comes of it goes to results, unless ctx has ended.
func begin[T any](ctx context.Context, b *Backend, t *tour, c call[T], results chan<- attempt[T]) {
	b.wg.Add(1) // inside a request, which holds one already
	go func() {
		defer b.wg.Done()
		ep, err := t.next(ctx)
		if err != nil {
			return // only when the request is over
		}
		select {
		case results <- try(ctx, b.login, ep, c):
		case <-ctx.Done():
		}
	}()
}

// lookAgain asks DNS for other endpoints after all have failed. It does not wait.
func (b *Backend) lookAgain(ctx context.Context) {
	if b.pool.srv == nil {
		return
	}
	b.wg.Add(1) // inside a request, which holds one already
	go func() {
		defer b.wg.Done()
		b.pool.lookAgain(ctx)
	}()
}

// once carries out a request that must not be made twice: it moves on to another endpoint only as long as no server can have seen it.
func once[T any](ctx context.Context, b *Backend, k kind, c call[T]) (T, error) {
	var none T
	t := newTour(k.op, b.pool)
	for {
		if !t.left() {
			select {
			case <-t.pause():
				t.again()
			case <-ctx.Done():
				return none, t.expired(ctx, false)
			}
		}
		ep, err := t.next(ctx)
		if err != nil {
			return none, t.expired(ctx, false)
		}
		bounded, cancel := b.window(ctx)
		a := try(bounded, b.login, ep, c)
		ended := bounded.Err() != nil
		cancel()
		if a.err == nil {
			t.won(ep)
			return a.answer, nil
		}
		if err := t.final(ctx, ep, a.err, b.login.named()); err != nil {
			return none, err
		}
		t.fail(ep, false, a.err)
		if a.sent && judge(a.err) == failed {
			if ended {
				b.pool.fellSilent(ep)
			}
			e := &dcs.StoreError{Store: storeName, Op: k.op, Server: ep.name, Class: dcs.ErrUnknown}
			e.Hint, e.Err = said(bounded, ep.name, a.err)
			return none, e
		}
	}
}

// window bounds the wait for the answer to a write: where there is another endpoint to ask what became of it, to a third of the
// time left, though between patience and longestSilence.
func (b *Backend) window(ctx context.Context) (context.Context, context.CancelFunc) {
	if b.pool.size() == 1 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, min(max(third(ctx), patience), longestSilence), reach.ErrSilent)
}

// asking says whether an endpoint is being asked at this moment.
func (t *tour) asking() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.calling) > 0
}
