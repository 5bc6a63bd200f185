package modeltest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

// wait is a client whose commit waits for a synchronous standby that is not there.
type wait struct {
	pid  int
	done chan error // what it was told: nil is an acknowledgement
	stop func()
}

// wait commits a row, and returns when its client waits.
func (n *node) wait(ctx context.Context, row int) error {
	c, err := pgxdriver.Connector{}.Connect(ctx, n.params(map[string]string{"synchronous_commit": "on"}))
	if err != nil {
		return err
	}
	rows, err := c.Query(ctx, "SELECT pg_backend_pid()")
	if err != nil {
		return errors.Join(err, c.Close(ctx))
	}
	pid, _ := strconv.Atoi(*rows[0][0])
	life, stop := context.WithCancel(context.Background())
	w := &wait{pid: pid, done: make(chan error, 1), stop: stop}
	go func() {
		_, err := c.Query(life, fmt.Sprintf("INSERT INTO public.rows VALUES (%d)", row))
		w.done <- err
		_ = c.Close(life)
	}()
	n.waits = append(n.waits, w)
	for {
		rows, err := n.query(ctx, fmt.Sprintf("SELECT 1 FROM pg_stat_activity WHERE pid = %d AND wait_event = 'SyncRep'", pid))
		if err != nil || len(rows) > 0 {
			return err
		}
		select {
		case err := <-w.done:
			return fmt.Errorf("the commit did not wait: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// endWaits cancels the waits, or terminates the backends that wait, and says whether any of their clients was told that its row is there.
func (n *node) endWaits(ctx context.Context, how string) (acknowledged bool, err error) {
	for _, w := range n.waits {
		if _, err := n.query(ctx, fmt.Sprintf("SELECT pg_%s_backend(%d)", how, w.pid)); err != nil {
			return false, err
		}
	}
	return n.collect(ctx), nil
}

// collect hears what the waiting clients were told, now that their waits are over.
func (n *node) collect(ctx context.Context) (acknowledged bool) {
	for _, w := range n.waits {
		select {
		case err := <-w.done:
			acknowledged = acknowledged || err == nil
		case <-ctx.Done():
		}
		w.stop()
	}
	n.waits = nil
	return acknowledged
}

// params are those of a connection of an ordinary client.
func (n *node) params(session map[string]string) postgres.ConnectParams {
	return postgres.ConnectParams{Session: session, Conninfo: postgres.Conninfo{
		"host": "127.0.0.1", "port": strconv.Itoa(n.port), "user": "postgres", "dbname": "postgres"}}
}
