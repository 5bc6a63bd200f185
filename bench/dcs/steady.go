//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/testcluster"
)

// result is one steady state, as a line of JSON. Rates are per minute.
type result struct {
	Store    testcluster.Kind   `json:"store"`
	Members  int                `json:"members"`
	Writer   bool               `json:"writer"`
	Seconds  float64            `json:"seconds"`
	Leader   float64            `json:"leader_requests"`
	Standby  float64            `json:"standby_requests"` // each
	Member   float64            `json:"member_requests"`  // each, the leader counted in
	Sent     float64            `json:"sent_kb"`
	Received float64            `json:"received_kb"`
	Methods  map[string]float64 `json:"requests_by_method,omitempty"` // of all members
	Steady   bool               `json:"steady"`                       // nobody else led in between
}

// bench measures one kind of store, on one cluster that grows.
type bench struct {
	options
	kind     testcluster.Kind
	programs testcluster.Programs
	errOut   io.Writer
	report   func(result) error
	proxies  []*faultproxy.Proxy // in front of servers that count no bytes
}

// embedded is the size of an embedded etcd, whatever the sizes that are asked for.
const embedded = 3

// servers of a store that is not embedded: one for the leader, two for the standbys.
const servers = 3

// apart gives the first node, which leads, a server for itself.
func apart(node int) []int {
	if node == 0 {
		return []int{0}
	}
	return []int{1 + node%2}
}

func (b *bench) run(ctx context.Context) (w wakeup, err error) {
	sizes := b.sizes
	if b.kind == testcluster.EmbedEtcdStore {
		sizes = []int{embedded}
	}
	c, err := testcluster.New(ctx, testcluster.Options{Programs: b.programs, PGBin: b.pgBin, Scope: "bench", Nodes: sizes[len(sizes)-1],
		Kind: b.kind, Servers: servers, ServersOf: apart, Config: b.config,
		Dynamic: map[string]any{"postgresql": map[string]any{"use_pg_rewind": true, "parameters": map[string]any{
			"max_connections": 20, "max_wal_senders": 24, "max_replication_slots": 24, "max_worker_processes": 2, "wal_log_hints": "on"}}}})
	if err != nil {
		return w, err
	}
	defer func() {
		err = errors.Join(err, c.Close())
		for _, p := range b.proxies {
			_ = p.Close()
		}
	}()
	if b.kind != testcluster.EmbedEtcdStore { // the first agent of an embedded etcd waits for the second
		if err := b.start(ctx, c, c.Nodes[:1]); err != nil {
			return w, err
		}
	}
	for _, size := range sizes {
		if err := b.start(ctx, c, c.Nodes[:size]); err != nil {
			return w, err
		}
		for _, writer := range []bool{false, true} {
			if err := b.watch(ctx, c, size, writer); err != nil {
				return w, fmt.Errorf("%d members: %w", size, err)
			}
		}
	}
	return b.wakeups(ctx, c)
}

// start starts those agents that do not run, and waits until all is well.
func (b *bench) start(ctx context.Context, c *testcluster.Cluster, nodes []*testcluster.Node) error {
	for _, n := range nodes {
		if n.Running() {
			continue
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("10 minutes"))
	defer cancel()
	_, err := c.WaitHealthy(ctx)
	return err
}

// config is a member's: its server needs little memory, and its way to the store is counted.
func (b *bench) config(c *testcluster.Cluster, n *testcluster.Node) (map[string]any, error) {
	cfg, err := testcluster.BaseConfig(c, n)
	if err != nil {
		return nil, err
	}
	testcluster.Set(cfg, "postgresql.parameters.shared_buffers", "1MB")
	if !b.uncounted() {
		return cfg, nil
	}
	for len(b.proxies) < c.Store.Servers() {
		p, err := faultproxy.Listen(c.Store.Addresses()[len(b.proxies)])
		if err != nil {
			return nil, err
		}
		b.proxies = append(b.proxies, p)
	}
	var ways []string
	for _, i := range apart(slices.Index(c.Nodes, n)) {
		ways = append(ways, b.proxies[i].Addr())
	}
	name, section := c.Store.Section(n, ways)
	cfg[name] = section
	return cfg, nil
}

// uncounted says whether the store's servers count no bytes.
func (b *bench) uncounted() bool {
	return b.kind == testcluster.ConsulStore || b.kind == testcluster.ZooKeeperStore
}

// calm is how long a cluster is left alone before a window begins: three loops.
const calm = 30 * time.Second

// watch takes one window.
func (b *bench) watch(ctx context.Context, c *testcluster.Cluster, size int, writer bool) error {
	leader, err := c.WaitHealthy(ctx)
	if err != nil {
		return err
	}
	if writer {
		stop, err := write(ctx, c, leader)
		if err != nil {
			return err
		}
		defer stop()
	} else if err := rest(ctx, c, leader); err != nil {
		return err
	}
	fmt.Fprintf(b.errOut, "%s, %d members, writer %v: %v\n", b.kind, size, writer, calm+b.window)
	if err := pause(ctx, calm); err != nil {
		return err
	}
	before, err := b.look(ctx, c)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, b.window); err != nil {
		return err
	}
	after, err := b.look(ctx, c)
	if err != nil {
		return err
	}
	took := time.Since(began)
	now, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	r := b.result(before, after, took, size, slices.Index(c.Nodes, leader))
	r.Writer, r.Steady = writer, now == leader
	return b.report(r)
}

// look asks every server, and the proxies.
func (b *bench) look(ctx context.Context, c *testcluster.Cluster) ([]testcluster.Traffic, error) {
	var all []testcluster.Traffic
	for i := range c.Store.Servers() {
		t, err := c.Store.Traffic(ctx, i)
		if err != nil {
			return nil, err
		}
		if b.uncounted() {
			from, to := b.proxies[i].Bytes()
			t.Received, t.Sent = float64(from), float64(to)
		}
		all = append(all, t)
	}
	return all, nil
}

// result compares two looks. The leader's server is its own.
func (b *bench) result(before, after []testcluster.Traffic, took time.Duration, size, leader int) result {
	r := result{Store: b.kind, Members: size, Seconds: took.Seconds(), Methods: map[string]float64{}}
	var total float64
	for i := range after {
		d := (after[i].Requests - before[i].Requests) / took.Minutes()
		total += d
		if i == leader {
			r.Leader = d
		}
		r.Sent += (after[i].Sent - before[i].Sent) / 1e3 / took.Minutes()
		r.Received += (after[i].Received - before[i].Received) / 1e3 / took.Minutes()
		for name, n := range after[i].ByMethod {
			if d := n - before[i].ByMethod[name]; d > 0 {
				r.Methods[name] += d / took.Minutes()
			}
		}
	}
	r.Standby, r.Member = (total-r.Leader)/float64(size-1), total/float64(size)
	return r
}

// write commits ten rows a second until stop is called.
func write(ctx context.Context, c *testcluster.Cluster, leader *testcluster.Node) (stop func(), err error) {
	conn, err := connect(ctx, c, leader, "postgres")
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "create table if not exists bench (at timestamptz)"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer conn.Close(context.WithoutCancel(ctx))
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if _, err := conn.Exec(ctx, "insert into bench values (clock_timestamp())"); err != nil {
				return // a leader that changed is seen by the window
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	return func() { cancel(); <-done }, nil
}

// rested is how long the log of an idle server has not grown: autovacuum looks once a minute for what there is to do.
const rested = 75 * time.Second

// rest does what a server that nobody writes to would do of itself some minutes after its bootstrap, and waits until it has nothing left.
func rest(ctx context.Context, c *testcluster.Cluster, leader *testcluster.Node) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("10 minutes"))
	defer cancel()
	template, err := connect(ctx, c, leader, "template1")
	if err != nil {
		return err
	}
	_, err = template.Exec(ctx, "vacuum (analyze)")
	template.Close(ctx)
	if err != nil {
		return err
	}
	conn, err := connect(ctx, c, leader, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range []string{"vacuum (analyze)", "checkpoint"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	for last, since := "", time.Now(); time.Since(since) < rested; {
		var now string
		if err := conn.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&now); err != nil {
			return err
		}
		if now != last {
			last, since = now, time.Now()
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

func connect(ctx context.Context, c *testcluster.Cluster, n *testcluster.Node, database string) (*pgx.Conn, error) {
	cfg, err := c.ConnConfig(n, database)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg)
}

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
