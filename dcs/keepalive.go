package dcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// KeepAlive prolongs this node's session and keeps its member key with it. It opens a session if there is none, if it was
// lost, or if it was asked for another TTL; the member key then moves to the new one before the old one is closed. With
// nothing new to say it is one request.
//
// While the leader key is ours, a changed TTL is left to Renew, which moves both keys in one transaction; while we
// bootstrap, it waits.
//
// A member key that an earlier run of this node left, together with the leader key and under the same session, is not
// touched before the takeover (see Acquire.Takeover) or the end of that session: it is the proof that the leader key was ours.
func (c *Client) KeepAlive(ctx context.Context, r KeepAlive) (Alive, error) {
	if c.name == "" || r.TTL <= 0 {
		return Alive{}, fmt.Errorf("keepalive: name %q and ttl %s: both are needed", c.name, r.TTL)
	}
	data, err := encodeMember(r.Member)
	if err != nil {
		return Alive{}, err
	}
	if err := c.enter(ctx, "keepalive"); err != nil {
		return Alive{}, err
	}
	defer c.leave()
	keep, err := c.keeps(ctx, r.TTL)
	if err != nil {
		return Alive{}, err
	}
	if keep {
		v, err := c.session.KeepAlive(ctx)
		switch {
		case err == nil:
			a := Alive{Session: c.session.ID(), TTL: min(r.TTL, c.session.TTL()), Age: c.age(), Pace: c.pace(), Version: v}
			if !c.Attentive() {
				a.Version = 0 // whatever moved may be what we do not listen to
				return a, c.putMemberProving(ctx, r.Member, data, v)
			}
			return a, c.putMember(ctx, r.Member, data)
		case !errors.Is(err, ErrSessionLost):
			return Alive{}, c.fail("keep alive the session of", keyMembers+c.name, err, "")
		}
		c.log.Info("the session was lost", "session", c.session.ID())
		c.lost()
	}
	return c.replace(ctx, r, data)
}

// age is how long ago the TTL began that is certain, for a session that cannot say it of its last request.
func (c *Client) age() time.Duration {
	if d, ok := c.session.(Dated); ok {
		return d.Proven()
	}
	return 0
}

// pace is what the store asks of the renewals of the session.
func (c *Client) pace() Pace {
	if p, ok := c.session.(Paced); ok {
		return p.Pace()
	}
	return Pace{}
}

// keeps reports whether the present session serves for ttl: it was asked for that, or it carries more than the member key.
func (c *Client) keeps(ctx context.Context, ttl time.Duration) (bool, error) {
	if c.session == nil {
		return false, nil
	}
	if err := c.resolve(ctx); err != nil {
		return false, c.fail("keep alive the session of", keyMembers+c.name, err, "")
	}
	if ttl == c.asked {
		return true, nil
	}
	if !c.carries() {
		return false, nil
	}
	return c.stillCarries(ctx)
}

// replace opens a session in the place of the present one, which may be nil and does not carry the leader key.
func (c *Client) replace(ctx context.Context, r KeepAlive, data []byte) (Alive, error) {
	x, err := c.backend.OpenSession(ctx, r.TTL)
	if err != nil {
		return Alive{}, c.fail("open a session for", keyMembers+c.name, err, "")
	}
	c.adopt(x, r.TTL)
	if err := c.putMember(ctx, r.Member, data); err != nil {
		return Alive{}, err
	}
	return Alive{Session: x.ID(), TTL: min(r.TTL, x.TTL()), Pace: c.pace(), Opened: true}, nil
}

// adopt makes x the session; the former one waits to be closed.
func (c *Client) adopt(x Session, asked time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		c.old = append(c.old, c.session)
	}
	c.session, c.asked, c.member = x, asked, nil
}

// putMember writes the member key under the session if it does not stand so already, then ends superseded sessions.
func (c *Client) putMember(ctx context.Context, m MemberData, data []byte) error {
	return c.putMemberIf(ctx, m, data, nil)
}

// putMemberIf is putMember, which where it writes compares what proof says first, if that is not nil.
func (c *Client) putMemberIf(ctx context.Context, m MemberData, data []byte, proof *proof) error {
	if !c.wrote {
		if _, err := c.Load(ctx); err != nil {
			return err
		}
		if c.leftBehind() {
			return nil
		}
	}
	if !c.standsAs(data) {
		tx := Txn{Do: []Write{c.memberWrite(data)}}
		made, err := c.tell(m, &tx)
		if err != nil {
			return err
		}
		err = c.applyProving(ctx, tx, proof)
		c.settle(err)
		if err != nil {
			return c.fail("write", keyMembers+c.name, err, "")
		}
		made()
		c.stands(data)
	}
	if len(c.old) > 0 {
		c.closeOld(ctx)
	}
	return nil
}

// memberWrite is the write of the member key, under the session.
func (c *Client) memberWrite(data []byte) Write {
	return Write{Key: c.prefix + keyMembers + c.name, Value: data, Session: c.session}
}

// standsAs says whether the member key is data already, under the session.
func (c *Client) standsAs(data []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.member != nil && bytes.Equal(c.member, data)
}

// stands notes that the member key is data, under the session.
func (c *Client) stands(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote, c.member = true, data
}

// settle draws the conclusions from the error of a write.
func (c *Client) settle(err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrSessionLost):
		c.lost()
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUnavailable):
	default:
		c.forget()
	}
}

// leftBehind reports whether the last Load showed leader and member key of our name under one session that is not ours.
func (c *Client) leftBehind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, m := c.seen.leader, c.seen.member
	return l != nil && m != nil && l.Name == c.name && l.Meta.Session != "" &&
		l.Meta.Session == m.Session && (c.session == nil || m.Session != c.session.ID())
}

// PutMember publishes this node's member key under its session; what stands there already is not written again. It needs
// a session: KeepAlive comes first. Like KeepAlive it leaves the key alone that an earlier run left as leader.
func (c *Client) PutMember(ctx context.Context, m MemberData) error {
	data, err := encodeMember(m)
	if err != nil {
		return err
	}
	if err := c.enter(ctx, "put member"); err != nil {
		return err
	}
	defer c.leave()
	if c.session == nil {
		return c.fail("write", keyMembers+c.name, ErrSessionLost, "")
	}
	return c.putMember(ctx, m, data)
}
