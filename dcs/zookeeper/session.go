package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// session is a session of ZooKeeper that keys live with.
type session struct {
	backend *Backend
	link    *link
	ttl     time.Duration
	tick    time.Duration
	proof   proof

	mu    sync.Mutex
	store string // that has granted it, or accepted it last
}

var (
	_ dcs.Session = (*session)(nil)
	_ dcs.Dated   = (*session)(nil)
	_ dcs.Paced   = (*session)(nil)
)

// ID is the session's number in hexadecimal.
func (s *session) ID() string {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	return formatSession(s.link.known.session)
}

// TTL is what ZooKeeper granted.
func (s *session) TTL() time.Duration { return s.ttl }

// Proven tells how long ago the newest request was sent that has certainly prolonged the session (see dcs.Dated).
func (s *session) Proven() time.Duration { return s.proof.age() }

// Pace says that a confirmation takes a tick.
func (s *session) Pace() dcs.Pace { return dcs.Pace{Takes: s.tick} }

// KeepAlive is one write that changes nothing. It prolongs the session; how much of that is proven already, Proven tells. The version is 0:
// ZooKeeper's numbers grow with everything that happens in it, and say nothing about the cluster.
func (s *session) KeepAlive(ctx context.Context) (dcs.Version, error) {
	ctx, end, err := s.backend.begin(ctx, "keepalive")
	if err != nil {
		return 0, err
	}
	defer end()
	_, err = repeat(ctx, s.link, "keepalive", dcs.ErrUnknown, func(ctx context.Context, c *conn) (struct{}, error) {
		before := s.proof.now()
		answers, _, err := c.do(ctx, barrier)
		if err == nil && answers[0].code != 0 {
			err = answers[0].code
		}
		if err == nil {
			s.proof.acknowledged(c, before)
		}
		return struct{}{}, err
	})
	return 0, err
}

// Confirm writes nothing, waits for a tick, and then applies tx: over one connection, so that the second acknowledgement proves that the first
// write has prolonged the session. Conditions that do not hold at the beginning are a conflict at once; a context that ends within the tick is an
// unknown at once, as the next attempt may have more time.
func (s *session) Confirm(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	x, err := s.backend.check(tx)
	if err != nil {
		return dcs.Applied{}, err
	}
	if x != nil && x != s {
		return dcs.Applied{}, errors.New("zookeeper: a confirmation writes a key of another session: ZooKeeper makes nodes only for the session that asks")
	}
	ctx, end, err := s.backend.begin(ctx, "confirm")
	if err != nil {
		return dcs.Applied{}, err
	}
	defer end()
	for {
		c, err := repeat(ctx, s.link, "confirm", dcs.ErrUnavailable, func(ctx context.Context, c *conn) (*conn, error) {
			_, err := s.backend.try(ctx, c, dcs.Txn{If: tx.If}, &s.proof)
			return c, err
		})
		if err != nil {
			return dcs.Applied{}, s.verdict(ctx, err)
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < s.tick {
			return dcs.Applied{}, failed("confirm", c.server, dcs.ErrUnknown, fmt.Errorf("%w: a tick is %s", errNoTime, s.tick)) // the session was prolonged, perhaps
		}
		if !s.awaitTick(ctx, c) {
			if ctx.Err() != nil { // the session was prolonged, perhaps
				return dcs.Applied{}, failed("confirm", c.server, dcs.ErrUnknown, context.Cause(ctx))
			}
			continue
		}
		a, err := s.applyOver(ctx, c, tx)
		if errors.Is(err, errReplaced) {
			continue
		}
		return a, s.verdict(ctx, err)
	}
}

// applyOver is the second half of a confirmation. No other connection than c will do: errReplaced, if that has failed and there may be time for
// another pair. Else c is given nearly all the time that is left.
func (s *session) applyOver(ctx context.Context, c *conn, tx dcs.Txn) (dcs.Applied, error) {
	limit := third(ctx)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < limit+s.tick {
		limit = time.Until(end) * 9 / 10
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		out, err := s.backend.try(limited, c, tx, &s.proof)
		if err != nil {
			done, err := s.link.settle(ctx, "confirm", dcs.ErrUnknown, c, err)
			if !done {
				err = errReplaced
			}
			return dcs.Applied{}, err
		}
		if !out.again {
			return dcs.Applied{Version: dcs.Version(out.zxid)}, nil
		}
	}
}

// awaitTick waits for a tick; it reports false if the connection or ctx ends first.
func (s *session) awaitTick(ctx context.Context, c *conn) bool {
	timer := time.NewTimer(s.tick)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
	case <-ctx.Done():
	}
	return false
}

// apply carries out a transaction that binds keys to the session.
func (s *session) apply(ctx context.Context, op string, tx dcs.Txn) (dcs.Applied, error) {
	a, err := s.backend.apply(ctx, s.link, op, tx, &s.proof)
	return a, s.verdict(ctx, err)
}

// verdict looks, when the session is lost, whether the store is the one that granted it: one that was wiped, or is another one, knows no session of
// ours, and that says nothing about the key.
func (s *session) verdict(ctx context.Context, err error) error {
	if !errors.Is(err, dcs.ErrSessionLost) {
		if err == nil {
			s.mu.Lock()
			s.store = s.backend.era.store()
			s.mu.Unlock()
		}
		return err
	}
	_, readErr := repeat(ctx, s.backend.base, "compare", dcs.ErrUnavailable, func(ctx context.Context, c *conn) (*view, error) {
		return s.backend.look(ctx, c, nil, nil)
	})
	s.mu.Lock()
	same := s.store == s.backend.era.store()
	s.mu.Unlock()
	var e *dcs.StoreError
	if errors.As(err, &e) && (readErr != nil || !same) {
		e.Class, e.Err = dcs.ErrUnknown, errOtherStore
	}
	return err
}

// Close ends the session, and with it its keys. One that is over already is as good.
func (s *session) Close(ctx context.Context) error {
	ctx, end, err := s.backend.begin(ctx, "close session")
	if err != nil {
		return err
	}
	defer end()
	_, err = repeat(ctx, s.link, "close session", dcs.ErrUnknown, func(ctx context.Context, c *conn) (struct{}, error) {
		_, _, err := c.do(ctx, request{op: opCloseSession})
		return struct{}{}, err
	})
	if err != nil && !errors.Is(err, dcs.ErrSessionLost) {
		return err
	}
	s.link.shut(errExpired)
	s.backend.forget(s.link)
	return nil
}
