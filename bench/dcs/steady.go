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
	Sent     *float64           `json:"sent_kb,omitempty"`
	Received *float64           `json:"received_kb,omitempty"`
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

func (b *bench) run(ctx context.Context) error {
	sizes := b.sizes
	if b.kind == testcluster.EmbedEtcdStore {
		sizes = []int{embedded}
	}
	c, err := testcluster.New(ctx, testcluster.Options{Programs: b.programs, PGBin: b.pgBin, Scope: "bench", Nodes: sizes[len(sizes)-1],
		Kind: b.kind, Servers: servers, ServersOf: apart, Config: small,
		Dynamic: map[string]any{"postgresql": map[string]any{"use_pg_rewind": true, "parameters": map[string]any{
			"max_connections": 20, "max_wal_senders": 24, "max_replication_slots": 24, "max_worker_processes": 2, "wal_log_hints": "on"}}}})
	if err != nil {
		return err
	}
	defer c.Close()
	if b.kind != testcluster.EmbedEtcdStore { // the first agent of an embedded etcd waits for the second
		if err := c.Nodes[0].Start(); err != nil {
			return err
		}
		if err := b.settle(ctx, c); err != nil {
			return err
		}
	}
	for _, size := range sizes {
		for _, n := range c.Nodes[:size] {
			if n.Running() {
				continue
			}
			if err := n.Start(); err != nil {
				return err
			}
		}
		if err := b.settle(ctx, c); err != nil {
			return err
		}
		for _, writer := range []bool{false, true} {
			if err := b.watch(ctx, c, size, writer); err != nil {
				return fmt.Errorf("%d members: %w", size, err)
			}
		}
	}
	return nil
}

// small is a configuration whose server needs little memory.
func small(c *testcluster.Cluster, n *testcluster.Node) (map[string]any, error) {
	cfg, err := testcluster.BaseConfig(c, n)
	if err == nil {
		testcluster.Set(cfg, "postgresql.parameters.shared_buffers", "1MB")
	}
	return cfg, err
}

func (b *bench) settle(ctx context.Context, c *testcluster.Cluster) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("10 minutes"))
	defer cancel()
	_, err := c.WaitHealthy(ctx)
	return err
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
	}
	fmt.Fprintf(b.errOut, "%s, %d members, writer %v: %v\n", b.kind, size, writer, calm+b.window)
	if err := pause(ctx, calm); err != nil {
		return err
	}
	before, err := look(ctx, c)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, b.window); err != nil {
		return err
	}
	after, err := look(ctx, c)
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

// look asks every server.
func look(ctx context.Context, c *testcluster.Cluster) ([]testcluster.Traffic, error) {
	var all []testcluster.Traffic
	for i := range c.Store.Servers() {
		t, err := c.Store.Traffic(ctx, i)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// result compares two looks. The leader's server is its own.
func (b *bench) result(before, after []testcluster.Traffic, took time.Duration, size, leader int) result {
	r := result{Store: b.kind, Members: size, Seconds: took.Seconds(), Methods: map[string]float64{}}
	var total, sent, received float64
	bytes := true
	for i := range after {
		d := after[i].Requests - before[i].Requests
		total += d
		if i == leader {
			r.Leader = d / took.Minutes()
		}
		bytes = bytes && !after[i].NoBytes
		sent += after[i].Sent - before[i].Sent
		received += after[i].Received - before[i].Received
		for name, n := range after[i].ByMethod {
			if d := n - before[i].ByMethod[name]; d > 0 {
				r.Methods[name] += d / took.Minutes()
			}
		}
	}
	perMinute := total / took.Minutes()
	r.Standby, r.Member = (perMinute-r.Leader)/float64(size-1), perMinute/float64(size)
	if bytes {
		sent, received = sent/1e3/took.Minutes(), received/1e3/took.Minutes()
		r.Sent, r.Received = &sent, &received
	}
	return r
}

// write commits ten rows a second until stop is called.
func write(ctx context.Context, c *testcluster.Cluster, leader *testcluster.Node) (stop func(), err error) {
	cfg, err := c.ConnConfig(leader, "postgres")
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
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
