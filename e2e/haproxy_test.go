//go:build linux

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// haproxy runs Debian's HAProxy with a user's file; the end of the cluster ends it.
func (c *cluster) haproxy(keep func(listener string) bool) *testcluster.HAProxy {
	c.t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "haproxy.cfg"))
	c.must(err)
	text := string(raw)
	if c.Nodes[0].Scheme == "http" {
		text = strings.ReplaceAll(text, " check-ssl ca-file /etc/haproxy/ssl/ca.pem", "")
		c.t.Log("replaced in haproxy.cfg: check-ssl is left out, as this cluster has no TLS")
	}
	ctx, cancel := c.ctx()
	defer cancel()
	h, err := c.StartHAProxy(ctx, text, keep)
	var missing *testcluster.MissingError
	if errors.As(err, &missing) {
		pgtest.Missing(c.t, missing.Error())
	}
	c.must(err)
	c.t.Logf("replaced in haproxy.cfg:\n%s", strings.Join(h.Replaced, "\n"))
	return h
}

// psql runs a statement with psql through a listener.
func (c *cluster) psql(h *testcluster.HAProxy, listener, sql string) (string, error) {
	ctx, cancel := c.ctx()
	defer cancel()
	out, code, err := c.Run(ctx, filepath.Join(c.PGBin, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", c.through(h, listener), "-c", sql)
	if err == nil && code != 0 {
		err = errors.New("exit " + strconv.Itoa(code) + ": " + out)
	}
	return strings.TrimSpace(out), err
}

func (c *cluster) through(h *testcluster.HAProxy, listener string) string {
	return "host=" + c.Address + " port=" + strconv.Itoa(h.Ports[listener]) +
		" user=postgres dbname=postgres connect_timeout=5 password='" + c.Password + "'"
}

const where = "select host(inet_server_addr()) || ':' || inet_server_port()"

// leadsTo waits until a listener leads to n alone.
func (c *cluster) leadsTo(h *testcluster.HAProxy, listener string, n *testcluster.Node) {
	c.t.Helper()
	c.routes(h, listener, "leads to "+n.Name, func(address string) bool { return address == n.PGAddress() })
}

// avoids waits until a listener leads to others than n.
func (c *cluster) avoids(h *testcluster.HAProxy, listener string, n *testcluster.Node) {
	c.t.Helper()
	c.routes(h, listener, "avoids "+n.Name, func(address string) bool { return address != n.PGAddress() })
}

// routes waits until three connections in a row end as they should: HAProxy takes turns among the servers that it has up, and for a moment after a
// switchover it has the former leader up as well as the new one.
func (c *cluster) routes(h *testcluster.HAProxy, listener, what string, right func(address string) bool) {
	c.t.Helper()
	eventually(c.t, listener+" "+what, func() (bool, string) {
		for range 3 {
			got, err := c.psql(h, listener, where)
			if err != nil {
				return false, err.Error()
			}
			if !right(got) {
				return false, got
			}
		}
		return true, ""
	})
}

// TestHAProxy follows a switchover with every spelling that users have, and works through it with psql and pgbench.
func TestHAProxy(t *testing.T) {
	c := startCluster(t, testcluster.Options{})
	old := c.healthy()
	h := c.haproxy(nil)
	writers := []string{"pg_primary", "by_leader", "by_master"}
	readers := []string{"pg_replicas", "standby"}
	for _, w := range writers {
		c.leadsTo(h, w, old)
	}
	for _, r := range readers {
		c.avoids(h, r, old)
	}
	c.pgbench(h, "pg_primary", "-i", "-s", "1", "-q")
	c.pgbench(h, "by_master", "-c", "2", "-t", "200")
	eventually(t, "the tables are on the standbys", func() (bool, string) {
		out, err := c.psql(h, "pg_replicas", "select count(*) from pgbench_accounts")
		return err == nil && out == "100000", out
	})
	c.pgbench(h, "pg_replicas", "-S", "-n", "-c", "2", "-t", "200")

	c.step(func(ctx context.Context) error { return c.Switchover(ctx, old, c.standby(old)) })
	leader := c.healthy()
	for _, w := range writers {
		c.leadsTo(h, w, leader)
	}
	for _, r := range readers {
		c.avoids(h, r, leader)
	}
	c.pgbench(h, "by_leader", "-c", "2", "-t", "200")
	if out, err := c.psql(h, "pg_sync_replicas", "select 1"); err == nil {
		t.Errorf("a synchronous standby was found, and there is none: %s", out)
	}
}

// pgbench runs through a listener and must succeed.
func (c *cluster) pgbench(h *testcluster.HAProxy, listener string, args ...string) {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	out, code, err := c.Run(ctx, append(append([]string{filepath.Join(c.PGBin, "pgbench")}, args...), c.through(h, listener))...)
	if err != nil || code != 0 {
		c.t.Errorf("pgbench %v through %s: exit %d, %v\n%s", args, listener, code, err, out)
	}
}
