//go:build linux

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// patience bounds every wait for the cluster. It is a safety net on a loaded machine, not a measure of speed.
const patience = 2 * time.Minute

// build compiles the programs once for all tests.
var build = sync.OnceValues(func() (testcluster.Programs, error) { return testcluster.Build(context.Background()) })

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if !testing.Short() {
		if p, err := build(); err == nil {
			p.Remove()
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// cluster is a test cluster whose methods end the test when a step fails.
type cluster struct {
	*testcluster.Cluster
	t testing.TB
}

// programs builds what is tested, or skips.
func programs(t testing.TB) testcluster.Programs {
	t.Helper()
	if testing.Short() {
		t.Skip("starts agents, PostgreSQL and etcd: takes a while")
	}
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newCluster makes a cluster; no agent runs yet. The end of the test ends everything, and shows the logs if it failed.
func newCluster(t testing.TB, o testcluster.Options) *cluster {
	t.Helper()
	o.Programs = programs(t)
	if o.PGBin == "" {
		o.PGBin = pgtest.BinDir(t)
	}
	if o.Layout == testcluster.Namespaces && os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	tc, err := testcluster.New(t.Context(), o)
	var missing *testcluster.MissingError
	if errors.As(err, &missing) {
		pgtest.Missing(t, missing.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{tc, t}
	t.Cleanup(func() {
		if t.Failed() {
			c.showLogs()
		}
		if err := tc.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// quick has the lowest timeouts, so that tests which wait for the end of a session are short.
func quick() map[string]any {
	return map[string]any{"ttl": 5, "loop_wait": 1, "retry_timeout": 2, "tanist": map[string]any{"minimum_ttl": 5}}
}

// startCluster makes a cluster and starts all agents; it returns when everybody streams.
func startCluster(t testing.TB, o testcluster.Options) *cluster {
	t.Helper()
	c := newCluster(t, o)
	c.must(c.StartAll())
	c.healthy()
	return c
}

func (c *cluster) showLogs() {
	for _, n := range c.Nodes {
		log := n.Log()
		if len(log) > 8000 {
			log = "…" + log[len(log)-8000:]
		}
		c.t.Logf("log of %s:\n%s", n.Name, log)
	}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(c.t.Context(), patience, fmt.Errorf("waited %v", patience))
}

// healthy waits until there is a leader and everybody else streams from it.
func (c *cluster) healthy() *testcluster.Node {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	leader, err := c.WaitHealthy(ctx)
	c.must(err)
	return leader
}

// newLeader waits for a leader that is not old.
func (c *cluster) newLeader(old *testcluster.Node) *testcluster.Node {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	leader, err := c.WaitLeader(ctx, old)
	c.must(err)
	return leader
}

// standby is a node that is not the leader.
func (c *cluster) standby(leader *testcluster.Node) *testcluster.Node {
	for _, n := range c.Nodes {
		if n != leader {
			return n
		}
	}
	return nil
}

// query runs SQL on a node and returns the rows, columns separated by "|".
func (c *cluster) query(n *testcluster.Node, sql string, args ...any) string {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	rows, err := c.SQL(ctx, n, sql, args...)
	if err != nil {
		c.t.Fatalf("%s: %s: %v", n.Name, sql, err)
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, strings.Join(r, "|"))
	}
	return strings.Join(lines, "\n")
}

// step runs one operation with the usual patience.
func (c *cluster) step(f func(context.Context) error) {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	c.must(f(ctx))
}

// eventually polls until ok is true; why it was not yet is told when patience ends.
func eventually(t testing.TB, what string, ok func() (bool, string)) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		good, why := ok()
		if good {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s; last seen: %s", patience, what, why)
		}
	}
}

// ctl runs tanistctl, which must succeed.
func (c *cluster) ctl(args ...string) string {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	out, code, err := c.Ctl(ctx, args...)
	c.must(err)
	if code != 0 {
		c.t.Fatalf("tanistctl %v: exit %d\n%s", args, code, out)
	}
	return out
}
