//go:build linux

package e2e

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestDiskFullAtPromote fills the disk of the only standby and then loses the leader: it cannot be promoted, says why, loses nothing, and leads
// as soon as there is room.
func TestDiskFullAtPromote(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	c := startCluster(t, testcluster.Options{Nodes: 1, Dynamic: quick()})
	old := c.healthy()
	c.query(old, "create table kept as select generate_series(1, 1000) as i")
	n, err := c.AddNode("n2")
	c.must(err)
	dir, err := n.MountSmall("disk", 200)
	c.must(err)
	n.DataDir = filepath.Join(dir, "data")
	cfg, err := testcluster.BaseConfig(c.Cluster, n)
	c.must(err)
	c.must(n.WriteConfig(cfg))
	c.must(n.Start())
	c.replicated(old, "before")

	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	c.step(old.KillHost)
	eventually(t, "it says that the disk is full", func() (bool, string) {
		ctx, cancel := c.ctx()
		defer cancel()
		out, _, _ := c.Ctl(ctx, "explain", c.Scope, n.Name)
		said := out + n.Log()
		full := strings.Contains(said, "No space left on device") || strings.Contains(said, "no space left on device") ||
			strings.Contains(said, "could not write init file") // a server that runs says no more to one that connects
		return full, said
	})
	if !n.Running() {
		t.Fatalf("the agent has ended:\n%s", n.Log())
	}
	c.must(os.Remove(filler))
	if leader := c.newLeader(old); leader != n {
		t.Fatalf("%s leads", leader.Name)
	}
	if got := c.query(n, "select count(*) from kept"); got != "1000" {
		t.Errorf("%s of 1000 rows are left", got)
	}
	c.plain(n.Log())
}

// fill writes a file until its file system is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zeros, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zeros.Close()
	if n, err := io.Copy(f, zeros); err == nil {
		t.Fatalf("the disk took %d bytes and is not full", n)
	}
}
