//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestWitness: two PostgreSQL machines and a witness survive the loss of either machine; the witness can be lost, too, also with its disk.
func TestWitness(t *testing.T) {
	t.Parallel()
	w := &witness{t: t, address: servertest.FreeAddress(t), peer: servertest.FreeAddress(t)}
	dynamic := quick()
	dynamic["ttl"] = storeTTL.Seconds()
	c := newCluster(t, testcluster.Options{Kind: testcluster.EmbedEtcdStore, Nodes: 2, Dynamic: dynamic, Config: w.config})
	w.c = c
	w.start()
	c.must(c.StartAll())
	leader := c.healthy()

	pid, _ := leader.Postmaster()
	w.lead() // so that its loss is the loss of etcd's leader, too
	w.kill() // and its disk is lost
	c.must(os.RemoveAll(w.dataDir()))
	w.start()
	eventually(t, "the witness has a vote again", w.votes)
	if now, up := leader.Postmaster(); !up || now != pid {
		t.Fatalf("the primary was restarted when the witness was replaced: %d, %v", now, up)
	}

	c.step(leader.KillHost)
	next := c.newLeader(leader)
	c.query(next, "create table written_with_one_machine()")
	c.must(leader.Start())
	if now := c.healthy(); now != next {
		t.Fatalf("%s leads, not %s", now.Name, next.Name)
	}
	c.replicated(next, "after_the_loss")
}

// witness is a third machine without PostgreSQL.
type witness struct {
	t             *testing.T
	c             *cluster
	address, peer string
	pid           string
	exited        <-chan struct{}
}

// config is a node's configuration, with the witness among the members.
func (w *witness) config(c *testcluster.Cluster, n *testcluster.Node) (map[string]any, error) {
	cfg, err := testcluster.BaseConfig(c, n)
	if err != nil {
		return nil, err
	}
	etcd := cfg["embedetcd"].(map[string]any)
	etcd["initial_cluster"].(map[string]any)["witness"] = w.peer
	etcd["hosts"] = append([]string{w.address}, etcd["hosts"].([]string)...)
	return cfg, nil
}

func (w *witness) dataDir() string { return filepath.Join(w.c.Dir, "witness-etcd") }

// start starts it with the members that the first node has.
func (w *witness) start() {
	w.t.Helper()
	cfg, err := w.config(w.c.Cluster, w.c.Nodes[0])
	w.c.must(err)
	var members []string
	for name, peer := range cfg["embedetcd"].(map[string]any)["initial_cluster"].(map[string]any) {
		members = append(members, fmt.Sprintf("%s: %s", name, peer))
	}
	file, err := w.c.WriteFile("witness.yml", fmt.Sprintf("scope: %s\nname: witness\nembedetcd:\n  data_dir: %s\n  client_listen: %s\n  peer_listen: %s\n  hosts: [%s]\n  initial_cluster: {%s}\n",
		w.c.Scope, w.dataDir(), w.address, w.peer, strings.Join(cfg["embedetcd"].(map[string]any)["hosts"].([]string), ", "), strings.Join(members, ", ")))
	w.c.must(err)
	w.pid = filepath.Join(w.c.Dir, "witness.pid")
	_, w.exited, err = w.c.Spawn("witness", "sh", "-c", "echo $$ > "+w.pid+"; exec "+w.c.Programs.Tanist()+" witness "+file)
	w.c.must(err)
	eventually(w.t, "the witness runs", func() (bool, string) {
		raw, err := os.ReadFile(w.pid)
		return len(raw) > 0, fmt.Sprint(err)
	})
}

// lead makes it the leader of etcd.
func (w *witness) lead() {
	w.t.Helper()
	store := w.c.Store.(*testcluster.EmbedEtcd)
	eventually(w.t, "the witness leads etcd", func() (bool, string) {
		ctx, cancel := w.c.ctx()
		defer cancel()
		err := store.MoveLeader(ctx, w.address)
		return err == nil, fmt.Sprint(err)
	})
}

// votes says whether all three members take part and have a vote.
func (w *witness) votes() (bool, string) {
	ctx, cancel := w.c.ctx()
	defer cancel()
	out, code, err := w.c.Ctl(ctx, "etcd", "members") // which has no answer while etcd has no leader
	if err != nil || code != 0 {
		return false, fmt.Sprintf("%s (exit %d, %v)", out, code, err)
	}
	return strings.Count(out, "healthy") == 3 && strings.Contains(out, "witness") && !strings.Contains(out, "learner"), out
}

// kill ends it with SIGKILL.
func (w *witness) kill() {
	w.t.Helper()
	raw, err := os.ReadFile(w.pid)
	w.c.must(err)
	w.c.step(func(ctx context.Context) error {
		return exec.CommandContext(ctx, "kill", "-KILL", strings.TrimSpace(string(raw))).Run()
	})
	<-w.exited
	w.c.must(os.Remove(w.pid))
}
