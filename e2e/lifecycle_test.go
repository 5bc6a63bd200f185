//go:build linux

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// TestLifeCycle is the main job of the project, in one story, on each major.
func TestLifeCycle(t *testing.T) {
	if testing.Short() {
		t.Skip("starts agents, PostgreSQL and etcd: takes a while")
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		c := startCluster(t, testcluster.Options{PGBin: binDir, Dynamic: quick()})
		for _, chapter := range []struct {
			name string
			tell func(*cluster)
		}{
			{"bootstrap and replicate", replicates},
			{"switchover", switchesOver},
			{"postmaster killed", restartsInPlace},
			{"agent killed and started again", adoptsTheServer},
			{"agent stopped in order", handsOver},
			{"host lost, divergence, rewind", rewinds},
			{"second agent of one name", refusesDuplicateName},
		} {
			ok := t.Run(chapter.name, func(t *testing.T) {
				told := *c
				told.t = t
				chapter.tell(&told)
			})
			if !ok {
				t.Fatal("the story ends here")
			}
		}
	})
}

// replicated checks that a row written on the leader arrives everywhere.
func (c *cluster) replicated(leader *testcluster.Node, table string) {
	c.t.Helper()
	c.query(leader, "create table "+table+" as select 42 as answer")
	for _, n := range c.Nodes {
		eventually(c.t, n.Name+" has the row", func() (bool, string) {
			ctx, cancel := c.ctx()
			defer cancel()
			rows, err := c.SQL(ctx, n, "select answer from "+table)
			if err != nil || len(rows) != 1 {
				return false, n.Name + ": " + strings.TrimSpace(errText(err))
			}
			return rows[0][0] == "42", rows[0][0]
		})
	}
}

func errText(err error) string {
	if err == nil {
		return "no row"
	}
	return err.Error()
}

func replicates(c *cluster) {
	leader := c.healthy()
	c.replicated(leader, "bootstrapped")
	table := c.ctl("list")
	for _, n := range c.Nodes {
		if !strings.Contains(table, n.Name) {
			c.t.Errorf("tanistctl list does not show %s:\n%s", n.Name, table)
		}
	}
	kv, err := c.Store.Get(c.t.Context(), c.Key("initialize"))
	if err != nil || kv == nil || kv.Value != c.query(leader, "select system_identifier from pg_control_system()") {
		c.t.Errorf("the key initialize is %v, %v; want the system identifier", kv, err)
	}
	for _, n := range c.Nodes {
		want := 200
		if n == leader {
			want = 503
		}
		if got := n.Says(c.t.Context(), "/replica"); got != want {
			c.t.Errorf("%s answers /replica with %d, want %d", n.Name, got, want)
		}
	}
}

func switchesOver(c *cluster) {
	old := c.healthy()
	l := c.startLedger(old)
	l.settle()
	candidate := c.standby(old)
	c.step(func(ctx context.Context) error { return c.Switchover(ctx, old, candidate) })
	leader := c.healthy()
	if leader != candidate {
		c.t.Errorf("%s leads, the candidate was %s", leader.Name, candidate.Name)
	}
	l.settle()
	if missing := l.lost(leader); len(missing) > 0 {
		c.t.Errorf("lost %d acknowledged rows: %v", len(missing), missing)
	}
	c.t.Logf("longest time between two answers: %v", l.longer)
	c.replicated(leader, "switched")
}

func restartsInPlace(c *cluster) {
	leader := c.healthy()
	timeline := c.query(leader, "select timeline_id from pg_control_checkpoint()")
	l := c.startLedger(leader)
	l.settle()
	c.must(leader.KillPostmaster())
	after := c.healthy()
	l.settle()
	if missing := l.lost(after); len(missing) > 0 {
		c.t.Errorf("lost %d acknowledged rows: %v", len(missing), missing)
	}
	c.t.Logf("longest time between two answers: %v; %s led, %s leads", l.longer, leader.Name, after.Name)
	if got := c.query(after, "select timeline_id from pg_control_checkpoint()"); after == leader && got != timeline {
		c.t.Errorf("the same server leads on timeline %s, it was %s", got, timeline)
	}
}

func adoptsTheServer(c *cluster) {
	leader := c.healthy()
	before, _ := leader.Postmaster()
	l := c.startLedger(leader)
	l.settle()
	c.step(leader.KillAgent)
	l.settle()
	c.must(leader.Start())
	if after := c.healthy(); after != leader {
		c.t.Errorf("%s leads, %s did", after.Name, leader.Name)
	}
	l.settle()
	if pid, ok := leader.Postmaster(); !ok || pid != before {
		c.t.Errorf("the postmaster was %d and is %d, %v: it was not adopted", before, pid, ok)
	}
	if missing := l.lost(leader); len(missing) > 0 {
		c.t.Errorf("lost %d acknowledged rows: %v", len(missing), missing)
	}
	if len(l.failed) > 0 {
		c.t.Errorf("a client saw errors: %v", l.failed)
	}
	c.t.Logf("longest time between two answers: %v", l.longer)
}

func handsOver(c *cluster) {
	old := c.healthy()
	l := c.startLedger(old)
	l.settle()
	c.must(old.Terminate())
	c.step(func(ctx context.Context) error {
		code, err := old.Exit(ctx)
		if code != 0 {
			c.t.Errorf("an agent that is stopped in order exits with %d", code)
		}
		return err
	})
	if _, up := old.Postmaster(); up {
		c.t.Error("the agent has ended and its server runs")
	}
	leader := c.newLeader(old)
	l.settle()
	if missing := l.lost(leader); len(missing) > 0 {
		c.t.Errorf("lost %d acknowledged rows: %v", len(missing), missing)
	}
	c.t.Logf("longest time between two answers: %v", l.longer)
	c.must(old.Start())
	c.healthy()
}

// rewinds loses the leader's host together with a commit that no standby has, and brings the host back.
func rewinds(c *cluster) {
	old := c.healthy()
	c.replicated(old, "before_the_loss")
	c.query(old, "checkpoint")
	if n, err := old.FreezeBackends("walsender"); n != 2 || err != nil {
		c.t.Fatalf("%d WAL senders are frozen, want 2: %v", n, err)
	}
	c.query(old, "create table diverged as select 1")
	c.step(old.KillHost)
	if left := old.Processes(); len(left) > 0 {
		c.t.Fatalf("processes of the lost host live: %v", left)
	}
	leader := c.newLeader(old)
	c.replicatedOn(leader, old)
	inode := fileID(c.t, filepath.Join(old.DataDir, "PG_VERSION"))
	c.must(old.Start())
	if now := c.healthy(); now != leader {
		c.t.Errorf("%s leads, %s did: the returning host took over", now.Name, leader.Name)
	}
	if got := c.query(old, "select to_regclass('diverged') is null and to_regclass('after_the_loss') is not null"); got != "true" {
		c.t.Error("the returning server has rows of its own past, or lacks those of the new leader")
	}
	if fileID(c.t, filepath.Join(old.DataDir, "PG_VERSION")) != inode {
		c.t.Error("the data directory was cloned anew, not rewound")
	}
}

// replicatedOn checks replication while a host is down.
func (c *cluster) replicatedOn(leader, down *testcluster.Node) {
	c.t.Helper()
	nodes := c.Nodes
	defer func() { c.Nodes = nodes }()
	c.Nodes = nil
	for _, n := range nodes {
		if n != down {
			c.Nodes = append(c.Nodes, n)
		}
	}
	c.replicated(leader, "after_the_loss")
}

func fileID(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func refusesDuplicateName(c *cluster) {
	leader := c.healthy()
	twin, err := c.AddNode(c.Nodes[0].Name)
	c.must(err)
	defer func() { c.Cluster.Nodes = c.Cluster.Nodes[:3] }()
	c.must(twin.Start())
	c.step(func(ctx context.Context) error {
		code, err := twin.Exit(ctx)
		if code == 0 {
			c.t.Error("the second agent of one name exits with 0")
		}
		return err
	})
	if log := twin.Log(); !strings.Contains(log, twin.Name) || !strings.Contains(log, "name") {
		c.t.Errorf("it does not say why:\n%s", log)
	}
	if now, err := c.Leader(c.t.Context()); err != nil || now != leader {
		c.t.Errorf("the leader was disturbed: %v, %v", now, err)
	}
}
