package pgstore

import (
	"context"
	_ "embed" // the schema
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tanist-ha/tanist/dcs"
)

//go:embed schema.sql
var schema string

// Codes of the errors that dcs_require raises.
const (
	conflict     = "DC001"
	sessionLost  = "DC002"
	anotherStore = "DC003"
)

// Backend is one handle on the store. It makes one request at a time, on one connection; each watch has another one.
type Backend struct {
	config *pgx.ConnConfig
	turn   chan struct{}  // held during a request
	conn   *pgx.Conn      // nil: none; whoever holds the turn may use it
	wg     sync.WaitGroup // of watches, and of connections that are being given up
	life   context.Context
	end    context.CancelFunc
}

var _ dcs.Backend = (*Backend)(nil)

// Open connects to a server, and makes the tables if they are missing.
func Open(ctx context.Context, dsn string) (*Backend, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse the address of the store: %w", err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // one round trip, nothing prepared
	b := &Backend{config: config, turn: make(chan struct{}, 1)}
	b.life, b.end = context.WithCancel(context.Background())
	err = b.request(ctx, "make the tables", func(ctx context.Context, c *pgx.Conn) error {
		return c.PgConn().Exec(ctx, schema).Close()
	})
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// Close ends the watches and the connections of this handle. Its sessions are left to expire.
func (b *Backend) Close() error {
	b.end()
	b.turn <- struct{}{} // and never given back
	b.giveUp()
	b.wg.Wait()
	return nil
}

// request waits for its turn, connects if need be, and makes one request. All errors of this package are made here.
func (b *Backend) request(ctx context.Context, op string, do func(context.Context, *pgx.Conn) error) error {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return fmt.Errorf("%s: %w (%w)", op, dcs.ErrUnavailable, context.Cause(ctx))
	case <-b.life.Done():
		return fmt.Errorf("%s: %w (the handle is closed)", op, dcs.ErrUnavailable)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.life, cancel)()
	if b.conn == nil || b.conn.IsClosed() {
		b.giveUp()
		conn, err := pgx.ConnectConfig(ctx, b.config)
		if err != nil {
			return fmt.Errorf("%s: %w (%w)", op, dcs.ErrUnavailable, err)
		}
		b.conn = conn
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w (%w)", op, dcs.ErrUnavailable, context.Cause(ctx))
	}
	if err := do(ctx, b.conn); err != nil {
		if known := outcome(err); known != nil {
			return fmt.Errorf("%s: %w (%w)", op, known, err)
		}
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// giveUp closes the connection. What that takes does not hold anybody up but Close.
func (b *Backend) giveUp() {
	if c := b.conn; c != nil {
		b.conn = nil
		b.wg.Go(func() { drop(c) })
	}
}

// outcome is what an error of the server, or its absence, says about the request; nil: it says so itself.
func outcome(err error) error {
	var said *pgconn.PgError
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, dcs.ErrSessionLost):
		return nil
	case errors.As(err, &said) && said.Code == conflict:
		return dcs.ErrConflict
	case errors.As(err, &said) && said.Code == sessionLost:
		return dcs.ErrSessionLost
	case errors.As(err, &said) && said.Code == anotherStore:
		return dcs.ErrUnknown
	case errors.As(err, &said) && said.SeverityUnlocalized == "ERROR": // the transaction was rolled back
		return dcs.ErrUnavailable
	}
	return dcs.ErrUnknown // even if pgconn.SafeToRetry says that nothing was sent: it says so of a batch whose connection broke while it waited for answers
}

// Read is one statement: everything as of one moment. Sessions that are overdue are ended before, so that no key is seen long after its time.
func (b *Backend) Read(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	var s dcs.Snapshot
	err := b.request(ctx, "read", func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "select dcs_end()"); err != nil {
			return err
		}
		rows, err := c.Query(ctx, `select s.version, s.id, coalesce(k.key, ''), k.value, coalesce(k.version, 0), coalesce(k.created, 0), coalesce(k.session::text, '')
			from dcs_store s left join dcs_key k on starts_with(k.key, $1) order by k.key`, prefix)
		if err != nil {
			return err
		}
		var e dcs.Entry
		_, err = pgx.ForEachRow(rows, []any{&s.Version, &s.StoreID, &e.Key, &e.Value, &e.Version, &e.Created, &e.Session}, func() error {
			if e.Key != "" {
				s.Entries = append(s.Entries, e)
			}
			e = dcs.Entry{}
			return nil
		})
		return err
	})
	if errors.Is(err, dcs.ErrUnknown) { // a read has no effect that could be unknown
		err = fmt.Errorf("%w (%s)", dcs.ErrUnavailable, err)
	}
	return s, err
}

// Apply carries out tx.
func (b *Backend) Apply(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	return b.apply(ctx, nil, tx)
}

// apply prolongs x, if it is not nil, and carries out tx: statements that are sent together, and are one transaction.
func (b *Backend) apply(ctx context.Context, x *Session, tx dcs.Txn) (dcs.Applied, error) {
	var a dcs.Applied
	err := b.request(ctx, "apply", func(ctx context.Context, c *pgx.Conn) error {
		batch := &pgx.Batch{}
		if len(tx.Do) > 0 {
			batch.Queue("update dcs_store set version = version + 1") // from here on, nobody else changes anything
		} else {
			batch.Queue("select from dcs_store for update")
		}
		batch.Queue("select dcs_end()")
		if x != nil {
			x.require(batch)
			batch.Queue("update dcs_session set ends = clock_timestamp() + ttl where id = $1::uuid", x.id)
		}
		for _, cond := range tx.If {
			require(batch, cond)
		}
		written := map[string]bool{}
		for _, w := range tx.Do {
			if w.Key == "" || written[w.Key] {
				return fmt.Errorf("%w: key %q is empty, or written twice", errMalformed, w.Key)
			}
			written[w.Key] = true
			if err := write(batch, w); err != nil {
				return err
			}
		}
		batch.Queue("select version from dcs_store").QueryRow(func(row pgx.Row) error { return row.Scan(&a.Version) })
		return c.SendBatch(ctx, batch).Close()
	})
	return a, err
}

var errMalformed = errors.New("malformed transaction")

// require queues a condition.
func require(batch *pgx.Batch, c dcs.Cond) {
	if c.Absent {
		batch.Queue("select dcs_require(not exists (select from dcs_key where key = $1), $2)", c.Key, conflict)
		return
	}
	if c.Version == 0 && c.Created == 0 && c.Session == "" && c.Value == nil {
		return
	}
	batch.Queue(`select dcs_require(exists (select from dcs_key where key = $1 and $2::bigint in (0, version) and $3::bigint in (0, created)
		and $4::text in ('', session::text) and ($5::bytea is null or value = $5::bytea)), $6)`,
		c.Key, int64(c.Version), int64(c.Created), c.Session, c.Value, conflict)
}

// write queues a change, and a hint of it.
func write(batch *pgx.Batch, w dcs.Write) error {
	switch x, ok := w.Session.(*Session); {
	case w.Delete:
		batch.Queue("delete from dcs_key where key = $1", w.Key)
	case w.Session != nil && !ok:
		return fmt.Errorf("%w: session %s is of another kind of store", errMalformed, w.Session.ID())
	default:
		var id *string
		if x != nil {
			x.require(batch)
			id = &x.id
		}
		value := append([]byte{}, w.Value...) // nil would be null
		batch.Queue(`insert into dcs_key select $1, $2::bytea, version, version, $3::uuid from dcs_store
			on conflict (key) do update set value = excluded.value, version = excluded.version, session = excluded.session`, w.Key, value, id)
	}
	batch.Queue("select pg_notify('dcs', $1)", w.Key)
	return nil
}
