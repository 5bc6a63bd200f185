package dcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Renew proves that the leader key is still ours, and prolongs its session. Success is a yes, which the caller dates from
// the moment before the call. ErrConflict and ErrSessionLost are a no: the key is gone, another's, or was created anew.
// Everything else is unknown: try again. With nothing to write it costs a keepalive and one compare.
//
// A TTL other than the session's opens a new session, moves leader and member key to it in one transaction, and counts
// only after a renewal of that session; the old one is closed last. It waits while /initialize lives with the session.
func (c *Client) Renew(ctx context.Context, r Renew) (Held, error) {
	if err := c.enter(ctx, "renew"); err != nil {
		return Held{}, err
	}
	defer c.leave()
	lead, err := c.present(ctx, r.Leader)
	if err == nil && r.TTL > 0 && r.TTL != c.asked && !c.isFounding() {
		lead, err = c.rebind(ctx, r, lead)
	}
	if err != nil {
		return Held{}, c.fail("renew", keyLeader, err, "")
	}
	tx := Txn{If: []Cond{c.mine(lead)}}
	status, failsafe, err := c.news(r, &tx)
	if err != nil {
		return Held{}, err
	}
	published, err := c.publish(r, &tx)
	if err != nil {
		return Held{}, err
	}
	if c.quiet() != nil {
		tx.Count = c.prefix + keyMembers
	}
	a, err := c.session.Confirm(ctx, tx)
	if errors.Is(err, ErrConflict) {
		c.setLeads(false)
	}
	c.settle(err)
	if err != nil {
		return Held{}, c.fail("renew", keyLeader, err, "")
	}
	c.mu.Lock()
	c.leads, c.status, c.failsafe = true, status, failsafe
	unheard := tx.Count != "" && a.Count != c.seen.members
	c.mu.Unlock()
	published()
	return Held{Leader: lead, TTL: c.ttl(), Pace: c.pace(), Version: a.Version, Unheard: unheard}, nil
}

// publish adds the write of the member key, if it is asked for and needed. published is to be called when it was made.
func (c *Client) publish(r Renew, tx *Txn) (published func(), err error) {
	data, err := encodeMember(r.Member)
	if err != nil || !r.Publish || c.standsAs(data) {
		return func() {}, err
	}
	tx.Do = append(tx.Do, c.memberWrite(data))
	made, err := c.tell(r.Member, tx)
	return func() { made(); c.stands(data) }, err
}

// news adds the writes of what changed since it was written last, and returns both values as they stand afterwards.
func (c *Client) news(r Renew, tx *Txn) (status, failsafe []byte, err error) {
	c.mu.Lock()
	status, failsafe = c.status, c.failsafe
	c.mu.Unlock()
	if r.Status != nil {
		value, err := c.encodeStatus(*r.Status)
		if err != nil {
			return nil, nil, err
		}
		if status == nil || !bytes.Equal(value, status) {
			tx.Do = append(tx.Do, Write{Key: c.prefix + keyStatus, Value: value})
		}
		status = value
	}
	if r.Failsafe != nil {
		value, err := Marshal(r.Failsafe)
		if err != nil {
			return nil, nil, fmt.Errorf("encode failsafe: %w", err)
		}
		if failsafe == nil || !bytes.Equal(value, failsafe) {
			tx.Do = append(tx.Do, Write{Key: c.prefix + keyFailsafe, Value: value})
		}
		failsafe = value
	}
	return status, failsafe, nil
}

// present turns the leader key as the caller held it last into what it is now: a re-bind may have moved it since. It
// fails with ErrConflict if the key cannot be ours, and with ErrSessionLost if there is no session.
func (c *Client) present(ctx context.Context, held Meta) (Meta, error) {
	if c.session == nil {
		return Meta{}, ErrSessionLost
	}
	if err := c.resolve(ctx); err != nil {
		return Meta{}, err
	}
	switch {
	case held.Session == c.session.ID() && held.Created != 0:
		return held, nil
	case held.Session == "" || held.Session != c.came:
		return Meta{}, ErrConflict
	case c.lead.Created != 0:
		return c.lead, nil
	}
	return c.readLeader(ctx)
}
