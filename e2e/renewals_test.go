//go:build linux

package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestRenewals: a primary keeps its place as long as the store lets it renew: with the shortest session that the store grants, and through
// outages that end before the authority does. ZooKeeper's tick is its own default here, which a renewal takes by nature (safety 2.3, 2.4 and 4).
func TestRenewals(t *testing.T) {
	if os.Getenv("CHAOS") == "" {
		t.Skip("left to make chaos")
	}
	for _, tc := range []struct {
		name   string
		kind   testcluster.Kind
		ttl    int
		away   time.Duration // how long the store answers nobody
		during time.Duration // how long the primary is looked at
	}{
		{"shortest session of ZooKeeper", testcluster.ZooKeeperStore, 10, 0, 30 * time.Second},
		{"outage of ZooKeeper", testcluster.ZooKeeperStore, 30, 10 * time.Second, 30 * time.Second},
		{"outage of Consul", testcluster.ConsulStore, 30, 7 * time.Second, 20 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := startCluster(t, testcluster.Options{Kind: tc.kind, Nodes: 1, Tick: 2 * time.Second, Dynamic: map[string]any{
				"ttl": tc.ttl, "loop_wait": 10, "retry_timeout": 10, "tanist": map[string]any{"minimum_ttl": 10}}})
			s := &siege{fortress: &fortress{cluster: c}, leader: c.healthy()}
			pid, _ := s.leader.Postmaster()
			if tc.away > 0 {
				s.must(c.Store.Freeze())
				s.wait(tc.away)
				s.must(c.Store.Thaw())
			}
			s.wait(tc.during)
			s.undisturbed(pid)
		})
	}
}
