//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestDiskFullWhileCloning gives a new member a disk that is too small, and then a larger one.
func TestDiskFullWhileCloning(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	c := startCluster(t, testcluster.Options{Nodes: 1, Dynamic: quick()})
	leader := c.healthy()
	n, err := c.AddNode("n2")
	c.must(err)
	dir, err := n.MountSmall("disk", 12)
	c.must(err)
	n.DataDir = filepath.Join(dir, "data")
	cfg, err := testcluster.BaseConfig(c.Cluster, n)
	c.must(err)
	c.must(n.WriteConfig(cfg))
	c.must(n.Start())
	eventually(t, "it says that the disk is full", func() (bool, string) {
		ctx, cancel := c.ctx()
		defer cancel()
		out, _, _ := c.Ctl(ctx, "explain", c.Scope, n.Name)
		said := out + n.Log()
		return strings.Contains(said, "No space left on device"), said
	})
	if !n.Running() {
		t.Fatalf("the agent has ended:\n%s", n.Log())
	}
	if table := c.ctl("list"); !strings.Contains(table, n.Name) {
		t.Errorf("list does not show the member:\n%s", table)
	}
	if _, up := n.Postmaster(); up {
		t.Error("a server was started on half a clone")
	}
	_, err = n.MountSmall("disk", 300)
	c.must(err)
	c.replicated(leader, "on_a_larger_disk")
	c.healthy()
	c.plain(n.Log())
}

// TestCloneSourceDies loses the leader's host while a new member clones from it: the clone is made anew from the next one.
func TestCloneSourceDies(t *testing.T) {
	c := startCluster(t, testcluster.Options{Nodes: 2, Dynamic: quick()})
	old := c.healthy()
	n, err := c.AddNode("n3")
	c.must(err)
	cfg, err := testcluster.BaseConfig(c.Cluster, n)
	c.must(err)
	testcluster.Set(cfg, "postgresql.basebackup", []any{map[string]any{"max-rate": "4M"}}) // some 7 s for an empty cluster
	c.must(n.WriteConfig(cfg))
	c.must(n.Start())
	eventually(t, "the clone is under way", func() (bool, string) {
		_, err := os.Stat(filepath.Join(n.DataDir, "base"))
		return err == nil, errText(err)
	})
	c.step(old.KillHost)
	leader := c.newLeader(old)
	if now := c.healthy(); now != leader {
		t.Errorf("%s leads, %s did", now.Name, leader.Name)
	}
	if n.Says(t.Context(), "/replica") != 200 {
		t.Errorf("the new member is no replica:\n%s", n.Log())
	}
	c.must(old.Start())
	c.replicated(c.healthy(), "three_again")
}
