package demo

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// writer inserts numbered rows, one after the other, at whatever server accepts them, and measures how long none did.
type writer struct {
	conninfo string
	cancel   context.CancelFunc
	ended    chan struct{}

	mu           sync.Mutex
	next         int
	acknowledged []int
	last         time.Time     // of the last acknowledgement
	longest      time.Duration // between two of them, since reset
	progress     chan struct{} // closed at the next acknowledgement
}

// pause is the time between two inserts, and between two attempts to connect.
const pause = 5 * time.Millisecond

// startWriter makes the table and begins.
func startWriter(ctx context.Context, hosts []*host) (*writer, error) {
	var addresses, ports []string
	for _, h := range hosts {
		address, port, err := net.SplitHostPort(h.postgres)
		if err != nil {
			return nil, err
		}
		addresses, ports = append(addresses, address), append(ports, port)
	}
	w := &writer{ended: make(chan struct{}), progress: make(chan struct{}), last: time.Now()}
	w.conninfo = fmt.Sprintf("host=%s port=%s user=postgres password=%s dbname=postgres sslmode=disable connect_timeout=1 target_session_attrs=read-write",
		strings.Join(addresses, ","), strings.Join(ports, ","), hosts[0].password)
	if err := w.exec(ctx, "create table demo_rows (n int primary key, at timestamptz default clock_timestamp())"); err != nil {
		return nil, fmt.Errorf("make the writer's table: %w", err)
	}
	ctx, w.cancel = context.WithCancel(ctx)
	go w.run(ctx)
	return w, nil
}

func (w *writer) stop() {
	w.cancel()
	<-w.ended
}

// run inserts until ctx ends. A row of unknown fate counts as not acknowledged, and is not tried again.
func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	var conn *pgconn.PgConn
	defer func() { hangUp(conn) }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var err error
		if conn == nil {
			if conn, err = w.connect(ctx); err != nil {
				continue
			}
		}
		w.mu.Lock()
		w.next++
		n := w.next
		w.mu.Unlock()
		if err := execOn(ctx, conn, "insert into demo_rows (n) values ("+strconv.Itoa(n)+")"); err != nil {
			hangUp(conn)
			conn = nil
			continue
		}
		w.acknowledge(n)
	}
}

func (w *writer) acknowledge(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.acknowledged = append(w.acknowledged, n)
	w.longest = max(w.longest, now.Sub(w.last))
	w.last = now
	close(w.progress)
	w.progress = make(chan struct{})
}

// reset begins a new measurement.
func (w *writer) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest = 0
}

// outage is the longest time without an acknowledgement since reset.
func (w *writer) outage() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.longest
}

// resumed waits until rows are acknowledged again: until one is, a second after from or later, or after a gap that lasted
// beyond it.
func (w *writer) resumed(ctx context.Context, from time.Time, patience time.Duration) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		w.mu.Lock()
		ok, progress := w.last.After(from.Add(time.Second)), w.progress
		w.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout.C:
			return fmt.Errorf("no row was acknowledged for %s", patience)
		}
	}
}

// check counts the acknowledged rows, and those of them that the primary does not have.
func (w *writer) check(ctx context.Context) (acknowledged, missing int, err error) {
	w.mu.Lock()
	rows := w.acknowledged[:len(w.acknowledged):len(w.acknowledged)]
	w.mu.Unlock()
	conn, err := w.connect(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("count the rows: %w", err)
	}
	defer hangUp(conn)
	result := conn.ExecParams(ctx, "select n from demo_rows", nil, nil, nil, nil)
	present := map[int]bool{}
	for result.NextRow() {
		n, err := strconv.Atoi(string(result.Values()[0]))
		if err != nil {
			return 0, 0, fmt.Errorf("count the rows: %w", err)
		}
		present[n] = true
	}
	if _, err := result.Close(); err != nil {
		return 0, 0, fmt.Errorf("count the rows: %w", err)
	}
	for _, n := range rows {
		if !present[n] {
			missing++
		}
	}
	return len(rows), missing, nil
}

// connect finds the server that accepts writes.
func (w *writer) connect(ctx context.Context) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return pgconn.Connect(ctx, w.conninfo)
}

// exec runs one statement on a connection of its own.
func (w *writer) exec(ctx context.Context, sql string) error {
	conn, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	return execOn(ctx, conn, sql)
}

// execOn runs one statement. A server that does not answer within a second is left.
func execOn(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}

func hangUp(conn *pgconn.PgConn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the server will notice by itself
}
