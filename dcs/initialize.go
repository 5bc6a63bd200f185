package dcs

import (
	"context"
	"errors"
	"fmt"
)

// Initialize creates /initialize, empty: the right to bootstrap the cluster. ErrConflict: somebody else has it, or had it.
// The key lives with this node's session until SetInitialize makes it permanent, so that a founder who dies leaves the right
// to others instead of an empty key that nobody may touch.
func (c *Client) Initialize(ctx context.Context) (Initialize, error) {
	if err := c.enter(ctx, "initialize"); err != nil {
		return Initialize{}, err
	}
	defer c.leave()
	if c.session == nil {
		return Initialize{}, c.fail("create", keyInitialize, ErrSessionLost, "")
	}
	key := c.prefix + keyInitialize
	a, err := c.backend.Apply(ctx, Txn{
		If: []Cond{{Key: key, Absent: true}},
		Do: []Write{{Key: key, Value: []byte{}, Session: c.session}},
	})
	c.settle(err)
	if err != nil {
		if c.session != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnavailable) {
			c.setFounding(true) // it may be
		}
		return Initialize{}, c.fail("create", keyInitialize, err, "")
	}
	c.setFounding(true)
	return Initialize{Entry: Meta{Version: a.Version, Created: a.Version, Session: c.session.ID()}}, nil
}

// SetInitialize writes the system identifier over prev, in exactly the state in which prev was read; nil: over nothing.
func (c *Client) SetInitialize(ctx context.Context, prev *Initialize, systemID string) error {
	if !ValidSystemID(systemID) {
		return fmt.Errorf("set %s%s: %s is not a system identifier", c.prefix, keyInitialize, quote(systemID))
	}
	key := c.prefix + keyInitialize
	cond := Cond{Key: key, Absent: true}
	if prev != nil {
		cond = Cond{Key: key, Version: prev.Entry.Version, Created: prev.Entry.Created}
		if cond.Version == 0 && cond.Created == 0 {
			return fmt.Errorf("set %s: the state that it replaces has neither version nor creation", key)
		}
	}
	_, err := c.backend.Apply(ctx, Txn{If: []Cond{cond}, Do: []Write{{Key: key, Value: []byte(systemID)}}})
	return c.fail("set", keyInitialize, err, "")
}

// CancelInitialize deletes /initialize if it is still this life of it, and nobody has written it since. It leaves alone
// what another bootstrap created in the meantime.
func (c *Client) CancelInitialize(ctx context.Context, mine Initialize) error {
	key := c.prefix + keyInitialize
	if mine.Entry.Created == 0 {
		return fmt.Errorf("delete %s: which life of it is not said", key)
	}
	_, err := c.backend.Apply(ctx, Txn{
		If: []Cond{{Key: key, Created: mine.Entry.Created, Version: mine.Entry.Version}},
		Do: []Write{{Key: key, Delete: true}},
	})
	return c.fail("delete", keyInitialize, err, "")
}

// PutHistory writes /history, only while leader is the present life of the leader key.
func (c *Client) PutHistory(ctx context.Context, leader Meta, h History) error {
	if leader.Created == 0 {
		return c.fail("write", keyHistory, errors.New("the leader key's life is not said"), "")
	}
	value, err := Marshal(h)
	if err != nil {
		return fmt.Errorf("encode the history: %w", err)
	}
	_, err = c.backend.Apply(ctx, Txn{
		If: []Cond{{Key: c.prefix + keyLeader, Created: leader.Created, Value: []byte(c.name)}},
		Do: []Write{{Key: c.prefix + keyHistory, Value: value}},
	})
	return c.fail("write", keyHistory, err, "")
}
