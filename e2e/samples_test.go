//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// sample is a user's file, and how it is made to fit a cluster on one machine. Nothing but the lines in replace changes.
type sample struct {
	file     string
	names    []string // of the three members
	password string   // of the superuser, as the file has it
	tls      bool
	ignored  string // a setting that is set and not honoured yet, as the notice names it
	replace  func(c *testcluster.Cluster, n *testcluster.Node, i int) ([]replacement, error)
}

// replacement is one text in the file, which must be there, and what stands there in the test.
type replacement struct{ what, old, new string }

var samples = []sample{
	{file: "app-cluster-node1.yml", names: []string{"node1", "node2", "node3"}, password: "super_secret",
		ignored: "synchronous_mode", replace: appCluster},
	{file: "on-premises-node1.yml", names: []string{"node1", "node2", "node3"}, password: "postgres_secret", replace: onPremises},
	{file: "three-regions-seoul.yml", names: []string{"pg-seoul-1", "pg-tokyo-1", "pg-singapore-1"}, password: "SecureSuperPass123!",
		tls: true, ignored: "synchronous_mode", replace: threeRegions},
}

// TestSamples starts three nodes from each file that a user has today.
func TestSamples(t *testing.T) {
	for _, s := range samples {
		t.Run(strings.TrimSuffix(s.file, ".yml"), func(t *testing.T) {
			c := s.start(t)
			leader := c.healthy()
			c.replicated(leader, "from_a_sample")
			table := c.ctl("list")
			for _, name := range s.names {
				if !strings.Contains(table, name) {
					t.Errorf("tanistctl list does not show %s:\n%s", name, table)
				}
			}
			if s.ignored != "" && !strings.Contains(table, s.ignored+" is set and NOT honoured") {
				t.Errorf("tanistctl list does not say that %s is not honoured:\n%s", s.ignored, table)
			}
			c.step(func(ctx context.Context) error { return c.Switchover(ctx, leader, c.standby(leader)) })
			c.replicated(c.healthy(), "after_a_switchover")
			if s.tls {
				s.behindHAProxy(c)
			}
		})
	}
}

// start makes the cluster, tells what was replaced, and starts the agents.
func (s sample) start(t *testing.T) *cluster {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "config", "testdata", s.file))
	if err != nil {
		t.Fatal(err)
	}
	binDir := pgtest.BinDir(t)
	var told []string
	o := testcluster.Options{PGBin: binDir, Servers: 3, Password: s.password,
		Env: []string{"PATH=" + binDir + ":" + os.Getenv("PATH")}}
	if s.tls {
		o.EtcdTLS = func(a *testcluster.Authority, address string) (*testcluster.TLSFiles, error) {
			return a.Issue("etcd-seoul", address)
		}
	}
	o.ConfigText = func(c *testcluster.Cluster, n *testcluster.Node) (string, error) {
		i := len(c.Nodes) - 1
		n.Name = s.names[i]
		if s.tls {
			n.Scheme = "https"
		}
		list, err := s.replace(c, n, i)
		if err != nil {
			return "", err
		}
		text := string(raw)
		for _, r := range append([]replacement{{"name", "name: " + s.names[0] + "\n", "name: " + n.Name + "\n"}}, list...) {
			if !strings.Contains(text, r.old) {
				return "", fmt.Errorf("%s does not contain %q", s.file, r.old)
			}
			text = strings.ReplaceAll(text, r.old, r.new)
			if i == 0 {
				told = append(told, fmt.Sprintf("%s: %q -> %q", r.what, r.old, r.new))
			}
		}
		return text, nil
	}
	c := newCluster(t, o)
	t.Logf("replaced in %s:\n%s", s.file, strings.Join(told, "\n"))
	c.must(c.StartAll())
	return c
}

func appCluster(c *testcluster.Cluster, n *testcluster.Node, _ int) ([]replacement, error) {
	return []replacement{
		{"address", "listen: 0.0.0.0:8008", "listen: " + n.RESTAddress()},
		{"address", "connect_address: 10.0.0.1:8008", "connect_address: " + n.RESTAddress()},
		{"address", "10.0.10.1:2379,10.0.10.2:2379,10.0.10.3:2379", strings.Join(c.StoreHosts(n), ",")},
		{"address", "replicator 10.0.0.0/8", "replicator 127.0.0.0/8"},
		{"address", "listen: 0.0.0.0:5432", "listen: " + n.PGAddress()},
		{"address", "connect_address: 10.0.0.1:5432", "connect_address: " + n.PGAddress()},
		{"memory", "shared_buffers: 8GB", "shared_buffers: 32MB"},
		{"path", "/var/lib/pgsql/17/data", n.DataDir},
		{"path", "/usr/pgsql-17/bin", c.PGBin},
	}, nil
}

func onPremises(c *testcluster.Cluster, n *testcluster.Node, _ int) ([]replacement, error) {
	return []replacement{
		{"address", "192.168.34.124:8008", n.RESTAddress()},
		{"address", "192.168.34.137:2379,192.168.34.138:2379,192.168.34.139:2379", strings.Join(c.StoreHosts(n), ",")},
		{"address", "192.168.34.124:5432", n.PGAddress()},
		{"memory", "shared_buffers: 512MB", "shared_buffers: 32MB"},
		{"path", "/data/patroni", n.DataDir},
		{"path", "/tmp/pgpass", filepath.Join(n.Dir, "pgpass")},
	}, nil
}

func threeRegions(c *testcluster.Cluster, n *testcluster.Node, i int) ([]replacement, error) {
	rest, err := c.Authority.Issue("rest-"+n.Name, n.Host)
	if err != nil {
		return nil, err
	}
	etcd, err := c.Authority.Issue("etcd-client-" + n.Name)
	if err != nil {
		return nil, err
	}
	conf, err := n.MakeDir("conf", 0o700)
	if err != nil {
		return nil, err
	}
	hosts := c.StoreHosts(n)
	return []replacement{
		{"address", "listen: 0.0.0.0:8008", "listen: " + n.RESTAddress()},
		{"address", "connect_address: 10.1.0.10:8008", "connect_address: " + n.RESTAddress()},
		{"path", "/etc/patroni/ssl/patroni.pem", rest.Cert},
		{"path", "/etc/patroni/ssl/patroni-key.pem", rest.Key},
		{"path", "/etc/patroni/ssl/ca.pem", rest.CA},
		{"address", "10.1.0.10:2379", hosts[0]},
		{"address", "10.2.0.10:2379", hosts[1]},
		{"address", "10.3.0.10:2379", hosts[2]},
		{"path", "/etc/etcd/ssl/ca.pem", etcd.CA},
		{"path", "/etc/etcd/ssl/etcd-seoul.pem", etcd.Cert},
		{"path", "/etc/etcd/ssl/etcd-seoul-key.pem", etcd.Key},
		{"archive_command", "'pgbackrest --stanza=main archive-push %p'", "'true'"},
		{"address", "10.0.0.0/8", "127.0.0.0/8"},
		{"address", "listen: 0.0.0.0:5432", "listen: " + n.PGAddress()},
		{"address", "connect_address: 10.1.0.10:5432", "connect_address: " + n.PGAddress()},
		{"path", "/var/lib/postgresql/17/main", n.DataDir},
		{"path", "/usr/lib/postgresql/17/bin", c.PGBin},
		{"path", "/etc/postgresql/17/main", conf},
		{"path", "'/var/run/postgresql'", "'" + n.SocketDir + "'"},
		{"tag", "dc: seoul", "dc: " + []string{"seoul", "tokyo", "singapore"}[i]},
	}, nil
}

// behindHAProxy follows the leader with the listeners of the user's haproxy.cfg that check over TLS.
func (s sample) behindHAProxy(c *cluster) {
	c.t.Helper()
	h := c.haproxy(func(listener string) bool { return strings.HasPrefix(listener, "pg_") || listener == "stats" })
	old := c.healthy()
	c.leadsTo(h, "pg_primary", old)
	c.step(func(ctx context.Context) error { return c.Switchover(ctx, old, c.standby(old)) })
	leader := c.healthy()
	c.leadsTo(h, "pg_primary", leader)
	c.avoids(h, "pg_replicas", leader)
}
