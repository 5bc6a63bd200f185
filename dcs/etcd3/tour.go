package etcd3

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/reach"
)

const (
	// patience is how long an endpoint may be silent before another one is asked as well, if a third of the time left is not less.
	patience = time.Second
	// longestSilence is how long a write waits for its answer at most, where another endpoint can tell what became of it.
	longestSilence = 5 * time.Second
	// firstPause and longestPause lie between rounds in which every endpoint has failed.
	firstPause   = 100 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// third returns a third of what is left of ctx.
func third(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline) / 3
	}
	return 3 * patience
}

// tour goes through the endpoints for one request, so that none is asked twice before all the others were.
type tour struct {
	op   string
	pool *pool

	mu      sync.Mutex
	calling map[*endpoint]bool // true: silent for longer than it may be
	failed  map[*endpoint]bool

	open    int   // attempts that have not ended
	sent    bool  // some attempt may have had an effect
	err     error // of the attempt that tells most
	at      *endpoint
	rounds  int
	trouble int // errBehind in this round
}

func newTour(op string, p *pool) *tour {
	return &tour{op: op, pool: p, calling: map[*endpoint]bool{}, failed: map[*endpoint]bool{}}
}

// next waits for a connected endpoint that this round has not asked.
func (t *tour) next(ctx context.Context) (*endpoint, error) {
	for {
		ep, err := t.pool.ready(ctx, t.untried)
		if err != nil {
			return nil, err
		}
		if t.take(ep) {
			return ep, nil
		}
	}
}

func (t *tour) untried(ep *endpoint) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, calling := t.calling[ep]
	return !calling && !t.failed[ep]
}

func (t *tour) take(ep *endpoint) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, calling := t.calling[ep]; calling || t.failed[ep] {
		return false
	}
	t.calling[ep] = false
	return true
}

// fail notes an attempt that went wrong.
func (t *tour) fail(ep *endpoint, sent bool, err error) {
	t.sent = t.sent || sent
	t.pool.avoid(ep)
	if t.err == nil || !errors.Is(err, context.Canceled) {
		t.err, t.at = err, ep
	}
	if errors.Is(err, errBehind) {
		t.trouble++
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.calling, ep)
	t.failed[ep] = true
}

// late notes that everyone who is being asked has been silent for too long.
func (t *tour) late() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ep := range t.calling {
		t.calling[ep] = true
	}
}

// won makes ep the endpoint in use, and gives up those that were silent while it answered.
func (t *tour) won(ep *endpoint) {
	t.mu.Lock()
	delete(t.calling, ep)
	var silent []*endpoint
	for other, late := range t.calling {
		if late {
			silent = append(silent, other)
		}
	}
	t.mu.Unlock()
	for _, other := range silent {
		t.pool.fellSilent(other)
	}
	t.pool.prefer(ep)
}

// left says whether there is an endpoint that this round has not asked.
func (t *tour) left() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open+len(t.failed) < max(t.pool.size(), 1)
}

// pause returns a channel that fires when the next round may begin.
func (t *tour) pause() <-chan time.Time {
	d := min(firstPause<<min(t.rounds, 8), longestPause)
	t.rounds++
	return time.After(d)
}

// again begins a new round. It says whether every endpoint that answered in the last one was behind.
func (t *tour) again() (behind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	behind = t.trouble > 0 && errors.Is(t.err, errBehind)
	clear(t.failed)
	t.trouble = 0
	return behind
}

// expired is the error of a request whose time was over.
func (t *tour) expired(ctx context.Context, mayHaveHappened bool) error {
	e := &dcs.StoreError{Store: storeName, Op: t.op, Class: classOf(mayHaveHappened), Err: t.err}
	if t.at != nil {
		e.Server = t.at.name
	}
	if e.Err == nil && !t.asking() {
		e.Server, e.Err = t.pool.complaint()
	}
	if e.Err == nil {
		e.Server, e.Err = t.vain(context.Cause(ctx))
	}
	e.Hint, e.Err = said(ctx, e.Server, e.Err)
	return e
}

// vain says who was waited for until the time was over, when nobody has said a word.
func (t *tour) vain(cause error) (name string, err error) {
	if !errors.Is(cause, context.DeadlineExceeded) {
		return "", cause
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for ep := range t.calling {
		return ep.name, reach.NoAnswer(cause)
	}
	name, up := t.pool.first()
	if up {
		return "", cause // the time was over before anybody was asked
	}
	return name, reach.NoConnection(cause)
}

// final returns the error to give up with, if err ends the request wherever it is sent.
func (t *tour) final(ctx context.Context, ep *endpoint, err error, named bool) error {
	e := &dcs.StoreError{Store: storeName, Op: t.op, Server: ep.name}
	e.Hint, e.Err = said(ctx, ep.name, err)
	switch judge(err) {
	case lost:
		e.Class = dcs.ErrSessionLost
	case refused:
		e.Class = dcs.ErrUnavailable
	case veiled:
		e.Class = dcs.ErrSettled
	case relogin:
		if named {
			return nil // this member may have lost our token just now; the next one may know it
		}
		e.Class = dcs.ErrUnavailable
	default:
		return nil
	}
	return e
}
