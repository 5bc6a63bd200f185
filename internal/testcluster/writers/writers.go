//go:build linux

package writers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// The pace of the writers.
const (
	perServer = 20 * time.Millisecond
	multiHost = 2 * time.Millisecond
	checkPace = 20 * time.Millisecond
	patience  = time.Second // a commit that is not answered by then is given up, and so is a connection
)

// Workload is a set of clients at work. Its lists are complete, and may be read without a lock, after Finish.
type Workload struct {
	c     *testcluster.Cluster
	start time.Time
	alive context.Context // of the clients; ends with stop
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	Acks   []Ack
	Inside []Ack // of a client on the host that is cut off
	Proxy  []Ack // of the clients behind HAProxy
	Checks []Health
	Fails  map[string]int // errors by text, for a look when something is odd
}

// series is one client: where it connects, and where its answers go.
type series struct {
	writer  int
	pace    time.Duration
	fresh   bool // a new connection for each row
	stays   bool // waits for each answer for as long as its only connection lives
	connect func(ctx context.Context) (*pgconn.PgConn, error)
	server  func(*pgconn.PgConn) int
	into    *[]Ack
}

// DDL makes the table that they write to.
const DDL = "create table if not exists bench (writer int, n bigint)"

// Start starts the clients: per server one held and one fresh connection, one client with all hosts, and one
// health check per node.
func Start(ctx context.Context, c *testcluster.Cluster) (*Workload, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &Workload{c: c, start: time.Now(), alive: ctx, stop: cancel, Fails: map[string]int{}}
	for i, n := range c.Nodes {
		cfg, err := c.ConnConfig(n, "postgres")
		if err != nil {
			cancel()
			return nil, err
		}
		at := func(*pgconn.PgConn) int { return i }
		connect := connector(&cfg.Config)
		w.run(ctx, series{writer: 10 + i, pace: perServer, connect: connect, server: at, into: &w.Acks})
		w.run(ctx, series{writer: 20 + i, pace: perServer, fresh: true, connect: connect, server: at, into: &w.Acks})
		w.check(ctx, i, n)
	}
	many, err := c.ConnConfigAll("postgres")
	if err != nil {
		cancel()
		return nil, err
	}
	w.run(ctx, series{writer: 30, pace: multiHost, connect: connector(&many.Config), server: w.remote, into: &w.Acks})
	return w, nil
}

// AddInside adds a client on the node's own host.
func (w *Workload) AddInside(i int) error {
	cfg, err := w.c.ConnConfigInside(w.c.Nodes[i], "postgres")
	if err != nil {
		return err
	}
	w.run(w.alive, series{writer: 40 + i, pace: perServer, connect: connector(&cfg.Config),
		server: func(*pgconn.PgConn) int { return i }, into: &w.Inside})
	return nil
}

// AddReplication adds a client that commits over a replication connection to node i: a WAL sender takes SQL, too, and is ended later than
// other clients when a server stops.
func (w *Workload) AddReplication(i int) error {
	cfg, err := w.c.ConnConfig(w.c.Nodes[i], "postgres")
	if err != nil {
		return err
	}
	cfg.RuntimeParams["replication"] = "database"
	w.run(w.alive, series{writer: 60 + i, pace: perServer, connect: connector(&cfg.Config),
		server: func(*pgconn.PgConn) int { return i }, into: &w.Acks})
	return nil
}

// AddStaying adds clients of node i that write row after row, without a pause, each over one connection, and wait for each answer for as long
// as that takes: they are there when a server that was frozen goes on. They end with their connections.
func (w *Workload) AddStaying(i, clients int) error {
	cfg, err := w.c.ConnConfig(w.c.Nodes[i], "postgres")
	if err != nil {
		return err
	}
	connect := connector(&cfg.Config)
	for k := range clients {
		w.run(w.alive, series{writer: 100 + k, pace: time.Microsecond, stays: true, connect: connect,
			server: func(*pgconn.PgConn) int { return i }, into: &w.Acks})
	}
	return nil
}

// AddProxy adds a held and a fresh connection through HAProxy.
func (w *Workload) AddProxy(host string, port int) error {
	cfg, err := w.c.ConnConfigAt(host, port, "postgres")
	if err != nil {
		return err
	}
	unknown := func(*pgconn.PgConn) int { return -1 }
	for i, fresh := range []bool{false, true} {
		w.run(w.alive, series{writer: 50 + i, pace: perServer, fresh: fresh, connect: connector(&cfg.Config), server: unknown, into: &w.Proxy})
	}
	return nil
}

func connector(cfg *pgconn.Config) func(context.Context) (*pgconn.PgConn, error) {
	cfg.ConnectTimeout = patience
	cfg.RuntimeParams["log_min_messages"] = "panic" // a standby refuses a hundred rows a second: do not measure its log
	return func(ctx context.Context) (*pgconn.PgConn, error) { return pgconn.ConnectConfig(ctx, cfg) }
}

// remote finds the node that a connection leads to.
func (w *Workload) remote(conn *pgconn.PgConn) int {
	for i, n := range w.c.Nodes {
		if conn.Conn().RemoteAddr().String() == n.PGAddress() {
			return i
		}
	}
	return -1
}

// run starts a client that ends with ctx. Its goroutine is waited for by finish.
func (w *Workload) run(ctx context.Context, s series) {
	w.wg.Go(func() {
		tick := time.NewTicker(s.pace)
		defer tick.Stop()
		var conn *pgconn.PgConn
		for n := int64(1); ; n++ {
			select {
			case <-ctx.Done():
				hangUp(conn)
				return
			case <-tick.C:
			}
			conn = w.write(conn, s, n)
			if s.stays && conn == nil {
				return
			}
			if s.fresh && conn != nil {
				hangUp(conn)
				conn = nil
			}
		}
	})
}

// write commits one row, over conn if it is not nil, and returns the connection if it can be used again. It takes no
// context of the run: a row that is under way at the end is waited for.
func (w *Workload) write(conn *pgconn.PgConn, s series, n int64) *pgconn.PgConn {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	if conn == nil || conn.IsClosed() {
		var err error
		if conn, err = s.connect(ctx); err != nil {
			w.failed(err)
			return nil
		}
	}
	answered := context.Background()
	if !s.stays {
		answered, cancel = context.WithTimeout(answered, patience)
		defer cancel()
	}
	server := s.server(conn)
	sent := time.Since(w.start)
	err := conn.Exec(answered, fmt.Sprintf("insert into bench values (%d, %d)", s.writer, n)).Close()
	got := time.Since(w.start)
	if err != nil {
		w.failed(err)
		if conn.IsClosed() || s.writer == 30 { // with all hosts: look for the one that writes, as a pool does
			hangUp(conn)
			return nil
		}
		return conn
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	*s.into = append(*s.into, Ack{s.writer, n, server, sent, got})
	return conn
}

func hangUp(conn *pgconn.PgConn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = conn.Close(ctx)
}

func (w *Workload) failed(err error) {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Fails[text]++
}

// check asks for /primary as HAProxy does, over a new connection each time.
func (w *Workload) check(ctx context.Context, i int, n *testcluster.Node) {
	w.wg.Go(func() {
		tick := time.NewTicker(checkPace)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			sent := time.Since(w.start)
			up := w.primary(n.RESTAddress())
			w.mu.Lock()
			w.Checks = append(w.Checks, Health{i, up, sent, time.Since(w.start)})
			w.mu.Unlock()
		}
	})
}

func (w *Workload) primary(address string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := w.c.Dial(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "OPTIONS /primary HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.Contains(line, " 200 ")
}

// Since is the time of the run.
func (w *Workload) Since() time.Duration { return time.Since(w.start) }

// Answered waits until clients have been answered for a while, so that a fault meets a cluster at work.
func (w *Workload) Answered(ctx context.Context, acks *[]Ack, n int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		w.mu.Lock()
		have, fails := len(*acks), fmt.Sprint(w.Fails)
		w.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d commits: only %d; errors: %s", n, have, fails)
		case <-tick.C:
		}
	}
}

// Newest is when the last answer so far came.
func (w *Workload) Newest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.Acks) == 0 {
		return 0
	}
	return w.Acks[len(w.Acks)-1].Got
}

// Finish ends the clients and waits for them.
func (w *Workload) Finish() {
	w.stop()
	w.wg.Wait()
}

// Present reads all rows that node n has.
func Present(ctx context.Context, c *testcluster.Cluster, n *testcluster.Node) (map[Row]bool, error) {
	cfg, err := c.ConnConfig(n, "postgres")
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return nil, err
	}
	defer hangUp(conn)
	results, err := conn.Exec(ctx, "select writer, n from bench").ReadAll()
	if err != nil {
		return nil, err
	}
	rows := map[Row]bool{}
	for _, r := range results {
		for _, line := range r.Rows {
			writer, err := strconv.Atoi(string(line[0]))
			if err != nil {
				return nil, err
			}
			n, err := strconv.ParseInt(string(line[1]), 10, 64)
			if err != nil {
				return nil, err
			}
			rows[Row{writer, n}] = true
		}
	}
	return rows, nil
}
