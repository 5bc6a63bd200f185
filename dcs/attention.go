package dcs

import (
	"bytes"
	"context"
	"errors"
)

// attentive says whether this node has to hear each word of the members, by what was read last. Everybody does while nobody leads, while a
// switchover or failover is asked for, and until a new leader runs as primary; and a leader of members that say nothing in /news: Patroni's.
//
// Others do not. With fifteen members each of which writes its position once per loop, telling each of them to each is most of what the store
// sends. What is lost is made up for: the member says in /news that something else than its position has changed, which all hear, deletions
// are told in any case, and a leader counts the members with each renewal (Held.Unheard), so that one that Patroni runs gets its slot.
func (c *Client) attentive(cluster *Cluster) bool {
	l := cluster.Leader
	if l == nil || cluster.Failover != nil {
		return true
	}
	leads, settled := l.Name == c.name || c.leads, false
	for i := range cluster.Members {
		m := &cluster.Members[i]
		if leads && m.Data.Tanist == "" {
			return true
		}
		settled = settled || m.Name == l.Name && m.Data.settled()
	}
	return !settled
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

// proof is a comparison of the leader key with the one that was read last. Of a store that has moved on that says nothing to a node that does
// not hear of members' positions; but a watch that was lost in silence shows in nothing else (safety 2.2).
type proof struct {
	cond    Cond
	reached Version // that the store had reached
}

// due returns the proof that is due, if any, after a keepalive's answer.
func (c *Client) due(reached Version) *proof {
	c.mu.Lock()
	l := c.seen.leader
	c.mu.Unlock()
	if l == nil || reached == c.reached {
		return nil
	}
	c.unproven++
	if c.unproven < proveEvery {
		return nil
	}
	return &proof{Cond{Key: c.prefix + keyLeader, Created: l.Meta.Created, Version: l.Meta.Version}, reached}
}

// proven notes what came of a proof.
func (c *Client) proven(p *proof, err error) {
	switch {
	case err == nil:
		c.unproven, c.reached = 0, p.reached
	case errors.Is(err, ErrConflict):
		c.hints.send(Hint{})
	}
}

// putMemberProving is putMember after a keepalive's answer, with the proof that is due: in one transaction if the member key is written.
func (c *Client) putMemberProving(ctx context.Context, m MemberData, data []byte, reached Version) error {
	p := c.due(reached)
	if p != nil && c.wrote && c.standsAs(data) {
		_, err := c.backend.Apply(ctx, Txn{If: []Cond{p.cond}})
		c.proven(p, err)
		p = nil
	}
	return c.putMemberIf(ctx, m, data, p)
}

// applyProving carries out tx, whatever comes of the proof, if there is one.
func (c *Client) applyProving(ctx context.Context, tx Txn, p *proof) error {
	if p != nil {
		proving := tx
		proving.If = []Cond{p.cond}
		_, err := c.backend.Apply(ctx, proving)
		c.proven(p, err)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	_, err := c.backend.Apply(ctx, tx)
	return err
}
