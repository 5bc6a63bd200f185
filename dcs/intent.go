package dcs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// hintChanged is for people whose change met another one.
const hintChanged = "somebody else changed it in the meantime: look at it again, then repeat the change"

// PutConfig writes the dynamic configuration, a JSON object, over the one at version prev. With prev 0 there must be none,
// or one that is no JSON object and so is shown as none. ErrConflict: somebody else has changed it.
func (c *Client) PutConfig(ctx context.Context, prev Version, raw []byte) error {
	if _, problems := decodeConfig(raw); problems != nil {
		return c.fail("write", keyConfig, errNotObjectGiven, "")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return c.fail("write", keyConfig, err, "")
	}
	cond, err := c.over(ctx, keyConfig, prev, func(v []byte) bool {
		raw, _ := decodeConfig(v)
		return raw == nil
	})
	if err == nil {
		_, err = c.backend.Apply(ctx, Txn{
			If: []Cond{cond}, Do: []Write{{Key: cond.Key, Value: ascii(compact.Bytes())}},
		})
	}
	return c.fail("write", keyConfig, err, changed(err))
}

var errNotObjectGiven = fmt.Errorf("the configuration %w", errNotObject)

// changed is the hint for a conflict.
func changed(err error) string {
	if errors.Is(err, ErrConflict) {
		return hintChanged
	}
	return ""
}

// over is the condition that key is still at version prev; for 0, that it is absent, or as it is now, if that counts as
// empty.
func (c *Client) over(ctx context.Context, name string, prev Version, empty func([]byte) bool) (Cond, error) {
	key := c.prefix + name
	if prev != 0 {
		return Cond{Key: key, Version: prev}, nil
	}
	e, err := c.entry(ctx, name)
	switch {
	case err != nil:
		return Cond{}, err
	case e == nil:
		return Cond{Key: key, Absent: true}, nil
	case len(e.Value) > maxValue || empty(e.Value):
		return Cond{Key: key, Version: e.Version, Created: e.Created}, nil
	}
	return Cond{}, ErrConflict
}

// entry reads one key of the cluster; nil: it is absent.
func (c *Client) entry(ctx context.Context, name string) (*Entry, error) {
	snap, err := c.backend.Read(ctx, c.prefix)
	if err != nil {
		return nil, fmt.Errorf("read before: %w", err)
	}
	for i := range snap.Entries {
		if snap.Entries[i].Key == c.prefix+name {
			return &snap.Entries[i], nil
		}
	}
	return nil, nil
}

// noFailover reports whether the value of /failover asks for nothing, or for nothing that can be understood.
func noFailover(value []byte) bool {
	f, _ := decodeFailover(value)
	return f == nil
}

// PutFailover asks for a switchover (f.Leader is set) or a failover, over the request at version prev. With prev 0 there
// must be no request. ErrConflict: there is one, or it has changed.
func (c *Client) PutFailover(ctx context.Context, prev Version, f Failover) error {
	if f.Leader == "" && f.Candidate == "" {
		return fmt.Errorf("write %s%s: neither leader nor candidate is named", c.prefix, keyFailover)
	}
	value, err := Marshal(f)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	cond, err := c.over(ctx, keyFailover, prev, noFailover)
	if err == nil {
		_, err = c.backend.Apply(ctx, Txn{If: []Cond{cond}, Do: []Write{{Key: cond.Key, Value: value}}})
	}
	hint := changed(err)
	if hint != "" && prev == 0 {
		hint = "another switchover or failover is asked for already: wait for it, or cancel it first"
	}
	return c.fail("write", keyFailover, err, hint)
}

// ClearFailover empties /failover, as Patroni does when a request is done, if it is still at version prev.
func (c *Client) ClearFailover(ctx context.Context, prev Version) error {
	if prev == 0 {
		return nil // absent: nothing to clear
	}
	key := c.prefix + keyFailover
	_, err := c.backend.Apply(ctx, Txn{
		If: []Cond{{Key: key, Version: prev}},
		Do: []Write{{Key: key, Value: []byte("{}")}},
	})
	return c.fail("clear", keyFailover, err, "")
}

// DeleteFailover removes the request at version prev; with 0, whichever there is. It is the operator's way to cancel.
func (c *Client) DeleteFailover(ctx context.Context, prev Version) error {
	key := c.prefix + keyFailover
	tx := Txn{Do: []Write{{Key: key, Delete: true}}}
	if prev != 0 {
		tx.If = []Cond{{Key: key, Version: prev}}
	}
	_, err := c.backend.Apply(ctx, tx)
	return c.fail("delete", keyFailover, err, changed(err))
}
