package dcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Options says whose client it is.
type Options struct {
	Namespace string       // folder of all clusters; empty: DefaultNamespace
	Scope     string       // name of the cluster
	Name      string       // name of this node; may be empty for a client that only reads or sends requests (a tool)
	Logger    *slog.Logger // nil: silence
}

// Client is one node's hand in the store. It is safe for concurrent use; requests that concern the session and the keys
// that live with it wait for each other.
type Client struct {
	backend Backend
	prefix  string
	name    string
	log     *slog.Logger
	hints   hinter

	turn chan struct{} // held during a request that concerns the session

	// Changed by whoever holds turn, under mu where Load looks at it.
	mu       sync.Mutex
	closed   bool
	session  Session       // nil: none, or it was lost
	asked    time.Duration // what session was asked for
	old      []Session     // superseded, not yet closed
	moving   *move         // a re-bind to another session, of unknown fate
	came     string        // id of the session that the leader key was moved from last
	leads    bool          // by our own requests, the leader key is or may be bound to session
	founding bool          // /initialize is or may be bound to session
	lead     Meta          // the leader key as moved last; zero: not known
	wrote    bool          // this client has written the member key at least once
	member   []byte        // the member key as it stands under session; nil: not known
	status   []byte        // /status as we wrote it; nil: not known
	failsafe []byte        // /failsafe as we wrote it; nil: not known

	// Of those who do not listen to the members (see attentive); owned by whoever holds turn.
	told     []byte  // our member key without positions, as all were told of it
	unproven int     // keepalives since the leader key was last seen to be what was read
	reached  Version // that the store had reached then

	seen    seen // what Load saw last
	decoder decoder
}

// seen is what later requests need of the last Load.
type seen struct {
	version Version
	storeID string
	leader  *Leader
	member  *Entry // our own
	members int    // how many member keys there are
	empty   *Entry // the leader key, if it is there with an empty value
	noSync  Version
	status  Status
}

// NewClient returns a client for one node of one cluster. It makes no request. The backend stays the caller's: Close does
// not close it.
func NewClient(b Backend, o Options) *Client {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		backend: b, prefix: Prefix(o.Namespace, o.Scope), name: o.Name,
		log: log.With("scope", o.Scope), turn: make(chan struct{}, 1),
	}
	c.hints.client, c.hints.out = c, make(chan Hint, hintsKept)
	if o, ok := b.(Operable); ok {
		c.decoder.remove = o.DeleteCommand
	}
	return c
}

// Prefix is the folder that holds the cluster's keys.
func (c *Client) Prefix() string { return c.prefix }

// Error is a request that did not succeed. It wraps one of the Err values of this package.
type Error struct {
	Op   string // what was tried
	Key  string // on which key, in full
	Hint string // what an operator can do; may be empty
	Err  error
}

func (e *Error) Error() string { return e.Op + " " + e.Key + ": " + e.Err.Error() }

// Unwrap makes errors.Is find ErrConflict and its like.
func (e *Error) Unwrap() error { return e.Err }

// fail wraps err; nil stays nil.
func (c *Client) fail(op, key string, err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Key: c.prefix + key, Hint: hint, Err: err}
}

var errClientClosed = errors.New("the client is closed")

// enter waits for the turn. leave gives it back.
func (c *Client) enter(ctx context.Context, op string) error {
	select {
	case c.turn <- struct{}{}:
	default:
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("%s: wait for an earlier request: %w (%w)", op, ErrUnavailable, context.Cause(ctx))
		}
	}
	if c.closed {
		c.leave()
		return fmt.Errorf("%s: %w (%w)", op, ErrUnavailable, errClientClosed)
	}
	return nil
}

func (c *Client) leave() { <-c.turn }

// Load reads the whole cluster, linearizably. It needs no session.
func (c *Client) Load(ctx context.Context) (Cluster, error) {
	snap, err := c.backend.Read(ctx, c.prefix)
	if err != nil {
		return Cluster{}, c.fail("read", "", err, "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cluster := c.decoder.decode(c.prefix, snap)
	c.learn(&cluster, snap)
	c.hints.attend(c.attentive(&cluster))
	return cluster, nil
}

// learn notes what a read says about our own keys: what was changed by others must be written again.
func (c *Client) learn(cluster *Cluster, snap Snapshot) {
	if snap.StoreID == c.seen.storeID && snap.Version < c.seen.version {
		return // overtaken by a later read
	}
	s := seen{version: snap.Version, storeID: snap.StoreID, leader: cluster.Leader, status: cluster.Status}
	var status, failsafe []byte
	for i := range snap.Entries {
		e := &snap.Entries[i]
		name, ok := strings.CutPrefix(e.Key, c.prefix)
		if strings.HasPrefix(name, keyMembers) {
			s.members++
		}
		switch {
		case !ok:
		case name == keyStatus:
			status = e.Value
		case name == keyFailsafe:
			failsafe = e.Value
		case name == keyLeader && len(e.Value) == 0:
			s.empty = e
		case name == keySync && cluster.Sync == nil:
			s.noSync = e.Version
		case name == keyMembers+c.name:
			s.member = e
		}
	}
	c.seen = s
	if s.member == nil || c.session == nil || s.member.Session != c.session.ID() || !bytes.Equal(s.member.Value, c.member) {
		c.member = nil
	}
	c.founding = c.session != nil && cluster.Initialize != nil && cluster.Initialize.Entry.Session == c.session.ID()
	if !bytes.Equal(status, c.status) {
		c.status = nil
	}
	if !bytes.Equal(failsafe, c.failsafe) {
		c.failsafe = nil
	}
}

// ours reports whether l is our name under session x.
func (c *Client) ours(l *Leader, x Session) bool {
	return l != nil && l.Name == c.name && l.Meta.Session == x.ID()
}

// carries reports whether the session may carry a key beside the member key: the leader key, or /initialize while we
// bootstrap. Our requests, or the last Load, say so.
func (c *Client) carries() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads || c.founding || c.session != nil && c.ours(c.seen.leader, c.session)
}

// stillCarries reads whether it does.
func (c *Client) stillCarries(ctx context.Context) (bool, error) {
	if err := c.resolve(ctx); err != nil {
		return true, err
	}
	cluster, err := c.Load(ctx)
	if err != nil {
		return true, err
	}
	if c.ours(cluster.Leader, c.session) {
		return true, nil
	}
	if c.isFounding() {
		return true, nil
	}
	c.setLeads(false)
	return false, nil
}

func (c *Client) isFounding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.founding
}

func (c *Client) setFounding(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.founding = yes
}

// forget drops what we believed to be stored, after a write of unknown fate.
func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.member, c.status, c.failsafe = nil, nil, nil
}

// lost drops the session, which the store has ended, and with it the keys that lived with it.
func (c *Client) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.leads, c.founding, c.lead, c.came = nil, false, false, Meta{}, ""
	c.member, c.status, c.failsafe = nil, nil, nil
}

// Close ends the session, so that the member key disappears, and the goroutine behind Hints. If the leader key is, or may
// be, ours, the session is left to expire: only Release may delete that key, once the server has stopped.
func (c *Client) Close(ctx context.Context) error {
	c.hints.stop()
	if err := c.enter(ctx, "close"); err != nil {
		if errors.Is(err, errClientClosed) {
			return nil
		}
		return err
	}
	defer c.leave()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	if c.session == nil {
		return nil
	}
	if c.carries() || c.moving != nil {
		if still, err := c.stillCarries(ctx); still || err != nil {
			c.log.Info("session left to expire: more than the member key lives with it", "session", c.session.ID())
			return nil
		}
	}
	c.closeOld(ctx)
	err := c.session.Close(ctx)
	if err != nil && !errors.Is(err, ErrSessionLost) {
		return c.fail("end the session of", keyMembers+c.name, err, "the member key disappears when the session expires")
	}
	c.lost()
	return nil
}

// closeOld ends superseded sessions. Nothing that we need is bound to them; one that cannot be ended expires.
func (c *Client) closeOld(ctx context.Context) {
	for _, x := range c.old {
		if err := x.Close(ctx); err != nil && !errors.Is(err, ErrSessionLost) {
			c.log.Debug("superseded session left to expire", "session", x.ID(), "error", err)
		}
	}
	c.old = nil
}
