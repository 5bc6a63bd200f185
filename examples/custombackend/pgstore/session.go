package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tanist-ha/tanist/dcs"
)

// Session is a row of dcs_session.
type Session struct {
	backend *Backend
	id      string
	ttl     time.Duration
	store   string // identity of the store that granted it
}

var _ dcs.Session = (*Session)(nil)

// OpenSession starts a session.
func (b *Backend) OpenSession(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	x := &Session{backend: b, ttl: ttl}
	err := b.request(ctx, "open a session", func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `insert into dcs_session (ttl, ends) values ($1::interval, clock_timestamp() + $1::interval)
			returning id::text, (select id from dcs_store)`, ttl).Scan(&x.id, &x.store)
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// ID is a random number: no session of another store has it.
func (x *Session) ID() string { return x.id }

// TTL is what was asked for.
func (x *Session) TTL() time.Duration { return x.ttl }

// KeepAlive starts the TTL anew, on the server's clock, which is after the moment of the call.
func (x *Session) KeepAlive(ctx context.Context) (v dcs.Version, err error) {
	err = x.backend.request(ctx, "keep the session alive", func(ctx context.Context, c *pgx.Conn) error {
		err := c.QueryRow(ctx, `update dcs_session set ends = clock_timestamp() + ttl where id = $1::uuid
			returning (select version from dcs_store)`, x.id).Scan(&v)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("no row: %w", dcs.ErrSessionLost)
		}
		return err
	})
	return v, err
}

// Confirm does both in one transaction.
func (x *Session) Confirm(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	return x.backend.apply(ctx, x, tx)
}

// Close ends the session.
func (x *Session) Close(ctx context.Context) error {
	return x.backend.request(ctx, "close the session", func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "select dcs_end($1::uuid)", x.id)
		return err
	})
}

// require queues the condition that the session lives, in the store that granted it.
func (x *Session) require(batch *pgx.Batch) {
	batch.Queue("select dcs_require(id = $1, $2) from dcs_store", x.store, anotherStore)
	batch.Queue("select dcs_require(exists (select from dcs_session where id = $1::uuid), $2)", x.id, sessionLost)
}
