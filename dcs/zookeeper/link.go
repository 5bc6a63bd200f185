package zookeeper

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// patience bounds how long a request, or a handshake, waits for its answer before another server is tried: a third of what is left of its
// context, at most this.
const patience = 3 * time.Second

// link is a session of ZooKeeper and the connections that it lives on, one after the other. It connects when it is used, never by itself: to
// connect prolongs a session.
type link struct {
	backend *Backend
	keyless bool // no key lives with its session: it is kept alive by pings, and replaced when it has expired

	turn chan struct{} // held while connecting

	mu    sync.Mutex
	known hello
	conn  *conn
	ended error // set when the session is over
}

func newLink(b *Backend, ask time.Duration, keyless bool) *link {
	return &link{backend: b, keyless: keyless, known: hello{timeout: ask}, turn: make(chan struct{}, 1)}
}

// current returns the connection in use, nil if there is none.
func (l *link) current() (*conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return nil, l.ended
	}
	if l.conn != nil && l.conn.alive() {
		return l.conn, nil
	}
	return nil, nil
}

// get returns a connection, connecting until ctx ends. The error errExpired is final, if keys live with the session.
func (l *link) get(ctx context.Context) (*conn, string, error) {
	if c, err := l.current(); c != nil || err != nil {
		return c, "", err
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		at, err := l.backend.pool.complaint(ctx)
		return nil, at, err
	}
	defer func() { <-l.turn }()
	var server string
	var last error
	for {
		if c, err := l.current(); c != nil || err != nil {
			return c, "", err
		}
		raw, at, err := l.backend.pool.dial(ctx)
		if err != nil {
			if last == nil || !cutOff(ctx, err) {
				server, last = at, err
			}
			return nil, server, last
		}
		if err := l.greet(ctx, raw, at); err != nil {
			server, last = at, err
			if _, ended := l.current(); ended == nil && !errors.Is(err, errRenewed) { // else nothing is wrong with the server
				l.backend.pool.failed(at, err)
			}
			l.backend.pool.lost(at)
			if final(err) {
				return nil, server, err
			}
			if err := pause(ctx, retryPause); err != nil {
				return nil, server, last
			}
		}
	}
}

// final says whether another server would say the same.
func final(err error) bool {
	return errors.Is(err, errExpired) || errors.Is(err, codeAuthFailed)
}

// greet performs the handshake on a fresh connection and takes it into use.
func (l *link) greet(ctx context.Context, raw net.Conn, server string) error {
	l.mu.Lock()
	known := l.known
	l.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, third(ctx))
	defer cancel()
	c, err := greet(limited, raw, server, known, l.backend.cfg.Auth)
	if errors.Is(err, errExpired) && l.keyless {
		l.mu.Lock()
		l.known = hello{timeout: baseTimeout}
		l.mu.Unlock()
		return errRenewed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, errExpired):
		l.ended = errExpired
		return err
	case err != nil:
		return err
	case l.ended != nil:
		c.close(l.ended)
		return l.ended
	}
	l.conn, l.known = c, c.hello
	l.backend.pool.won(server)
	if l.keyless {
		l.backend.wg.Go(func() { l.beat(c) })
	}
	return nil
}

// errRenewed ends a handshake whose session carried nothing: the next one asks for another session.
var errRenewed = errors.New("the session has expired, another one is asked for")

// beat keeps the session of a keyless link alive while the connection lasts, and notices a server that has gone silent.
func (l *link) beat(c *conn) {
	ticker := time.NewTicker(c.timeout / 3)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
			ctx, cancel := context.WithTimeout(l.backend.ctx, patience)
			_, _, err := c.do(ctx, request{op: opPing})
			cancel()
			if err != nil {
				l.drop(c, err)
				return
			}
		}
	}
}

// drop ends a connection that has failed. When its server was silent, other links leave it, too: nobody waits for it twice.
func (l *link) drop(c *conn, why error) {
	c.close(why)
	l.backend.pool.lost(c.server)
	if errors.Is(why, errSilent) {
		l.backend.silent(c.server)
	}
}

// shut ends the link: nothing connects any more.
func (l *link) shut(why error) {
	l.mu.Lock()
	if l.ended == nil {
		l.ended = why
	}
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		c.close(why)
	}
}

// repeat tries f on one connection after the other until it is answered or ctx ends. f must be harmless to repeat.
func repeat[T any](ctx context.Context, l *link, op string, class error, f func(context.Context, *conn) (T, error)) (T, error) {
	var none T
	var last error
	var server string
	for {
		c, at, err := l.get(ctx)
		if err != nil {
			if last == nil || final(err) {
				server, last = at, err
			}
			return none, l.failure(ctx, op, server, class, last)
		}
		value, err := once(ctx, c, f)
		if err == nil {
			return value, nil
		}
		server, last = c.server, err
		if done, err := l.settle(ctx, op, class, c, err); done {
			return none, err
		}
	}
}

// settle draws the conclusions from a failed attempt: done, with the error of the request, or another one is due.
func (l *link) settle(ctx context.Context, op string, class error, c *conn, err error) (done bool, _ error) {
	var lost *lostAnswer
	switch {
	case errors.Is(err, errConflict):
		return true, failed(op, c.server, dcs.ErrConflict, nil)
	case errors.Is(err, codeSessionExpired) && l.keyless:
		l.renew(c)
		return false, nil
	case errors.Is(err, codeSessionExpired):
		l.shut(errExpired)
		return true, l.failure(ctx, op, c.server, class, errExpired)
	case definite(err):
		return true, failed(op, c.server, dcs.ErrUnavailable, err)
	case errors.As(err, &lost):
		class = dcs.ErrUnknown
	}
	if ctx.Err() == nil { // else the caller does not wait any longer, which says nothing about the connection
		l.drop(c, err)
	}
	return lost != nil || ctx.Err() != nil, l.failure(ctx, op, c.server, class, err)
}

// renew makes a keyless link ask for another session.
func (l *link) renew(c *conn) {
	c.close(errRenewed)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = hello{timeout: baseTimeout}
}

// definite says whether an error is the server's refusal of this very request.
func definite(err error) bool {
	var c code
	return errors.As(err, &c) && c != codeSessionMoved && c != codeThrottled || errors.Is(err, errTooLarge)
}

// once limits one attempt, so that another server can be tried.
func once[T any](ctx context.Context, c *conn, f func(context.Context, *conn) (T, error)) (T, error) {
	limited, cancel := context.WithTimeout(ctx, third(ctx))
	defer cancel()
	return f(limited, c)
}

// failure classifies what ended a request without an answer to it.
func (l *link) failure(ctx context.Context, op, server string, class, err error) error {
	if errors.Is(err, errExpired) {
		class = dcs.ErrSessionLost
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return failed(op, server, class, err)
}

// third is a third of what is left of ctx, within bounds.
func third(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return patience
	}
	return min(patience, max(time.Until(deadline)/3, time.Millisecond))
}

// pause waits; it fails when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// granted is the timeout of the session.
func (l *link) granted() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known.timeout
}
