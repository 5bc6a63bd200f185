package zookeeper

import (
	"sync"
	"time"
)

// proof dates a session. That a write was acknowledged proves little: a follower answers it and tells the leader, who counts, only with its answer to
// the leader's next ping, half a tick later. But a second write over the same connection that was sent a tick after the first was acknowledged,
// and is acknowledged in its turn, has come behind that ping: so the leader has heard of the first.
type proof struct {
	clock func() time.Time
	tick  time.Duration

	mu     sync.Mutex
	proven time.Time // when the newest request was sent that has certainly prolonged the session
	over   *conn
	acked  []acked // writes over that connection that are not proven yet
}

// acked is a write that the server has acknowledged.
type acked struct{ sent, at time.Time }

// now is asked before a write is sent. A nil proof does not care.
func (p *proof) now() time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.clock()
}

// acknowledged notes that a write over c, sent not before sent, was acknowledged.
func (p *proof) acknowledged(c *conn, sent time.Time) {
	if p == nil {
		return
	}
	at := p.clock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != c {
		p.over, p.acked = c, nil
	}
	open := p.acked[:0]
	for _, w := range p.acked {
		switch {
		case w.at.Add(p.tick).After(sent):
			open = append(open, w)
		case w.sent.After(p.proven):
			p.proven = w.sent
		}
	}
	p.acked = append(open, acked{sent, at})
}

func (p *proof) age() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.clock().Sub(p.proven))
}
