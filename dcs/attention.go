package dcs

import (
	"bytes"
	"context"
	"errors"
)

// attentive says whether this node has to hear each word of the members, by what was read last. A leader does: it keeps slots for them.
// Everybody does while nobody leads, while a switchover or failover is asked for, and until a new leader runs as primary.
//
// A standby of a settled leader does not. With fifteen members each of which writes its position once per loop, telling each of them to each is
// most of what the store sends. What is lost is made up for: the member says in /news that something else than its position has changed, which
// all hear, and deletions are told in any case.
func (c *Client) attentive(cluster *Cluster) bool {
	l := cluster.Leader
	if l == nil || l.Name == c.name || c.leads || cluster.Failover != nil {
		return true
	}
	for i := range cluster.Members {
		if m := &cluster.Members[i]; m.Name == l.Name {
			return !m.Data.settled()
		}
	}
	return true
}

// settled says whether a leader has done what others wait for after a promotion.
func (m *MemberData) settled() bool {
	return m.State == StateRunning && (m.Role == RolePrimary || m.Role == RoleStandbyLeader) &&
		(m.CheckpointAfterPromote == nil || *m.CheckpointAfterPromote)
}

// quiet is the backend, if it can leave members' positions out and this client is a node's; else nil.
func (c *Client) quiet() QuietWatcher {
	if q, ok := c.backend.(QuietWatcher); ok && c.name != "" {
		return q
	}
	return nil
}

// Attentive says whether the node is told of each write of a member key at the moment. A simulator that brings hints itself asks.
func (c *Client) Attentive() bool {
	if c.quiet() == nil {
		return true
	}
	c.hints.mu.Lock()
	defer c.hints.mu.Unlock()
	return !c.hints.calm
}

// tell adds to a write of the member key what tells those who do not listen to member keys, if more than the position has changed. made is
// to be called when the write was made.
func (c *Client) tell(m MemberData, tx *Txn) (made func(), err error) {
	if c.quiet() == nil {
		return func() {}, nil
	}
	m.XLogLocation, m.ReceiveLSN, m.ReplayLSN = 0, 0, 0
	data, err := encodeMember(m)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(data, c.told) {
		tx.Do = append(tx.Do, Write{Key: c.prefix + keyNews, Value: []byte(c.name)})
	}
	return func() { c.told = data }, nil
}

// proveEvery is how many keepalives a node that does not hear everything lets pass before it makes sure that the leader key is what it heard.
const proveEvery = 6

// prove compares the leader key with the one that was read last, if the store has moved on, which says nothing to a node that
// does not hear of members' positions, and a watch that was lost in silence would show in nothing else (safety 2.2).
func (c *Client) prove(ctx context.Context, reached Version) {
	c.mu.Lock()
	l := c.seen.leader
	c.mu.Unlock()
	if l == nil || reached == c.reached {
		return
	}
	c.unproven++
	if c.unproven < proveEvery {
		return
	}
	_, err := c.backend.Apply(ctx, Txn{If: []Cond{{Key: c.prefix + keyLeader, Created: l.Meta.Created, Version: l.Meta.Version}}})
	switch {
	case err == nil:
		c.unproven, c.reached = 0, reached
	case errors.Is(err, ErrConflict):
		c.hints.send(Hint{})
	}
}
