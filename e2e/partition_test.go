//go:build linux

package e2e

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestHostCutOff drops every packet of the leader's host. A client on that host goes on for a while; it must be stopped
// before the new leader accepts writes.
func TestHostCutOff(t *testing.T) {
	c := startCluster(t, testcluster.Options{Layout: testcluster.Namespaces, Dynamic: quick()})
	old := c.healthy()
	c.query(old, "create table inside (at timestamptz)")
	cfg, err := c.ConnConfigInside(old, "postgres")
	c.must(err)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	c.must(err)
	defer conn.Close(context.WithoutCancel(t.Context()))

	c.must(old.Partition())
	eventually(t, "the server that is cut off ends its clients", func() (bool, string) {
		ctx, cancel := c.ctx()
		defer cancel()
		_, err := conn.Exec(ctx, "insert into inside values (clock_timestamp())")
		return err != nil, "it still commits"
	})
	leader := c.newLeader(old)
	if fresh, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
		var recovery bool
		if err := fresh.QueryRow(t.Context(), "select pg_is_in_recovery()").Scan(&recovery); err == nil && !recovery {
			t.Errorf("%s leads, and %s accepts writes", leader.Name, old.Name)
		}
		_ = fresh.Close(t.Context())
	}
	c.must(old.Heal())
	if now := c.healthy(); now != leader {
		t.Errorf("%s leads, %s did", now.Name, leader.Name)
	}
	if got := c.query(leader, "select count(*) from inside"); got != c.query(old, "select count(*) from inside") {
		t.Errorf("the tables differ after the rejoin")
	}
}

// TestStoreAway freezes etcd for less than a session and for longer.
func TestStoreAway(t *testing.T) {
	c := startCluster(t, testcluster.Options{Dynamic: quick()})
	leader := c.healthy()
	c.query(leader, "create table while_away (at timestamptz)")
	c.must(c.Etcd.Freeze())
	eventually(t, "the leader stops before its authority ends", func() (bool, string) {
		ctx, cancel := c.ctx()
		defer cancel()
		_, err := c.SQL(ctx, leader, "insert into while_away values (clock_timestamp())")
		return err != nil, "it still commits"
	})
	if l, err := c.Leader(t.Context()); err != nil || l != nil {
		t.Errorf("without a store %v answers /primary with 200, %v", l, err)
	}
	c.must(c.Etcd.Thaw())
	c.replicated(c.healthy(), "store_is_back")
}
