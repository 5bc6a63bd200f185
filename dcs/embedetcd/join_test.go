package embedetcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/lease/leasehttp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/embedetcd/members"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// settled asks the cluster of s who belongs to it, until want holds.
func settled(t testing.TB, s *embedetcd.Server, want func([]members.Member) bool) []members.Member {
	t.Helper()
	c, err := members.Open(s.Endpoints(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := within(t, limit)
	var last []members.Member
	for again := time.NewTicker(50 * time.Millisecond); ; {
		if got, err := c.List(ctx); err == nil {
			members.Look(ctx, got, nil)
			if last = got; want(got) {
				again.Stop()
				return got
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("the members stay at %+v", last)
		}
	}
}

func healthy(n int) func([]members.Member) bool {
	return func(ms []members.Member) bool {
		for _, m := range ms {
			if m.Learner || !m.Healthy {
				return false
			}
		}
		return len(ms) == n
	}
}

// waiting begins to start a member, and returns when its log says why it waits. giveUp ends the start and returns its error.
func waiting(t testing.TB, cfg embedetcd.Config, why string) (giveUp func() error) {
	t.Helper()
	log := &servertest.Log{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(within(t, limit))
	ended := make(chan error, 1)
	go func() {
		_, err := embedetcd.Start(ctx, cfg)
		ended <- err
	}()
	log.Wait(within(t, limit), t, why)
	return func() error {
		cancel()
		return <-ended
	}
}

func stop(t testing.TB, s *embedetcd.Server) {
	t.Helper()
	if err := s.Stop(within(t, limit)); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, b dcs.Backend, key string) string {
	t.Helper()
	snap, err := b.Read(within(t, limit), key)
	if err != nil || len(snap.Entries) != 1 {
		t.Fatalf("read %s: %+v, %v", key, snap, err)
	}
	return string(snap.Entries[0].Value)
}

// TestFoundingWaitsForAll: two of three empty members found nothing, whoever is away; all three do.
func TestFoundingWaitsForAll(t *testing.T) {
	servertest.Slow(t)
	configs, err := embedetcd.Local(3, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := &servertest.Log{}
	configs[0].Logger = slog.New(slog.NewTextHandler(log, nil))
	ctx, cancel := context.WithCancel(within(t, limit))
	type result struct {
		s   *embedetcd.Server
		err error
	}
	started := make(chan result, 3)
	run := func(ctx context.Context, cfg embedetcd.Config) {
		s, err := embedetcd.Start(ctx, cfg)
		started <- result{s, err}
	}
	go run(ctx, configs[0])
	go run(ctx, configs[1])
	log.Wait(within(t, limit), t, "m2 does not answer")
	cancel()
	for range 2 {
		if r := <-started; !errors.Is(r.err, context.Canceled) {
			t.Fatalf("two of three: %v", r.err)
		}
	}
	for _, cfg := range configs {
		if wal, err := filepath.Glob(filepath.Join(cfg.DataDir, "member", "*")); err != nil || len(wal) > 0 {
			t.Fatalf("two of three have begun: %v, %v", wal, err)
		}
	}
	settled(t, startAll(t, configs)[0], healthy(3))
}

// TestDisagreement: members that were told different things found nothing and say what differs.
func TestDisagreement(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*embedetcd.Config)
		say    string
	}{
		"token":   {func(c *embedetcd.Config) { c.Token = "other" }, "cluster token"},
		"members": {func(c *embedetcd.Config) { c.InitialCluster = c.InitialCluster[:2] }, "has the initial cluster"},
		"joins":   {func(c *embedetcd.Config) { c.Existing = true }, "waits to join a cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			configs, err := embedetcd.Local(3, t.TempDir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			log := &servertest.Log{}
			configs[0].Logger = slog.New(slog.NewTextHandler(log, nil))
			tc.change(&configs[1])
			ctx, cancel := context.WithCancel(within(t, limit))
			ended := make(chan error, 2)
			for _, cfg := range configs[:2] {
				go func() {
					_, err := embedetcd.Start(ctx, cfg)
					ended <- err
				}()
			}
			log.Wait(within(t, limit), t, tc.say)
			cancel()
			for range 2 {
				if err := <-ended; err == nil {
					t.Error("it started")
				}
			}
		})
	}
}

// TestLostDisk: a member whose data directory is gone comes back by being started, under a new identity, with a vote in the end; the
// data is there. Without a majority it waits instead of voting with an empty memory.
func TestLostDisk(t *testing.T) {
	servertest.Slow(t)
	configs, servers := found(t, 3)
	b := open(t, etcd3.Config{Endpoints: append(servers[0].Endpoints(), servers[1].Endpoints()...)})
	put(t, b, "/k", "v")
	before := settled(t, servers[0], healthy(3))
	stop(t, servers[2])
	if err := os.RemoveAll(configs[2].DataDir); err != nil {
		t.Fatal(err)
	}

	// The members 0 and 1 hold the write. With 1 away, an empty 2 under its old identity would make a majority with 0.
	stop(t, servers[1])
	if err := waiting(t, configs[2], "it takes a majority")(); !errors.Is(err, context.Canceled) {
		t.Fatalf("an empty member without a majority: %v", err)
	}

	startAll(t, configs[1:2])
	third := startAll(t, configs[2:])
	after := settled(t, third[0], healthy(3))
	if before[2].ID == after[2].ID || before[0].ID != after[0].ID || before[1].ID != after[1].ID {
		t.Fatalf("identities before %+v, after %+v", before, after)
	}
	if got := get(t, open(t, etcd3.Config{Endpoints: third[0].Endpoints()}), "/k"); got != "v" {
		t.Fatalf("the new member has %q", got)
	}
}

// TestGrow: one member becomes three, and then five, by starting the new ones with a list that holds the old ones.
func TestGrow(t *testing.T) {
	servertest.Slow(t)
	configs, err := embedetcd.Local(5, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := configs[0].InitialCluster
	first := configs[0]
	first.InitialCluster = all[:1]
	running := startAll(t, []embedetcd.Config{first})
	put(t, open(t, etcd3.Config{Endpoints: running[0].Endpoints()}), "/k", "v")
	for n := 3; n <= 5; n += 2 {
		var joining []embedetcd.Config
		for _, cfg := range configs[n-2 : n] {
			cfg.InitialCluster, cfg.Existing = all[:n], n == 5
			joining = append(joining, cfg)
		}
		running = append(running, startAll(t, joining)...) // etcd takes one learner at a time: they take turns
		settled(t, running[0], healthy(n))
	}
	stop(t, running[0])
	stop(t, running[1])
	if got := get(t, open(t, etcd3.Config{Endpoints: running[4].Endpoints()}), "/k"); got != "v" {
		t.Fatalf("with three of five there is %q", got)
	}
}

// TestRemoved: a member that was removed while it was away ends and says what to do; with an empty data directory it joins anew.
func TestRemoved(t *testing.T) {
	servertest.Slow(t)
	configs, servers := found(t, 3)
	stop(t, servers[2])
	c, err := members.Open(servers[0].Endpoints(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := within(t, limit)
	list, err := c.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	removing := func() error { return c.Remove(ctx, list[2].ID) }
	for err = removing(); err != nil && strings.Contains(err.Error(), "unhealthy cluster"); err = removing() {
	} // etcd wants its members to have been connected for five seconds
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(ctx, list[2].ID); err != nil {
		t.Fatalf("removing twice: %v", err)
	}
	s, err := embedetcd.Start(ctx, configs[2])
	if err == nil {
		<-s.Done()
		err = s.Err()
		stop(t, s)
	}
	if !strings.Contains(fmt.Sprint(err), "empty its data directory") {
		t.Fatalf("a removed member: %v", err)
	}
	if err := os.RemoveAll(configs[2].DataDir); err != nil {
		t.Fatal(err)
	}
	settled(t, startAll(t, configs[2:])[0], healthy(3))
}

// TestOtherAddress: a name that the cluster has elsewhere is not taken over, and an address that leads elsewhere is noticed.
func TestOtherAddress(t *testing.T) {
	servertest.Slow(t)
	configs, servers := found(t, 3)
	moved, err := embedetcd.Local(1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(cfg embedetcd.Config, want string) {
		t.Helper()
		if err := waiting(t, cfg, want)(); err == nil {
			t.Error("it started")
		}
	}
	name := moved[0] // on another address, under the name of a member that lives
	name.Name, name.InitialCluster = "m2", append([]embedetcd.Peer{{Name: "m2", URL: name.PeerURLs[0]}}, configs[0].InitialCluster[:2]...)
	refused(name, "tanistctl etcd remove m2")

	address := moved[0] // listens elsewhere, and says that it is at the address of a member that lives
	address.Name, address.AdvertisePeerURLs = "new", configs[2].PeerURLs
	address.InitialCluster = append([]embedetcd.Peer{{Name: "new", URL: configs[2].PeerURLs[0]}}, configs[0].InitialCluster[:2]...)
	refused(address, "another process answers")
	settled(t, servers[0], healthy(3))
}

// TestDataDirectory: one process at a time, and nobody else's.
func TestDataDirectory(t *testing.T) {
	configs, _ := found(t, 1)
	again := configs[0]
	if _, err := embedetcd.Start(within(t, limit), again); err == nil || !strings.Contains(err.Error(), "another process runs an etcd member") {
		t.Errorf("a second member on the directory: %v", err)
	}
	again.DataDir = filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(again.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(again.DataDir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := embedetcd.Start(within(t, limit), again); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory that all may write: %v", err)
	}
}

// TestLookKnowsWhoAnswers: an identity that is lost is not healthy because another one answers at its address.
func TestLookKnowsWhoAnswers(t *testing.T) {
	m := settled(t, start(t, 1)[0], healthy(1))[0]
	lost := []members.Member{{ID: m.ID + 1, Name: m.Name, ClientURLs: m.ClientURLs}}
	members.Look(within(t, limit), lost, nil)
	if m := lost[0]; m.Healthy || m.Leader || m.SizeBytes != 0 || !strings.Contains(m.Problem, "another member answers") {
		t.Fatalf("%+v", m)
	}
}

// TestWaitingMemberEndsNoSession: an empty member that waits at the address of the cluster's dead leader knows nothing of its sessions. To those
// who still ask there, as followers do until they elect, it must not say "not found": that would end the session of a healthy primary.
func TestWaitingMemberEndsNoSession(t *testing.T) {
	configs, err := embedetcd.Local(3, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, limit)
	giveUp := waiting(t, configs[0], "does not answer")
	at := configs[0].PeerURLs[0]
	if _, err := leasehttp.RenewHTTP(ctx, 1, at+leasehttp.LeasePrefix, http.DefaultTransport); err == nil || errors.Is(err, lease.ErrLeaseNotFound) {
		t.Errorf("a renewal asked of it: %v", err)
	}
	if _, err := leasehttp.TimeToLiveHTTP(ctx, 1, false, at+leasehttp.LeaseInternalPrefix, http.DefaultTransport); err == nil || errors.Is(err, lease.ErrLeaseNotFound) {
		t.Errorf("the rest of a session asked of it: %v", err)
	}
	if err := giveUp(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
