package memory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// Session is a lease of the store, held by one handle.
type Session struct {
	backend *Backend
	id      string
	ttl     time.Duration
	store   string // identity of the store that granted it
}

var _ dcs.Session = (*Session)(nil)

// ID is the session's number, in hex.
func (x *Session) ID() string { return x.id }

// TTL is what was granted: what was asked, or Options.MinTTL.
func (x *Session) TTL() time.Duration { return x.ttl }

// KeepAlive starts the TTL anew, from the store's present time.
func (x *Session) KeepAlive(ctx context.Context) (dcs.Version, error) {
	var v dcs.Version
	err := x.backend.fated(ctx, Op{Kind: "keepalive", Session: x.id}, func(s *Store, fate Fate) error {
		if fate == Deposed {
			return nil
		}
		if x.store != s.id {
			return fmt.Errorf("session %s of %s: %w (%w)", x.id, x.store, dcs.ErrSessionLost, errOtherStore)
		}
		if err := s.keepAlive(x.id); err != nil {
			return err
		}
		v = s.version
		return nil
	})
	return v, err
}

// Confirm keeps alive and applies tx under one lock. Another store than the one that granted the session has no word on either.
func (x *Session) Confirm(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	var a dcs.Applied
	err := x.backend.fated(ctx, Op{Kind: "confirm", Session: x.id, Txn: &tx}, func(s *Store, fate Fate) error {
		if x.store != s.id {
			return fmt.Errorf("session %s of %s: %w (%w)", x.id, x.store, dcs.ErrUnknown, errOtherStore)
		}
		var err error
		switch {
		case fate == Deposed && !s.opts.AnyTerm:
			return fmt.Errorf("two leaders have answered: %w (injected)", dcs.ErrUnknown)
		case fate != Deposed:
			err = s.keepAlive(x.id)
		}
		if err == nil {
			a, err = s.apply(tx)
		}
		return err
	})
	return a, err
}

// dated is a session of a store that keeps sessions as ZooKeeper does.
type dated struct{ *Session }

var (
	_ dcs.Dated = dated{}
	_ dcs.Paced = dated{}
)

// Proven tells how old the last proof is that the session was prolonged.
func (x dated) Proven() time.Duration { return x.backend.store.now().Sub(x.backend.store.Proven(x.id)) }

// Pace says that a proof takes a tick. The caller lets it pass: nothing here waits (see Options.Tick).
func (x dated) Pace() dcs.Pace { return dcs.Pace{Takes: x.backend.store.opts.Tick} }

// of finds the session in what a transaction names.
func of(x dcs.Session) (*Session, bool) {
	switch x := x.(type) {
	case *Session:
		return x, true
	case dated:
		return x.Session, true
	}
	return nil, false
}

// Close ends the session. Closing one that has ended already is no error.
func (x *Session) Close(ctx context.Context) error {
	return x.backend.request(ctx, Op{Kind: "close", Session: x.id}, func(s *Store) error {
		if l := s.sessions[x.id]; l != nil && x.store == s.id {
			s.end(l)
		}
		return nil
	})
}

// open starts a session. The lock is held, here and below.
func (s *Store) open(ttl time.Duration) (*lease, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("ttl %s is not positive", ttl)
	}
	ttl = max(ttl, s.opts.MinTTL)
	s.opened++
	l := &lease{
		id: strconv.FormatInt(int64(0x1000+s.opened), 16), seq: s.opened, ttl: ttl, deadline: s.now().Add(ttl), proven: s.now(),
	}
	s.sessions[l.id] = l
	if s.due.IsZero() || l.deadline.Before(s.due) {
		s.due = l.deadline
		s.schedule()
	}
	return l, nil
}

func (s *Store) keepAlive(id string) error {
	l := s.sessions[id]
	if l == nil {
		return fmt.Errorf("session %s: %w", id, dcs.ErrSessionLost)
	}
	if s.opts.Tick > 0 {
		s.answer(l)
		return nil
	}
	l.deadline = s.now().Add(l.ttl)
	return nil
}

// answer is a follower's answer: the leader hears of it later, and it shows that the leader has heard of those a tick before.
func (s *Store) answer(l *lease) {
	now := s.now()
	if l.heard.IsZero() {
		l.heard = now.Add(s.opts.Tick / 2)
	}
	n := 0
	for n < len(l.acked) && !l.acked[n].Add(s.opts.Tick).After(now) {
		l.proven = l.acked[n]
		n++
	}
	l.acked = append(l.acked[n:], now)
}

// touch lets the store's leader hear of the keepalives that its followers have answered.
func (s *Store) touch() {
	now := s.now()
	for _, l := range s.sessions {
		if !l.heard.IsZero() && !now.Before(l.heard) {
			l.deadline, l.heard = l.heard.Add(l.ttl), time.Time{}
		}
	}
}

// expire ends what is overdue, in the order in which it became so.
func (s *Store) expire() {
	if s.opts.Tick > 0 {
		s.touch()
	}
	if s.due.IsZero() {
		return
	}
	now := s.now()
	if now.Before(s.due) {
		return
	}
	var over []*lease
	for _, l := range s.sessions {
		if !now.Before(l.deadline) {
			over = append(over, l)
		}
	}
	slices.SortFunc(over, func(a, b *lease) int {
		if c := a.deadline.Compare(b.deadline); c != 0 {
			return c
		}
		return a.seq - b.seq
	})
	for _, l := range over {
		s.end(l)
	}
	s.due = s.earliest()
	s.schedule()
}

// end ends a session: its keys go with it, all at one version.
func (s *Store) end(l *lease) {
	delete(s.sessions, l.id)
	if len(l.keys) == 0 {
		return
	}
	s.version++
	slices.Sort(l.keys)
	for _, key := range l.keys {
		s.remove(key)
	}
}

func (s *Store) earliest() time.Time {
	var first time.Time
	for _, l := range s.sessions {
		if first.IsZero() || l.deadline.Before(first) {
			first = l.deadline
		}
	}
	return first
}

// schedule sets the timer that ends sessions in real time. A caller with a clock of his own ticks himself.
func (s *Store) schedule() {
	if s.opts.Now != nil || s.due.IsZero() {
		return
	}
	wait := time.Until(s.due)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, func() { s.Tick() })
		return
	}
	s.timer.Reset(wait)
}
