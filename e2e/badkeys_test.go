//go:build linux

package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestGarbageInKeys writes nonsense, and one very large value, where a healthy cluster keeps its state.
func TestGarbageInKeys(t *testing.T) {
	c := startCluster(t, testcluster.Options{Nodes: 2, Dynamic: quick()})
	leader := c.healthy()
	large := strings.Repeat("x", 1<<20) // etcd takes 1.5 MB
	for key, value := range map[string]string{
		"config": "{not json", "status": "garbage", "failover": `["a list"]`, "sync": "\x00\xff", "history": `{"an": "object"}`,
		"failsafe": "17", "members/ghost": "no member", "members/large": large, "unknown": large,
	} {
		c.step(func(ctx context.Context) error { return c.Etcd.Put(ctx, c.Key(key), value) })
	}
	c.replicated(leader, "in_spite_of_garbage")
	if now := c.healthy(); now != leader {
		t.Errorf("%s leads, %s did", now.Name, leader.Name)
	}
	if table := c.ctl("list"); !strings.Contains(table, "members/ghost") {
		t.Errorf("list does not say which key cannot be understood:\n%s", table)
	}
	for _, n := range c.Nodes {
		c.plain(n.Log())
	}
	c.step(func(ctx context.Context) error { return c.Switchover(ctx, leader, c.standby(leader)) })
	c.replicated(c.healthy(), "and_after_a_switchover")
}

// TestDeadBootstrap: somebody took the right to bootstrap and died.
func TestDeadBootstrap(t *testing.T) {
	c := newCluster(t, testcluster.Options{Nodes: 1})
	c.step(func(ctx context.Context) error { return c.Etcd.Put(ctx, c.Key("initialize"), "") })
	c.must(c.StartAll())
	eventually(t, "explain tells of the key", func() (bool, string) {
		ctx, cancel := c.ctx()
		defer cancel()
		out, code, err := c.Ctl(ctx, "explain", c.Scope, c.Nodes[0].Name)
		return err == nil && code == 0 && strings.Contains(out, "initialize"), out
	})
	c.step(func(ctx context.Context) error { return c.Etcd.Delete(ctx, c.Key("initialize")) })
	c.healthy()
}

// TestLeaderKeyOfNobody: an operator's manual put never expires.
func TestLeaderKeyOfNobody(t *testing.T) {
	c := startCluster(t, testcluster.Options{Nodes: 1, Dynamic: quick()})
	n := c.healthy()
	c.step(n.Stop)
	c.step(func(ctx context.Context) error { return c.Etcd.Put(ctx, c.Key("leader"), "ghost") })
	c.must(n.Start())
	eventually(t, "explain tells how to clear it", func() (bool, string) {
		ctx, cancel := c.ctx()
		defer cancel()
		out, _, _ := c.Ctl(ctx, "explain", c.Scope, n.Name)
		return strings.Contains(out, "ghost") && strings.Contains(out, "never expires"), out
	})
	if table := c.ctl("list"); !strings.Contains(table, "ghost") {
		t.Errorf("list does not show it:\n%s", table)
	}
	c.step(func(ctx context.Context) error { return c.Etcd.Delete(ctx, c.Key("leader")) })
	c.healthy()
}
