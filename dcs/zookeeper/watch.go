package zookeeper

import (
	"context"
	"path"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// hintBuffer is how many hints may wait for the reader before they are merged.
const hintBuffer = 64

// eventCreated is the kind of event that a new node makes.
const eventCreated int32 = 1

// watch is one caller's. Its fields are used under the lock of its connection.
type watch struct {
	prefix, guard string
	hints         chan dcs.Hint
	over          bool
	forget        func() bool // makes the caller's context forget w; nil: it does not know it yet
}

// Watch asks the server in use for a persistent, recursive watch (ZooKeeper 3.6) and returns when the server has confirmed it. It ends, and its
// channel with it, when ctx or the connection ends.
func (b *Backend) Watch(ctx context.Context, prefix string) (<-chan dcs.Hint, error) {
	dir, err := dirOf(prefix)
	if err != nil {
		return nil, err
	}
	within, end, err := b.begin(ctx, "watch")
	if err != nil {
		return nil, err
	}
	defer end()
	w := &watch{prefix: prefix, guard: b.guard, hints: make(chan dcs.Hint, hintBuffer)}
	c, err := repeat(within, b.base, "watch", dcs.ErrUnavailable, func(ctx context.Context, c *conn) (*conn, error) { return c, c.watch(ctx, dir, w) })
	if err != nil {
		return nil, err
	}
	c.endWith(ctx, w)
	return w.hints, nil
}

// endWith ends w with ctx, which may live for much longer than the connection: a watch that has ended is nothing to it any more.
func (c *conn) endWith(ctx context.Context, w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.forget = context.AfterFunc(ctx, func() { c.unwatch(w) })
	if w.over {
		w.forget()
	}
}

// watch adds w, and has the server watch dir if it does not yet: for this connection it is asked once.
func (c *conn) watch(ctx context.Context, dir string, w *watch) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.watches[w] = struct{}{}
	armed := c.armed[dir]
	c.mu.Unlock()
	if armed {
		return nil
	}
	var e encoder
	e.string(dir)
	e.int32(watchPersistentRecursive)
	answers, _, err := c.do(ctx, request{opAddWatch, e.buf})
	if err == nil && answers[0].code != 0 {
		err = answers[0].code
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.watches, w)
		return err
	}
	if c.err != nil {
		return c.err
	}
	c.armed[dir] = true
	return nil
}

func (c *conn) unwatch(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, w)
	w.end()
}

func (w *watch) end() {
	if w.forget != nil {
		w.forget()
	}
	if !w.over {
		w.over = true
		close(w.hints)
	}
}

// tell passes an event on. That something was created directly below the prefix is told as "anything may have changed": it may be a folder.
func (w *watch) tell(kind int32, p string) {
	switch {
	case w.over || p == w.guard || !strings.HasPrefix(p, w.prefix):
		return
	case kind == eventCreated && path.Dir(p) == path.Clean(w.prefix):
		p = ""
	}
	push(w.hints, dcs.Hint{Key: p})
}

// push never waits: when the reader is behind, hints are merged into "anything may have changed". There is one writer.
func push(hints chan dcs.Hint, h dcs.Hint) {
	for {
		select {
		case hints <- h:
			return
		default:
		}
		select {
		case <-hints:
			h = dcs.Hint{}
		default: // the reader was faster
		}
	}
}
