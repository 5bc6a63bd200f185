package dcs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// move is an attempt to move leader and member key from the present session to another, of which the answer is missing.
type move struct {
	to    Session
	asked time.Duration
	from  Meta // the leader key as the attempt's condition named it
	over  bool // it cannot happen any more, if it has not
}

// rebind moves leader and member key to a session of the asked TTL, and returns the leader key as it is then. If no such
// session can be opened, the present one goes on: a changed setting must not cost the leadership.
func (c *Client) rebind(ctx context.Context, r Renew, lead Meta) (Meta, error) {
	data, err := encodeMember(r.Member)
	if err != nil {
		return Meta{}, err
	}
	now, err := c.readLeader(ctx) // for the version: an attempt must be one that a touch of the key makes impossible
	if err != nil {
		return Meta{}, err
	}
	if now.Created != lead.Created {
		return Meta{}, ErrConflict
	}
	x, err := c.backend.OpenSession(ctx, r.TTL)
	if err != nil {
		c.log.Warn("the changed ttl waits: no session can be opened", "ttl", r.TTL, "error", err)
		return lead, nil
	}
	m := &move{to: x, asked: r.TTL, from: now}
	_, err = c.backend.Apply(ctx, Txn{
		If: []Cond{c.exactly(now)},
		Do: []Write{
			{Key: c.prefix + keyLeader, Value: []byte(c.name), Session: x},
			{Key: c.prefix + keyMembers + c.name, Value: data, Session: x},
		},
	})
	switch {
	case err == nil:
	case errors.Is(err, ErrSessionLost): // the new one; the keys are where they were
		return lead, nil
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUnavailable):
		c.old = append(c.old, x) // nothing is bound to it
		return Meta{}, fmt.Errorf("move to another session: %w", err)
	default:
		m.over = errors.Is(err, ErrSettled)
		c.moving = m
		c.forget()
		return Meta{}, fmt.Errorf("move to another session: %w", err)
	}
	c.moved(m)
	c.stands(data)
	c.closeOld(ctx)
	return c.readLeader(ctx)
}

// exactly is the condition that the leader key is in the very state of l.
func (c *Client) exactly(l Meta) Cond {
	cond := c.mine(l)
	cond.Version = l.Version
	return cond
}

// moved makes the session of m ours: leader and member key are bound to it.
func (c *Client) moved(m *move) {
	came := c.session.ID()
	c.adopt(m.to, m.asked)
	c.setLeads(true)
	c.moving, c.came = nil, came
	c.log.Info("leader and member key moved to another session", "from", came, "to", m.to.ID(), "ttl", m.asked)
}

// resolve finds out what came of an attempt to move, and makes sure that it cannot happen later. Then nothing is moving.
func (c *Client) resolve(ctx context.Context) error {
	m := c.moving
	if m == nil {
		return nil
	}
	cluster, err := c.Load(ctx)
	if err != nil {
		return err
	}
	switch l := cluster.Leader; {
	case c.ours(l, m.to):
		c.moved(m)
		c.lead = l.Meta
		c.closeOld(ctx)
		return nil
	case !c.ours(l, c.session): // the attempt's condition can never hold again
		c.setLeads(false)
	case m.over: // a store without room would refuse the touch, too
	case l.Meta.Version == m.from.Version && l.Meta.Created == m.from.Created:
		_, err := c.backend.Apply(ctx, Txn{ // a touch, after which the attempt's condition does not hold
			If: []Cond{c.exactly(l.Meta)},
			Do: []Write{{Key: c.prefix + keyLeader, Value: []byte(c.name), Session: c.session}},
		})
		if errors.Is(err, ErrConflict) {
			err = fmt.Errorf("%w: the leader key is moving", ErrUnknown) // just now: the next request reads again
		}
		if err != nil && !errors.Is(err, ErrSessionLost) {
			return fmt.Errorf("settle a move to another session: %w", err)
		}
		if err != nil { // the session ended under us: did the move come first?
			return fmt.Errorf("settle a move to another session: %w", ErrUnknown)
		}
	}
	c.moving = nil
	c.old = append(c.old, m.to)
	return nil
}
