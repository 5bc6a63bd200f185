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

// hinter owns the goroutines that watch: one for everything, or, where the backend can leave members' puts out, one for all the rest and
// one for the members, which runs while they matter (see Client.attentive).
type hinter struct {
	client *Client

	mu      sync.Mutex
	out     chan Hint
	cancel  context.CancelFunc // nil: not started
	ctx     context.Context
	members context.CancelFunc // ends the watch of the members; nil: there is none
	calm    bool               // the members do not matter now
	running sync.WaitGroup
	stopped bool

	sending sync.Mutex
}

// watch is a way to watch.
type watch func(ctx context.Context) (<-chan Hint, error)

// Hints tells what has changed, with names relative to the cluster's folder ("leader", "members/a"). The zero Hint says
// that anything may have changed: it comes after each (re-)start of the watch, and in the place of hints that nobody
// took. The channel is never closed, and never blocks anything. The first call starts the goroutine that Close ends.
//
// On backends that can leave it out, the noise of other members' positions is not told to a standby of a leader that runs as primary. What
// else changes in a member key is: see Client.attentive.
func (c *Client) Hints() <-chan Hint { return c.hints.start() }

func (h *hinter) start() <-chan Hint {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cancel != nil || h.stopped {
		return h.out
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	b, prefix := h.client.backend, h.client.prefix
	quiet := h.client.quiet()
	if quiet == nil {
		h.begin(h.ctx, func(ctx context.Context) (<-chan Hint, error) { return b.Watch(ctx, prefix) })
		return h.out
	}
	h.begin(h.ctx, func(ctx context.Context) (<-chan Hint, error) {
		return quiet.WatchQuietly(ctx, prefix, prefix+keyMembers)
	})
	h.listen()
	return h.out
}

// attend begins or ends the watch of the members. It does not wait.
func (h *hinter) attend(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calm = !yes
	h.listen()
}

// listen makes the watch of the members what calm says. mu is held.
func (h *hinter) listen() {
	b, prefix := h.client.backend, h.client.prefix
	if h.client.quiet() == nil || h.cancel == nil || h.stopped || h.calm == (h.members == nil) {
		return
	}
	if h.calm {
		h.members()
		h.members = nil
		return
	}
	var ctx context.Context
	ctx, h.members = context.WithCancel(h.ctx)
	h.begin(ctx, func(ctx context.Context) (<-chan Hint, error) { return b.Watch(ctx, prefix+keyMembers) })
}

// stop ends the goroutines and waits for them.
func (h *hinter) stop() {
	h.mu.Lock()
	h.stopped = true
	cancel := h.cancel
	h.mu.Unlock()
	if cancel != nil {
		cancel()
		h.running.Wait()
	}
}

func (h *hinter) begin(ctx context.Context, w watch) {
	h.running.Go(func() { h.run(ctx, w) })
}

// run watches until ctx ends. A watch that brought something, or lasted, is made again at once.
func (h *hinter) run(ctx context.Context, w watch) {
	c, pause := h.client, time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		hints, err := w(ctx)
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
		if hint.Key != keyStatus && hint.Key != keyNews {
			hint.Value = nil // nobody looks at it, and it would be kept with the flight record
		}
		h.send(hint)
		n++
	}
	return n
}

// send does not block: nobody else sends meanwhile, so that after emptying a full channel there is room.
func (h *hinter) send(hint Hint) {
	h.sending.Lock()
	defer h.sending.Unlock()
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
