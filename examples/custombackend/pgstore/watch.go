package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tanist-ha/tanist/dcs"
)

// reapEvery is how often a watch looks for sessions that are overdue: so late may the end of one be told.
const reapEvery = 500 * time.Millisecond

// silence is how long the server may take to answer that look before the watch counts as lost.
const silence = 3 * time.Second

// hintsKept is how many hints wait for a slow reader before they are merged.
const hintsKept = 64

// Watch listens on a connection of its own, and ends with it.
func (b *Backend) Watch(ctx context.Context, prefix string) (<-chan dcs.Hint, error) {
	if b.life.Err() != nil {
		return nil, fmt.Errorf("watch: %w (the handle is closed)", dcs.ErrUnavailable)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.life, cancel)
	conn, err := pgx.ConnectConfig(ctx, b.config)
	if err == nil {
		_, err = conn.Exec(ctx, "listen dcs")
	}
	if err != nil {
		cancel()
		drop(conn)
		return nil, fmt.Errorf("watch: %w (%w)", dcs.ErrUnavailable, err)
	}
	hints := make(chan dcs.Hint, hintsKept)
	b.wg.Go(func() { // ends with ctx, the handle, or the connection
		defer close(hints)
		defer drop(conn)
		defer cancel()
		defer stop()
		for listen(ctx, conn, prefix, hints) == nil {
		}
	})
	return hints, nil
}

// listen passes the notifications of one interval on, then ends what is overdue, which also shows that the server is still there.
func listen(ctx context.Context, conn *pgx.Conn, prefix string, hints chan dcs.Hint) error {
	for until := time.Now().Add(reapEvery); time.Now().Before(until); {
		wait, cancel := context.WithDeadline(ctx, until)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil && strings.HasPrefix(n.Payload, prefix):
			push(hints, dcs.Hint{Key: n.Payload})
		case err == nil:
		case ctx.Err() != nil || conn.IsClosed() || !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	_, err := conn.Exec(ctx, "select dcs_end()")
	return err
}

// push never waits: when the reader is behind, hints become "anything may have changed". There is one writer.
func push(hints chan dcs.Hint, h dcs.Hint) {
	for {
		select {
		case hints <- h:
			return
		default:
		}
		select {
		case <-hints:
			h = dcs.Hint{}
		default: // the reader was faster
		}
	}
}

// drop closes a connection without waiting for a server that may be silent.
func drop(c *pgx.Conn) {
	if c != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
		<-c.PgConn().CleanupDone()
	}
}
