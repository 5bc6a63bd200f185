package dcs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Acquire creates the leader key under this node's session, or, with Takeover, moves the one that an earlier run of this
// node left. ErrConflict: somebody holds the key, or something that the decision rested on has changed. ErrUnknown: it may
// have happened; Load before another try, as the key may be ours already.
//
// It prolongs the session: success is dated, like a renewal's, from the moment before the call; or, in a store where that takes time and the session is
// proven to be young, from Held.Age before the answer.
//
// A zero in Expect stands for a key that is absent or, in the last Load, empty. With Takeover, Expect is not compared:
// the life of the key proves that nobody else has led.
func (c *Client) Acquire(ctx context.Context, r Acquire) (Held, error) {
	data, err := encodeMember(r.Member)
	if err != nil {
		return Held{}, err
	}
	if err := c.enter(ctx, "acquire"); err != nil {
		return Held{}, err
	}
	defer c.leave()
	if c.session == nil {
		return Held{}, c.fail("acquire", keyLeader, ErrSessionLost, "")
	}
	tx, created := c.acquisition(r, data)
	a, age, err := c.take(ctx, tx)
	c.settle(err)
	if err != nil {
		if c.session != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnavailable) {
			c.setLeads(true) // it may be
		}
		return Held{}, c.fail("acquire", keyLeader, err, "")
	}
	c.setLeads(true)
	c.stands(data)
	if len(c.old) > 0 {
		c.closeOld(ctx)
	}
	h := Held{Leader: Meta{Version: a.Version, Created: a.Version, Session: c.session.ID()}, TTL: c.ttl(), Age: age, Pace: c.pace(), Version: a.Version}
	if created {
		return h, nil
	}
	h.Leader, err = c.readLeader(ctx)
	return h, err
}

// take carries out the transaction that takes the leader key, and tells how old the proof is that the session lives.
func (c *Client) take(ctx context.Context, tx Txn) (Applied, time.Duration, error) {
	if d, ok := c.session.(Dated); ok && d.Proven() < c.ttl()/2 {
		a, err := c.backend.Apply(ctx, tx)
		return a, d.Proven(), err
	}
	a, err := c.session.Confirm(ctx, tx) // a keepalive before it may have been answered by a leader of the store that was deposed (safety 2.1)
	return a, 0, err
}

// acquisition is the transaction that takes the leader key; created tells whether it creates the key.
func (c *Client) acquisition(r Acquire, data []byte) (tx Txn, created bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	leader, member := c.prefix+keyLeader, c.prefix+keyMembers+c.name
	tx.Do = []Write{{Key: leader, Value: []byte(c.name), Session: c.session}}
	if r.Takeover != nil || string(c.member) != string(data) || c.member == nil {
		tx.Do = append(tx.Do, Write{Key: member, Value: data, Session: c.session})
	}
	if t := r.Takeover; t != nil {
		tx.If = []Cond{
			{Key: leader, Created: t.Meta.Created, Session: t.Meta.Session, Value: []byte(c.name)},
			{Key: member, Session: t.Meta.Session},
		}
		return tx, false
	}
	created = c.seen.empty == nil
	if created {
		tx.If = append(tx.If, Cond{Key: leader, Absent: true})
	} else {
		tx.If = append(tx.If, Cond{Key: leader, Version: c.seen.empty.Version, Created: c.seen.empty.Created})
	}
	if r.Expect.Sync == 0 {
		r.Expect.Sync = c.seen.noSync
	}
	tx.If = append(tx.If,
		expect(c.prefix+keySync, r.Expect.Sync),
		expect(c.prefix+keyFailsafe, r.Expect.Failsafe),
		expect(c.prefix+keyHistory, r.Expect.History))
	if r.Timeline != 0 {
		value := fmt.Appendf(nil, `{"timeline":%d}`, r.Timeline)
		tx.If = append(tx.If, expect(c.prefix+keyTanist, r.Expect.Reserved))
		tx.Do = append(tx.Do, Write{Key: c.prefix + keyTanist, Value: value})
	}
	switch {
	case r.Expect.IgnoreInitialize:
	case r.Expect.InitializeCreated == 0:
		tx.If = append(tx.If, Cond{Key: c.prefix + keyInitialize, Absent: true})
	default:
		tx.If = append(tx.If, Cond{Key: c.prefix + keyInitialize, Created: r.Expect.InitializeCreated})
	}
	return tx, created
}

// expect is the condition that key is still at version v, or still absent.
func expect(key string, v Version) Cond {
	return Cond{Key: key, Version: v, Absent: v == 0}
}

// readLeader reads the leader key back after a write that may have begun a new life of it.
func (c *Client) readLeader(ctx context.Context) (Meta, error) {
	cluster, err := c.Load(ctx)
	if err != nil {
		return Meta{}, c.fail("read back", keyLeader, fmt.Errorf("%w (%w)", ErrUnknown, err), "")
	}
	if !c.ours(cluster.Leader, c.session) {
		c.setLeads(false)
		return Meta{}, c.fail("read back", keyLeader, ErrConflict, "somebody has changed the leader key by hand")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lead = cluster.Leader.Meta
	return c.lead, nil
}

// setLeads notes whether the leader key may be bound to the session. What a former term wrote is forgotten.
func (c *Client) setLeads(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leads, c.lead, c.came = yes, Meta{}, ""
	c.status, c.failsafe = nil, nil
}

// ttl is what authority may be counted from.
func (c *Client) ttl() time.Duration { return min(c.asked, c.session.TTL()) }

// mine is the condition that the leader key is still the life that we hold.
func (c *Client) mine(l Meta) Cond {
	return Cond{Key: c.prefix + keyLeader, Created: l.Created, Session: l.Session, Value: []byte(c.name)}
}

// Release gives the leader key up: last status, member key and the deletion are one transaction, so that nobody can see
// the vacancy and still find a primary in our member key. ErrConflict: the key was not ours any more.
func (c *Client) Release(ctx context.Context, r Release) error {
	data, err := encodeMember(r.Member)
	if err != nil {
		return err
	}
	if err := c.enter(ctx, "release"); err != nil {
		return err
	}
	defer c.leave()
	lead, err := c.present(ctx, r.Leader)
	if err != nil {
		return c.fail("release", keyLeader, err, "")
	}
	tx := Txn{
		If: []Cond{c.mine(lead)},
		Do: []Write{
			{Key: c.prefix + keyLeader, Delete: true},
			{Key: c.prefix + keyMembers + c.name, Value: data, Session: c.session},
		},
	}
	if r.Status != nil {
		value, err := c.encodeStatus(*r.Status)
		if err != nil {
			return err
		}
		tx.Do = append(tx.Do, Write{Key: c.prefix + keyStatus, Value: value})
	}
	_, err = c.backend.Apply(ctx, tx)
	c.settle(err)
	switch {
	case err == nil:
		c.setLeads(false)
		c.stands(data)
	case errors.Is(err, ErrConflict):
		c.setLeads(false)
	}
	return c.fail("release", keyLeader, err, "")
}

// encodeStatus fills in the slots that s is silent about with the last known ones, as Patroni does: nil is silence.
func (c *Client) encodeStatus(s Status) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := &c.seen.status
	if s.Slots == nil {
		s.Slots = known.Slots
	}
	if s.RetainSlots == nil {
		s.RetainSlots = known.RetainSlots
	}
	known.Slots, known.RetainSlots = s.Slots, s.RetainSlots
	b, err := Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the status: %w", err)
	}
	return b, nil
}
