package instance

import (
	"context"
	"time"
)

// pace is a ticker that begins fast and grows slower: for what the outside world changes without telling.
type pace struct {
	next, limit time.Duration
}

// wait waits for the next look. It returns false when ctx or done ends first.
func (p *pace) wait(ctx context.Context, done <-chan struct{}) bool {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(p.next*3/2, p.limit)
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-done:
		return false
	}
}
