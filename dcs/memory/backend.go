package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// Backend is one participant's handle on a Store.
type Backend struct {
	store   *Store
	closed  atomic.Bool
	inject  atomic.Pointer[func(Op) Fate]
	watches map[*watch]struct{} // guarded by store.mu
}

var _ dcs.Backend = (*Backend)(nil)

// Read returns the entries whose keys begin with prefix. Their values are shared with the store: read-only.
func (b *Backend) Read(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	var snap dcs.Snapshot
	err := b.request(ctx, Op{Kind: "read", Key: prefix}, func(s *Store) error {
		found := s.below(prefix)
		snap = dcs.Snapshot{Version: s.version, StoreID: s.id}
		snap.Entries = append(make([]dcs.Entry, 0, len(found)), found...)
		return nil
	})
	return snap, err
}

// Apply carries out tx.
func (b *Backend) Apply(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	var a dcs.Applied
	err := b.request(ctx, Op{Kind: "apply", Txn: &tx}, func(s *Store) error {
		var err error
		a, err = s.apply(tx)
		return err
	})
	return a, err
}

// OpenSession starts a session.
func (b *Backend) OpenSession(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	var x *Session
	err := b.request(ctx, Op{Kind: "open"}, func(s *Store) error {
		l, err := s.open(ttl)
		if err != nil {
			return err
		}
		x = &Session{backend: b, id: l.id, ttl: l.ttl, store: s.id}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if b.store.opts.Tick > 0 {
		return dated{x}, nil
	}
	return x, nil
}

// Close ends the watches of this handle. Its sessions are left to expire.
func (b *Backend) Close() error {
	b.closed.Store(true)
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	for w := range b.watches {
		w.end()
	}
	return nil
}

// request is the way of every request: context, injected fate, expiry, then do under the lock.
func (b *Backend) request(ctx context.Context, op Op, do func(*Store) error) error {
	return b.fated(ctx, op, func(s *Store, _ Fate) error { return do(s) })
}

// fated is request for those that ask whose answer it is.
func (b *Backend) fated(ctx context.Context, op Op, do func(*Store, Fate) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w (%w)", op.Kind, dcs.ErrUnavailable, context.Cause(ctx))
	}
	if b.closed.Load() {
		return fmt.Errorf("%s: %w (%w)", op.Kind, dcs.ErrUnavailable, errClosed)
	}
	fate := b.fate(op)
	switch fate {
	case Refused:
		return fmt.Errorf("%s: %w (injected)", op.Kind, dcs.ErrUnavailable)
	case RequestLost:
		return fmt.Errorf("%s: %w (request lost, injected)", op.Kind, dcs.ErrUnknown)
	case Full:
		return fmt.Errorf("%s: %w (no room, injected)", op.Kind, dcs.ErrSettled)
	}
	s := b.store
	s.mu.Lock()
	s.expire()
	err := do(s, fate)
	s.unlock()
	switch fate {
	case ReplyLost:
		return fmt.Errorf("%s: %w (reply lost, injected)", op.Kind, dcs.ErrUnknown)
	case FullNow:
		return fmt.Errorf("%s: %w (the last room, injected)", op.Kind, dcs.ErrSettled)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op.Kind, err)
	}
	return nil
}

var (
	errClosed     = errors.New("handle is closed")
	errOtherStore = errors.New("another store answers than the one that granted the session")
)

// apply checks everything before it changes anything. The lock is held.
func (s *Store) apply(tx dcs.Txn) (dcs.Applied, error) {
	for _, c := range tx.If {
		if err := s.check(c); err != nil {
			return dcs.Applied{}, err
		}
	}
	for i, w := range tx.Do {
		if err := s.admit(tx.Do[:i], w); err != nil {
			return dcs.Applied{}, err
		}
	}
	if len(tx.Do) == 0 {
		return dcs.Applied{Version: s.version, Count: s.count(tx.Count)}, nil
	}
	s.version++
	for _, w := range tx.Do {
		if w.Delete {
			s.remove(w.Key)
			continue
		}
		var l *lease
		if w.Session != nil {
			l = s.sessions[w.Session.ID()]
		}
		if l != nil && s.opts.Tick > 0 {
			s.answer(l) // a write over the session's connection is as good as a keepalive
		}
		s.put(w, l)
	}
	return dcs.Applied{Version: s.version, Count: s.count(tx.Count)}, nil
}

// count is how many keys there are below prefix; none below "".
func (s *Store) count(prefix string) int {
	if prefix == "" {
		return 0
	}
	return len(s.below(prefix))
}

// below are the entries whose keys begin with prefix.
func (s *Store) below(prefix string) []dcs.Entry {
	from, _ := s.find(prefix)
	to := from
	for to < len(s.entries) && strings.HasPrefix(s.entries[to].Key, prefix) {
		to++
	}
	return s.entries[from:to]
}

// admit refuses writes that cannot be carried out.
func (s *Store) admit(earlier []dcs.Write, w dcs.Write) error {
	if w.Key == "" {
		return errors.New("a write has no key")
	}
	for _, e := range earlier {
		if e.Key == w.Key {
			return fmt.Errorf("key %q is written twice", w.Key)
		}
	}
	if w.Session == nil || w.Delete {
		return nil
	}
	x, ok := of(w.Session)
	if !ok || x.backend.store != s {
		return fmt.Errorf("session of %q belongs to another store", w.Key)
	}
	if x.store != s.id {
		return fmt.Errorf("session %s of %s: %w (%w)", x.id, x.store, dcs.ErrUnknown, errOtherStore)
	}
	if s.sessions[x.id] == nil {
		return fmt.Errorf("session %s: %w", x.id, dcs.ErrSessionLost)
	}
	return nil
}

// check evaluates one condition. A condition that asks for nothing holds.
func (s *Store) check(c dcs.Cond) error {
	any := c.Version == 0 && c.Created == 0 && c.Session == "" && c.Value == nil
	if c.Absent && !any {
		return fmt.Errorf("condition on %q asks for absence and for more", c.Key)
	}
	if any && !c.Absent {
		return nil
	}
	i, ok := s.find(c.Key)
	switch {
	case ok == c.Absent:
	case c.Absent:
		return nil
	default:
		e := &s.entries[i]
		if (c.Version == 0 || c.Version == e.Version) && (c.Created == 0 || c.Created == e.Created) &&
			(c.Session == "" || c.Session == e.Session) && (c.Value == nil || bytes.Equal(c.Value, e.Value)) {
			return nil
		}
	}
	return fmt.Errorf("%q: %w", c.Key, dcs.ErrConflict)
}
