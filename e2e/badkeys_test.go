//go:build linux

package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
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

// TestLeaderKeyOfNobody: an operator's manual put never expires, in no store (safety 2.8).
func TestLeaderKeyOfNobody(t *testing.T) {
	for kind, remedy := range map[testcluster.Kind]string{
		testcluster.EtcdStore: "etcdctl del /service/", testcluster.ConsulStore: "consul kv delete service/", testcluster.ZooKeeperStore: "zkCli.sh deleteall /service/",
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			leaderKeyOfNobody(t, kind, remedy)
		})
	}
}

func leaderKeyOfNobody(t *testing.T, kind testcluster.Kind, remedy string) {
	c := startCluster(t, testcluster.Options{Kind: kind, Nodes: 1, Dynamic: quick()})
	n := c.healthy()
	c.step(n.Stop)
	c.step(func(ctx context.Context) error { return c.Store.Put(ctx, c.Key("leader"), "ghost") })
	c.must(n.Start())
	eventually(t, "explain tells how to clear it", func() (bool, string) {
		ctx, cancel := c.ctx()
		defer cancel()
		out, _, _ := c.Ctl(ctx, "explain", c.Scope, n.Name)
		return strings.Contains(out, "ghost") && strings.Contains(out, "never expires") && strings.Contains(out, remedy), out
	})
	if table := c.ctl("list"); !strings.Contains(table, "ghost") {
		t.Errorf("list does not show it:\n%s", table)
	}
	c.step(func(ctx context.Context) error { return c.Store.Delete(ctx, c.Key("leader")) })
	c.healthy()
}

// TestWrongStoreCredentials: a store that asks for a password, and agents that have none, a wrong one, and the right one.
func TestWrongStoreCredentials(t *testing.T) {
	c := newCluster(t, testcluster.Options{Nodes: 1})
	c.step(func(ctx context.Context) error { return c.Etcd.EnableAuth(ctx, "the right one") })
	n := c.Nodes[0]
	for _, tc := range []struct{ name, password, says string }{
		{"none", "", `(?i)(user name is empty|user.*(empty|needed)|authentication|permission denied|username)`},
		{"wrong", "a wrong one", `(?i)(authentication failed|invalid user (ID|name) or password|user.*password)`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, err := testcluster.BaseConfig(c.Cluster, n)
			c.must(err)
			if tc.password != "" {
				testcluster.Set(cfg, "etcd3.username", "root")
				testcluster.Set(cfg, "etcd3.password", tc.password)
			}
			c.must(n.WriteConfig(cfg))
			c.must(n.Start())
			c.staysDown(t, n, tc.says)
		})
	}
	cfg, err := testcluster.BaseConfig(c.Cluster, n)
	c.must(err)
	testcluster.Set(cfg, "etcd3.username", "root")
	testcluster.Set(cfg, "etcd3.password", "the right one")
	c.must(n.WriteConfig(cfg))
	c.must(n.Start())
	c.healthy()
}

// TestWrongStoreCertificates: an etcd that asks for a certificate, and agents that believe another authority, show no certificate or one of another
// authority, or do not speak TLS; one that asks something else than etcd; and the right one.
func TestWrongStoreCertificates(t *testing.T) {
	c := newCluster(t, testcluster.Options{Nodes: 1, EtcdTLS: func(a *testcluster.Authority, address string) (*testcluster.TLSFiles, error) {
		return a.Issue("etcd", address)
	}})
	n := c.Nodes[0]
	own, err := c.Authority.Issue("agent")
	c.must(err)
	elsewhere := filepath.Join(c.Dir, "elsewhere")
	c.must(os.Mkdir(elsewhere, 0o755))
	stranger, err := testcluster.NewAuthority(elsewhere)
	c.must(err)
	strange, err := stranger.Issue("agent")
	c.must(err)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	start := func(section map[string]string) {
		cfg, err := testcluster.BaseConfig(c.Cluster, n)
		c.must(err)
		for key, value := range section {
			testcluster.Set(cfg, "etcd3."+key, value)
		}
		c.must(n.WriteConfig(cfg))
		c.must(n.Start())
	}
	for name, tc := range map[string]struct {
		section map[string]string
		says    string
	}{
		"another authority":   {map[string]string{"protocol": "https", "cacert": strange.CA, "cert": own.Cert, "key": own.Key}, `does not come from the authority in cacert`},
		"no certificate":      {map[string]string{"protocol": "https", "cacert": own.CA}, `did not accept the client certificate`},
		"strange certificate": {map[string]string{"protocol": "https", "cacert": own.CA, "cert": strange.Cert, "key": strange.Key}, `did not accept the client certificate`},
		"no TLS":              {nil, `may speak TLS`},
		"no etcd":             {map[string]string{"hosts": strings.TrimPrefix(web.URL, "http://")}, `something else than etcd listens there`},
	} {
		t.Run(name, func(t *testing.T) {
			start(tc.section)
			c.staysDown(t, n, tc.says)
		})
	}
	start(map[string]string{"protocol": "https", "cacert": own.CA, "cert": own.Cert, "key": own.Key})
	c.healthy()
}

// staysDown waits until the node says that it does not reach its store, sees that it has started no server and told no secret, and ends it.
func (c *cluster) staysDown(t *testing.T, n *testcluster.Node, says string) {
	t.Helper()
	want := regexp.MustCompile(says)
	eventually(t, "it says so", func() (bool, string) { return want.MatchString(n.Log()), n.Log() })
	if _, up := n.Postmaster(); up {
		t.Error("a server was started without the store")
	}
	c.plain(n.Log())
	c.step(n.KillHost)
	c.must(os.Remove(n.LogFile))
}
