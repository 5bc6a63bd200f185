//go:build linux

package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestBackendIsKilled kills one backend, as the kernel does when memory runs out: the postmaster lives, ends all clients, and starts anew on the same
// data. The agents' loops take hours here, and nobody asks for health checks, which make them look: what they notice they were woken for.
func TestBackendIsKilled(t *testing.T) {
	rare := map[string]any{"ttl": 36000, "loop_wait": 7200, "retry_timeout": 10}
	c := startCluster(t, testcluster.Options{Nodes: 2, Dynamic: rare})
	leader := c.healthy()
	for _, role := range []struct {
		name, section string
		node          *testcluster.Node
	}{
		{"of the primary", "leader", leader},
		{"of a standby", "follow", c.standby(leader)},
	} {
		t.Run(role.name, func(t *testing.T) {
			told := *c
			told.t = t
			n, seen := role.node, len(role.node.Log())
			before, _ := n.Postmaster()
			told.must(syscall.Kill(told.backend(n), syscall.SIGSTOP)) // the postmaster waits for its end, for five seconds
			told.must(syscall.Kill(told.backend(n), syscall.SIGKILL))
			eventually(t, n.Name+" sees that its server starts anew, and that it is back", func() (bool, string) {
				fresh := n.Log()[seen:]
				_, then, away := strings.Cut(fresh, "rule="+role.section+".not-ready")
				return away && strings.Contains(then, "rule="+role.section+".idle"), fresh
			})
			if after, ok := n.Postmaster(); !ok || after != before {
				t.Errorf("the postmaster was %d, and is %d (%v)", before, after, ok)
			}
		})
	}
	if now := c.healthy(); now != leader {
		t.Errorf("%s led, %s leads", leader.Name, now.Name)
	}
}

// backend is the process that serves a client who stays connected.
func (c *cluster) backend(n *testcluster.Node) (pid int) {
	c.t.Helper()
	cfg, err := c.ConnConfig(n, "postgres")
	c.must(err)
	ctx, cancel := c.ctx()
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	c.must(err)
	c.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	c.must(conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid))
	return pid
}
