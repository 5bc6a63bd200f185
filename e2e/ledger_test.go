//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// ledger writes numbered rows through a client that knows all hosts, and remembers what was acknowledged.
type ledger struct {
	c    *cluster
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	acked  []int
	longer time.Duration // the longest time between two answers
	failed []error
}

// startLedger begins to write, a row every 20 ms.
func (c *cluster) startLedger(leader *testcluster.Node) *ledger {
	c.t.Helper()
	c.query(leader, "drop table if exists ledger")
	c.query(leader, "create table ledger (n int)")
	cfg, err := c.ConnConfigAll("postgres")
	c.must(err)
	ctx, cancel := context.WithCancel(c.t.Context())
	l := &ledger{c: c, stop: cancel}
	l.wg.Go(func() { l.write(ctx, &cfg.Config) })
	c.t.Cleanup(l.finish)
	return l
}

func (l *ledger) write(ctx context.Context, cfg *pgconn.Config) {
	cfg.ConnectTimeout = 2 * time.Second
	var conn *pgconn.PgConn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := l.row(ctx, &conn, cfg, n)
		l.mu.Lock()
		if err == nil {
			l.acked, l.longer, last = append(l.acked, n), max(l.longer, time.Since(last)), time.Now()
		} else if ctx.Err() == nil {
			l.failed = append(l.failed, err)
		}
		l.mu.Unlock()
	}
}

func (l *ledger) row(ctx context.Context, conn **pgconn.PgConn, cfg *pgconn.Config, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if *conn == nil {
		fresh, err := pgconn.ConnectConfig(ctx, cfg)
		if err != nil {
			return err
		}
		*conn = fresh
	}
	err := (*conn).Exec(ctx, fmt.Sprintf("insert into ledger values (%d)", n)).Close()
	if err != nil {
		_ = (*conn).Close(ctx)
		*conn = nil
	}
	return err
}

// finish ends the writer and waits for it.
func (l *ledger) finish() {
	l.stop()
	l.wg.Wait()
}

// settle waits until rows are acknowledged again.
func (l *ledger) settle() {
	l.c.t.Helper()
	l.mu.Lock()
	from := len(l.acked)
	l.mu.Unlock()
	eventually(l.c.t, "rows are acknowledged", func() (bool, string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acked) > from+10, fmt.Sprintf("%d, %v", len(l.acked), errors.Join(l.failed[max(0, len(l.failed)-1):]...))
	})
}

// lost ends the writer and lists the acknowledged rows that a node does not have.
func (l *ledger) lost(n *testcluster.Node) (missing []int) {
	l.c.t.Helper()
	l.finish()
	present := map[string]bool{}
	ctx, cancel := l.c.ctx()
	defer cancel()
	rows, err := l.c.SQL(ctx, n, "select n from ledger")
	l.c.must(err)
	for _, r := range rows {
		present[r[0]] = true
	}
	for _, n := range l.acked {
		if !present[fmt.Sprint(n)] {
			missing = append(missing, n)
		}
	}
	return missing
}
