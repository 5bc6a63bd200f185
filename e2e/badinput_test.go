//go:build linux

package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// mistake is something that is wrong with one node that joins a healthy cluster.
type mistake struct {
	name string
	// make does it, after the node's folder was made and before its agent starts. It returns the configuration.
	make func(c *cluster, n *testcluster.Node, cfg map[string]any)
	says string // what the agent or explain must say, as a regular expression
	// runs: the agent is expected to go on running, and to show the state. Otherwise it may do that, or exit with an error.
	runs bool
	exit bool // it must exit with an error
}

var mistakes = []mistake{
	{name: "kubernetes", exit: true, says: `tanist\.yml:\d+: kubernetes: `,
		make: func(_ *cluster, _ *testcluster.Node, cfg map[string]any) {
			cfg["kubernetes"] = map[string]any{"namespace": "default"}
			delete(cfg, "etcd3")
		}},
	{name: "wrong type", exit: true, says: `tanist\.yml:\d+: restapi\.listen: must be`,
		make: func(_ *cluster, _ *testcluster.Node, cfg map[string]any) {
			testcluster.Set(cfg, "restapi.listen", []any{1, 2})
		}},
	{name: "no store", exit: true, says: `no store is named`,
		make: func(_ *cluster, _ *testcluster.Node, cfg map[string]any) { delete(cfg, "etcd3") }},
	{name: "missing programs", exit: true, says: `/nowhere`,
		make: func(_ *cluster, _ *testcluster.Node, cfg map[string]any) {
			testcluster.Set(cfg, "postgresql.bin_dir", "/nowhere")
		}},
	{name: "REST port in use", exit: true, says: `(?i)(address already in use|in use)`, make: occupyREST},
	{name: "directory is not PostgreSQL's", says: `not empty and holds no PostgreSQL cluster`,
		make: func(c *cluster, n *testcluster.Node, _ map[string]any) {
			c.initdb(n, "-N") // for the folder and its owner
			c.must(os.Remove(filepath.Join(n.DataDir, "PG_VERSION")))
		}},
	{name: "other major version", says: `PostgreSQL 12`,
		make: func(c *cluster, n *testcluster.Node, _ map[string]any) {
			c.initdb(n, "-N")
			c.must(os.WriteFile(filepath.Join(n.DataDir, "PG_VERSION"), []byte("12\n"), 0o600))
		}},
	{name: "other cluster", says: `(?i)(system (identifier|id)|another cluster|other cluster)`,
		make: func(c *cluster, n *testcluster.Node, _ map[string]any) { c.initdb(n, "-N") }},
	{name: "other owner", says: `belongs to user \d+|cannot be read`,
		make: func(c *cluster, n *testcluster.Node, _ map[string]any) {
			if os.Getuid() != 0 {
				c.t.Skip("giving a folder away needs root")
			}
			c.must(os.Mkdir(n.DataDir, 0o755))
			c.must(os.WriteFile(filepath.Join(n.DataDir, "PG_VERSION"), []byte("15\n"), 0o600))
		}},
	{name: "two agents on one data directory", says: `(?i)(lock|another agent|already)`, exit: true,
		make: func(c *cluster, _ *testcluster.Node, cfg map[string]any) {
			testcluster.Set(cfg, "postgresql.data_dir", c.Nodes[0].DataDir)
		}},
	{name: "store out of reach", runs: true, says: `(?i)(DCS is not accessible|connection refused)`,
		make: func(_ *cluster, _ *testcluster.Node, cfg map[string]any) {
			testcluster.Set(cfg, "etcd3.hosts", "127.0.0.1:1")
		}},
	{name: "wrong password for replication", says: `password authentication failed`,
		make: func(_ *cluster, _ *testcluster.Node, cfg map[string]any) {
			testcluster.Set(cfg, "postgresql.authentication.replication.password", "a wrong one")
		}},
}

// TestMistakes lets nodes with something wrong join a healthy cluster: each says what it is in one sentence, and the
// cluster does not mind.
func TestMistakes(t *testing.T) {
	c := startCluster(t, testcluster.Options{Nodes: 1, Config: withPasswords})
	leader := c.healthy()
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			told := *c
			told.t = t
			m.try(&told)
		})
	}
	if now := c.healthy(); now != leader {
		t.Errorf("%s leads, %s did", now.Name, leader.Name)
	}
}

// withPasswords is BaseConfig with a server that asks everyone for a password.
func withPasswords(c *testcluster.Cluster, n *testcluster.Node) (map[string]any, error) {
	cfg, err := testcluster.BaseConfig(c, n)
	if err != nil {
		return nil, err
	}
	testcluster.Set(cfg, "bootstrap.initdb", []any{map[string]any{"auth": "scram-sha-256"}, "data-checksums"})
	testcluster.Set(cfg, "bootstrap.pg_hba", []any{"host replication all 127.0.0.0/8 scram-sha-256", "host all all 127.0.0.0/8 scram-sha-256"})
	return cfg, nil
}

func (m mistake) try(c *cluster) {
	n, err := c.AddNode("odd-" + strings.ReplaceAll(m.name, " ", "-"))
	c.must(err)
	defer func() { c.Cluster.Nodes = c.Cluster.Nodes[:1] }()
	cfg, err := withPasswords(c.Cluster, n)
	c.must(err)
	m.make(c, n, cfg)
	c.must(n.WriteConfig(cfg))
	c.must(n.Start())
	defer c.step(n.KillHost)
	want := regexp.MustCompile(m.says)
	eventually(c.t, "it says "+m.says, func() (bool, string) {
		said := n.Log()
		if n.Running() {
			ctx, cancel := c.ctx()
			defer cancel()
			out, _, _ := c.Ctl(ctx, "explain", c.Scope, n.Name)
			said += out
		}
		return want.MatchString(said), said
	})
	m.checkExit(c, n)
	c.plain(n.Log())
}

func (m mistake) checkExit(c *cluster, n *testcluster.Node) {
	if m.exit {
		c.step(func(ctx context.Context) error {
			code, err := n.Exit(ctx)
			if code == 0 {
				c.t.Errorf("it exits with 0:\n%s", n.Log())
			}
			return err
		})
		return
	}
	if m.runs && !n.Running() {
		c.t.Errorf("the agent has ended:\n%s", n.Log())
	}
	if !n.Running() {
		return
	}
	c.must(n.Terminate())
	ctx, cancel := c.ctx()
	defer cancel()
	if _, err := n.Exit(ctx); err != nil {
		c.t.Errorf("%v\n%s", err, n.Log())
	}
}

// plain checks that what people read has no stack trace.
func (c *cluster) plain(log string) {
	c.t.Helper()
	for _, trace := range []string{"panic:", "goroutine ", "runtime error"} {
		if strings.Contains(log, trace) {
			c.t.Errorf("a stack trace:\n%s", log)
		}
	}
}

// initdb makes a cluster of its own in the node's data directory.
func (c *cluster) initdb(n *testcluster.Node, options ...string) {
	c.t.Helper()
	ctx, cancel := c.ctx()
	defer cancel()
	out, code, err := c.Run(ctx, append([]string{filepath.Join(c.PGBin, "initdb"), "-D", n.DataDir, "-U", "postgres", "-A", "trust"}, options...)...)
	if err != nil || code != 0 {
		c.t.Fatalf("initdb: exit %d, %v\n%s", code, err, out)
	}
}

func occupyREST(c *cluster, n *testcluster.Node, _ map[string]any) {
	l, err := net.Listen("tcp4", n.RESTAddress())
	c.must(err)
	c.t.Cleanup(func() { _ = l.Close() })
}

// TestNoConfiguration starts the agent with nothing to read.
func TestNoConfiguration(t *testing.T) {
	c := newCluster(t, testcluster.Options{Nodes: 1})
	secret := filepath.Join(c.Dir, "secret.yml")
	c.must(os.WriteFile(secret, []byte("scope: x\n"), 0o000))
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"missing file":    {[]string{"/nowhere/tanist.yml"}, `/nowhere/tanist\.yml`},
		"unreadable file": {[]string{secret}, `secret\.yml.*(permission|cannot be read)`},
		"not YAML":        {[]string{c.file("odd.yml", "scope: [1\n")}, `odd\.yml:\d+`},
		"no mapping":      {[]string{c.file("list.yml", "- a\n- b\n")}, `list\.yml`},
		"unknown flag":    {[]string{"--no-such-flag"}, `no-such-flag`},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := c.ctx()
			defer cancel()
			out, code, err := c.Run(ctx, append([]string{c.Programs.Tanist()}, tc.args...)...)
			if err != nil || code <= 0 {
				t.Errorf("exit %d, %v", code, err)
			}
			if !regexp.MustCompile(tc.says).MatchString(out) {
				t.Errorf("it does not say %q:\n%s", tc.says, out)
			}
			c.plain(out)
		})
	}
}

func (c *cluster) file(name, text string) string {
	c.t.Helper()
	path, err := c.WriteFile(name, text)
	c.must(err)
	return path
}

// TestRefusesRoot: PostgreSQL would refuse, only later.
func TestRefusesRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be refused")
	}
	c := newCluster(t, testcluster.Options{Nodes: 1})
	ctx, cancel := c.ctx()
	defer cancel()
	out, err := exec.CommandContext(ctx, c.Programs.Tanist(), c.Nodes[0].ConfigFile).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "root") {
		t.Errorf("as root: %v\n%s", err, out)
	}
	c.plain(string(out))
}
