package dcs

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Limits of the pause before a lost watch is made again.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// hintsKept is how many hints wait for a reader before they become one.
const hintsKept = 16

// hinter owns the goroutine that watches.
type hinter struct {
	client *Client

	mu      sync.Mutex
	out     chan Hint
	cancel  context.CancelFunc // nil: not started
	done    chan struct{}
	stopped bool
}

// Hints tells what has changed, with names relative to the cluster's folder ("leader", "members/a"). The zero Hint says
// that anything may have changed: it comes after each (re-)start of the watch, and in the place of hints that nobody
// took. The channel is never closed, and never blocks anything. The first call starts the goroutine that Close ends.
func (c *Client) Hints() <-chan Hint { return c.hints.start() }

func (h *hinter) start() <-chan Hint {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.out == nil {
		h.out = make(chan Hint, hintsKept)
	}
	if h.cancel == nil && !h.stopped {
		var ctx context.Context
		ctx, h.cancel = context.WithCancel(context.Background())
		h.done = make(chan struct{})
		go h.run(ctx)
	}
	return h.out
}

// stop ends the goroutine and waits for it.
func (h *hinter) stop() {
	h.mu.Lock()
	h.stopped = true
	cancel, done := h.cancel, h.done
	h.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
}

// run watches until ctx ends. A watch that brought something, or lasted, is made again at once.
func (h *hinter) run(ctx context.Context) {
	defer close(h.done)
	c, pause := h.client, time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		hints, err := c.backend.Watch(ctx, c.prefix)
		if err != nil {
			c.log.Debug("no watch", "prefix", c.prefix, "error", err)
		} else {
			h.send(Hint{})
			if n := h.forward(hints); n > 0 || time.Since(began) > time.Second {
				pause = 0
				continue
			}
		}
		pause = min(max(2*pause, firstPause), lastPause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (h *hinter) forward(hints <-chan Hint) (n int) {
	for hint := range hints {
		hint.Key = strings.TrimPrefix(hint.Key, h.client.prefix)
		h.send(hint)
		n++
	}
	return n
}

// send does not block: it is the only sender, so that after emptying a full channel there is room.
func (h *hinter) send(hint Hint) {
	select {
	case h.out <- hint:
		return
	default:
	}
	for {
		select {
		case <-h.out:
			continue
		default:
		}
		break
	}
	h.out <- Hint{}
}
