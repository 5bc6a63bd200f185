//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestConsulCatalog: with register_service each member is found in Consul's catalog by its role, which follows a switchover; Consul's own
// check finds it healthy there; a member that ends in order is gone, and so is one whose agent is told, by a reload or between two runs, to show
// it no more. tanistctl reaches the cluster by the store's address.
func TestConsulCatalog(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster")
	}
	t.Parallel()
	c := startCluster(t, testcluster.Options{Kind: testcluster.ConsulStore, Nodes: 2, Scope: "my_shop", Config: inCatalog("blue")})
	leader := c.healthy()
	standby := c.standby(leader)
	catalog := &consulCatalog{c, c.Store.Addresses()[0]}
	catalog.shows(leader, "blue", "primary", "master")
	catalog.shows(standby, "blue", "replica")
	catalog.passing(leader, standby)

	out := c.ctl("-d", "consul://"+catalog.address, "list", "my_shop")
	if !strings.Contains(out, leader.Name) || !strings.Contains(out, standby.Name) {
		t.Errorf("tanistctl list:\n%s", out)
	}
	c.ctl("switchover", "--leader", leader.Name, "--candidate", standby.Name, "--force")
	c.newLeader(leader)
	c.healthy()
	catalog.shows(standby, "blue", "primary", "master")
	catalog.shows(leader, "blue", "replica")
	catalog.passing(leader, standby)

	catalog.configure(leader, testcluster.BaseConfig)
	c.must(leader.Reload())
	catalog.shows(leader)
	catalog.configure(leader, inCatalog("green"))
	c.must(leader.Reload())
	catalog.shows(leader, "green", "replica")
	c.step(leader.KillAgent)
	catalog.configure(leader, testcluster.BaseConfig)
	c.must(leader.Start())
	c.step(func(ctx context.Context) error {
		return leader.WaitLog(ctx, "register_service is off: the entry is taken away")
	})
	catalog.shows(leader)
	c.healthy()

	catalog.shows(standby, "blue", "primary", "master")
	c.step(standby.Stop)
	catalog.shows(standby)
}

// inCatalog is BaseConfig with an entry in Consul's catalog, under this tag.
func inCatalog(tag string) func(*testcluster.Cluster, *testcluster.Node) (map[string]any, error) {
	return func(c *testcluster.Cluster, n *testcluster.Node) (map[string]any, error) {
		cfg, err := testcluster.BaseConfig(c, n)
		if err == nil {
			section := cfg["consul"].(map[string]any)
			section["register_service"], section["service_tags"], section["service_check_interval"] = true, []string{tag}, "1s"
		}
		return cfg, err
	}
}

// consulCatalog asks Consul as those do who look for the cluster there.
type consulCatalog struct {
	*cluster
	address string
}

// configure writes another configuration for n.
func (c *consulCatalog) configure(n *testcluster.Node, config func(*testcluster.Cluster, *testcluster.Node) (map[string]any, error)) {
	c.t.Helper()
	cfg, err := config(c.Cluster, n)
	c.must(err)
	c.must(n.WriteConfig(cfg))
}

type catalogEntry struct {
	ServiceID, ServiceAddress string
	ServicePort               int
	ServiceTags               []string
}

func (c *consulCatalog) ask(path string, out any) {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+path, nil)
	c.must(err)
	resp, err := http.DefaultClient.Do(req)
	c.must(err)
	defer resp.Body.Close()
	c.must(json.NewDecoder(resp.Body).Decode(out))
}

// shows waits until the catalog shows n with these tags; none: not at all.
func (c *consulCatalog) shows(n *testcluster.Node, tags ...string) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("%s is in the catalog as %v", n.Name, tags), func() (bool, string) {
		var entries []catalogEntry
		c.ask("/v1/catalog/service/my-shop?consistent", &entries)
		i := slices.IndexFunc(entries, func(e catalogEntry) bool { return e.ServiceID == "my_shop/"+n.Name })
		shown := fmt.Sprintf("%+v", entries)
		if i < 0 || len(tags) == 0 {
			return i < 0 && len(tags) == 0, shown
		}
		e := entries[i]
		return slices.Equal(e.ServiceTags, tags) && fmt.Sprintf("%s:%d", e.ServiceAddress, e.ServicePort) == n.PGAddress(), shown
	})
}

// passing waits until Consul's checks have found the nodes to be what they are shown as.
func (c *consulCatalog) passing(nodes ...*testcluster.Node) {
	c.t.Helper()
	eventually(c.t, "Consul's checks pass", func() (bool, string) {
		var checks []struct{ ServiceID, Status string }
		c.ask("/v1/health/checks/my-shop?consistent", &checks)
		n := 0
		for _, check := range checks {
			if check.Status == "passing" {
				n++
			}
		}
		return n == len(nodes), fmt.Sprintf("%+v", checks)
	})
}
