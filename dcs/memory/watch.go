package memory

import (
	"context"

	"github.com/tanist-ha/tanist/dcs"
)

// hintsKept is how many hints wait for a slow reader before they are merged into one.
const hintsKept = 64

// watch is one reader of hints. The store's lock guards it.
type watch struct {
	backend *Backend
	prefix  string
	quiet   string // puts below it are not told; "": all are
	ch      chan dcs.Hint
	ended   bool
}

// Watch sends a hint for each change below prefix until ctx ends or the handle is closed. It starts no goroutine.
func (b *Backend) Watch(ctx context.Context, prefix string) (<-chan dcs.Hint, error) {
	return b.WatchQuietly(ctx, prefix, "")
}

// WatchQuietly implements dcs.QuietWatcher.
func (b *Backend) WatchQuietly(ctx context.Context, prefix, quiet string) (<-chan dcs.Hint, error) {
	w := &watch{backend: b, prefix: prefix, quiet: quiet, ch: make(chan dcs.Hint, hintsKept)}
	err := b.request(ctx, Op{Kind: "watch", Key: prefix}, func(s *Store) error {
		s.watches[w], b.watches[w] = struct{}{}, struct{}{}
		return nil
	})
	if err != nil {
		b.store.mu.Lock()
		w.end()
		b.store.mu.Unlock()
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
		w.end()
	})
	return w.ch, nil
}

// send never blocks: when the reader is too slow, all that waits becomes "anything may have changed".
func (w *watch) send(h dcs.Hint) {
	select {
	case w.ch <- h:
		return
	default:
	}
	for {
		select {
		case <-w.ch:
			continue
		default:
		}
		break
	}
	w.ch <- dcs.Hint{Version: h.Version} // fits: only holders of the lock send
}

func (w *watch) end() {
	if w.ended {
		return
	}
	w.ended = true
	delete(w.backend.store.watches, w)
	delete(w.backend.watches, w)
	close(w.ch)
}

// BreakWatches ends every watch of this handle, as a lost connection does.
func (b *Backend) BreakWatches() {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	for w := range b.watches {
		w.end()
	}
}
