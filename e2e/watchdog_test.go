//go:build linux

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// device is the named pipe that stands in for a node's watchdog, and what its agent has told it.
type device struct {
	path string
	file *os.File
	done sync.WaitGroup

	mu   sync.Mutex
	told string
}

// newDevice makes the pipe and reads it until the test ends.
func newDevice(t *testing.T, path string) *device {
	t.Helper()
	if err := unix.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // whatever the umask says
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0) // needs no writer to be opened, and Close ends a read
	if err != nil {
		t.Fatal(err)
	}
	d := &device{path: path, file: f}
	d.done.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			d.mu.Lock()
			d.told += string(buf[:n])
			d.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { f.Close(); d.done.Wait() })
	return d
}

func (d *device) heard() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.told
}

// says waits until all that the device was told, from the given place on, matches.
func (d *device) says(c *cluster, what string, from int, pattern string) {
	c.t.Helper()
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	eventually(c.t, what, func() (bool, string) {
		told := d.heard()[from:]
		return re.MatchString(told), told
	})
}

// TestWatchdog runs agents whose watchdog is required and is a named pipe: what they tell it is all that a real device would be told.
func TestWatchdog(t *testing.T) {
	devices := map[*testcluster.Node]*device{}
	c := newCluster(t, testcluster.Options{Nodes: 2,
		Dynamic: map[string]any{"ttl": 10, "loop_wait": 2, "retry_timeout": 3, "tanist": map[string]any{"minimum_ttl": 5}},
		Config: func(c *testcluster.Cluster, n *testcluster.Node) (map[string]any, error) {
			cfg, err := testcluster.BaseConfig(c, n)
			cfg["watchdog"] = map[string]any{"mode": "required", "driver": "testing", "safety_margin": 4, "device": filepath.Join(n.Dir, "watchdog")}
			return cfg, err
		}})
	for _, n := range c.Nodes {
		devices[n] = newDevice(t, filepath.Join(n.Dir, "watchdog"))
	}
	c.must(c.StartAll())
	first := c.healthy()
	second := c.standby(first)
	one, two := devices[first], devices[second]

	one.says(c, "the leader's watchdog counts ttl less margin, and is kept alive", 0, `Ctimeout=6\n1{3,}`)
	if told := two.heard(); told != "" {
		t.Errorf("the standby's watchdog was told %q", told)
	}
	if out := c.ctl("explain", c.Scope, first.Name); !strings.Contains(out, "(testing), armed: the machine is reset 6s after it was last kept alive") {
		t.Errorf("explain does not show the watchdog:\n%s", out)
	}

	eventually(t, "list shows it", func() (bool, string) {
		out := c.ctl("list")
		return strings.Contains(out, "Watchdog: armed on "+first.Name), out
	})

	c.step(func(ctx context.Context) error { return c.PatchConfig(ctx, map[string]any{"ttl": 12}) })
	one.says(c, "another ttl changes what it counts", 0, `Ctimeout=6\n1+Ctimeout=8\n1{2,}`)

	c.step(func(ctx context.Context) error { return c.Switchover(ctx, first, second) })
	one.says(c, "it is stopped when nothing can write any more", 0, `Ctimeout=6\n1+Ctimeout=8\n1+V`)
	two.says(c, "the new leader's is armed", 0, `Ctimeout=8\n1{2,}`)

	// A node that cannot arm it does not lead, and says so.
	c.must(os.Remove(one.path))
	eventually(t, first.Name+" says that its watchdog fails", func() (bool, string) {
		_, reply, err := first.REST(t.Context(), "GET", "/patroni", nil)
		return err == nil && strings.Contains(reply, `"watchdog_failed":true`), reply
	})
	if code, reply, err := second.REST(t.Context(), "POST", "/failover", map[string]any{"candidate": first.Name}); err != nil || code != 412 {
		t.Errorf("a failover to a node without its watchdog: %d %s %v", code, reply, err)
	}
	c.must(unix.Mkfifo(one.path, 0o666))
	c.must(os.Chmod(one.path, 0o666))
	again, err := os.OpenFile(one.path, os.O_RDWR|unix.O_NONBLOCK, 0)
	c.must(err)
	defer again.Close()

	// Nobody keeps it alive for an agent that is frozen. The guard ends the server, and the other node leads.
	c.must(second.FreezeAgent())
	frozen := len(two.heard())
	if leader := c.newLeader(second); leader != first {
		t.Errorf("%s leads", leader.Name)
	}
	if told := two.heard()[frozen:]; told != "" {
		t.Errorf("a frozen agent tells its watchdog %q", told)
	}
	c.must(second.ThawAgent())
	two.says(c, "it is stopped once it is seen that nothing can write", frozen, `V`)
	c.healthy()

	buf := make([]byte, 4096)
	c.step(first.Stop)
	n, err := again.Read(buf)
	if told := string(buf[:n]); err != nil || !regexp.MustCompile(`^Ctimeout=8\n1+V$`).MatchString(told) {
		t.Errorf("an agent that ends in order has told its watchdog %q, %v", told, err)
	}
}
