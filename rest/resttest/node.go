package resttest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// Node is an ha.Asker whose answers the test gives. Make it with NewNode.
type Node struct {
	mu      sync.Mutex
	now     time.Time
	status  *ha.Status
	changed chan struct{} // closed by the next change
	// OnSubmit answers commands; nil: with the published observation.
	OnSubmit func(ctx context.Context, c ha.Command) (ha.Answer, error)
	// Explanation is what Explain returns.
	Explanation ha.Explanation
}

var _ ha.Asker = (*Node)(nil)

// NewNode returns a node that has published st, with the clock at now.
func NewNode(now time.Time, st ha.Status) *Node {
	return &Node{now: now, status: &st, changed: make(chan struct{})}
}

// Publish makes st the node's status.
func (n *Node) Publish(st ha.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status = &st
	close(n.changed)
	n.changed = make(chan struct{})
}

// Advance moves the node's clock.
func (n *Node) Advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = n.now.Add(d)
}

// Status implements ha.Asker.
func (n *Node) Status() *ha.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

// Now implements ha.Asker.
func (n *Node) Now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// Submit implements ha.Asker.
func (n *Node) Submit(ctx context.Context, c ha.Command) (ha.Answer, error) {
	if n.OnSubmit != nil {
		return n.OnSubmit(ctx, c)
	}
	await, ok := c.(ha.Await)
	st, err := n.Wait(ctx, func(st *ha.Status) bool {
		return !ok || st.Observed.SQL != nil && st.Observed.SQL.Position().LSN >= await.LSN
	})
	if err != nil {
		return ha.Answer{}, err
	}
	return ha.Answer{Observed: st.Observed, ObservedAt: st.ObservedAt}, nil
}

// Wait implements ha.Asker.
func (n *Node) Wait(ctx context.Context, ok func(*ha.Status) bool) (*ha.Status, error) {
	for {
		n.mu.Lock()
		st, changed := n.status, n.changed
		n.mu.Unlock()
		if ok(st) {
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errors.Join(errors.New("wait for a status"), context.Cause(ctx))
		}
	}
}

// Glance implements ha.Asker: nobody looks.
func (n *Node) Glance() {}

// Explain implements ha.Asker.
func (n *Node) Explain() ha.Explanation { return n.Explanation }
