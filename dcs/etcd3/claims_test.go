package etcd3_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestWatchTellsRevocation: a session that an operator ends shows in the leader's watch at once, as the deletion of the key (safety 1.7).
func TestWatchTellsRevocation(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	other := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 1000*time.Second)
	put(t, b, "/c/leader", "a", x)
	lease := get(t, b, "/c/leader").Session
	for name, watch := range map[string]func(context.Context) (<-chan dcs.Hint, error){
		"all":   func(ctx context.Context) (<-chan dcs.Hint, error) { return b.Watch(ctx, "/c/") },
		"quiet": func(ctx context.Context) (<-chan dcs.Hint, error) { return b.WatchQuietly(ctx, "/c/", "/c/members/") },
	} {
		hints, err := watch(within(t, limit))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if h := <-hints; h.Key != "/c/leader" || h.Put {
				t.Errorf("%s: hint %+v, want the deletion of the leader key", name, h)
			}
		}()
	}
	revoke(t, other, lease)
}

func revoke(t *testing.T, other *clientv3.Client, session string) {
	t.Helper()
	r, err := other.Leases(within(t, limit))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Leases) != 1 {
		t.Fatalf("%d leases, looking for %s", len(r.Leases), session)
	}
	if _, err := other.Revoke(within(t, limit), r.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
}

// TestQuietWatch: writes below the quiet folder are not told, deletions there and everything beside it are, with their values.
func TestQuietWatch(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	hints, err := b.WatchQuietly(within(t, limit), "/c/", "/c/members/")
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "/c/members/a", "1", nil)
	put(t, b, "/c/leader", "a", nil)
	put(t, b, "/c/members/a", "2", nil)
	put(t, b, "/c/status", "s", nil)
	put(t, b, "/d/leader", "a", nil)
	if _, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/c/members/a", Delete: true}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		key, value string
		put        bool
	}{{"/c/leader", "a", true}, {"/c/status", "s", true}, {"/c/members/a", "", false}} {
		if h := <-hints; h.Key != want.key || h.Put != want.put || string(h.Value) != want.value {
			t.Errorf("hint %+v, want %+v", h, want)
		}
	}
}

// TestCount: a confirmation and a transaction count the keys below a prefix as they are after their own writes, in the same request.
func TestCount(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 30*time.Second)
	put(t, b, "/c/leader", "a", x)
	put(t, b, "/c/members/a", "", x)
	mine := []dcs.Cond{{Key: "/c/leader", Session: x.ID()}}
	second := []dcs.Write{{Key: "/c/members/b", Session: x}, {Key: "/c/status"}}
	confirm := func(tx dcs.Txn) (dcs.Applied, error) { return x.Confirm(within(t, limit), tx) }
	apply := func(tx dcs.Txn) (dcs.Applied, error) { return b.Apply(within(t, limit), tx) }
	for _, step := range []struct {
		request func(dcs.Txn) (dcs.Applied, error)
		tx      dcs.Txn
		want    int
	}{
		{confirm, dcs.Txn{If: mine, Count: "/c/members/"}, 1},
		{confirm, dcs.Txn{If: mine, Do: second, Count: "/c/members/"}, 2},
		{apply, dcs.Txn{If: mine, Count: "/c/"}, 4},
		{apply, dcs.Txn{Do: []dcs.Write{{Key: "/c/members/a", Delete: true}}, Count: "/c/members/"}, 1},
		{apply, dcs.Txn{If: mine}, 0},
	} {
		if a, err := step.request(step.tx); err != nil || a.Count != step.want {
			t.Errorf("%+v: counted %d, %v; want %d", step.tx, a.Count, err, step.want)
		}
	}
}

// TestLeaderKeyWithoutLease: a leader key that was put by hand, or restored without its lease, never expires (safety 2.8). It is read as one
// without a session, and nobody takes it for his own, or for a vacancy, whatever name it bears.
func TestLeaderKeyWithoutLease(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	other := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	c := dcs.NewClient(open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)}), dcs.Options{Scope: "c", Name: "a"})
	ctx := within(t, limit)
	if _, err := c.KeepAlive(ctx, dcs.KeepAlive{TTL: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ghost", "a"} {
		if _, err := other.Put(ctx, "/service/c/leader", name); err != nil {
			t.Fatal(err)
		}
		cluster, err := c.Load(ctx)
		if err != nil || cluster.Leader == nil || cluster.Leader.Name != name || cluster.Leader.Meta.Session != "" {
			t.Fatalf("leader %+v, %v", cluster.Leader, err)
		}
		if _, err := c.Acquire(ctx, dcs.Acquire{}); !errors.Is(err, dcs.ErrConflict) {
			t.Errorf("the key of %s is acquired: %v", name, err)
		}
		if _, err := c.Renew(ctx, dcs.Renew{Leader: cluster.Leader.Meta, TTL: 30 * time.Second}); !errors.Is(err, dcs.ErrConflict) {
			t.Errorf("the key of %s is renewed: %v", name, err)
		}
	}
	if _, err := other.Delete(ctx, "/service/c/leader"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire(ctx, dcs.Acquire{}); err != nil {
		t.Errorf("once the key was cleared: %v", err)
	}
}

// TestRebind moves two keys to another session in one transaction, and closes the old session without a loss (safety 1.3).
func TestRebind(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	c := dcs.NewClient(b, dcs.Options{Scope: "c", Name: "a"})
	ctx := within(t, limit)
	member := dcs.MemberData{State: dcs.StateRunning, Role: dcs.RolePrimary}
	if _, err := c.KeepAlive(ctx, dcs.KeepAlive{TTL: 30 * time.Second, Member: member}); err != nil {
		t.Fatal(err)
	}
	held, err := c.Acquire(ctx, dcs.Acquire{Member: member})
	if err != nil {
		t.Fatal(err)
	}
	hints, err := b.Watch(ctx, "/service/c/leader")
	if err != nil {
		t.Fatal(err)
	}
	moved, err := c.Renew(ctx, dcs.Renew{Leader: held.Leader, TTL: 60 * time.Second, Member: member})
	if err != nil || moved.TTL != 60*time.Second || moved.Leader.Session == held.Leader.Session || moved.Leader.Created != held.Leader.Created {
		t.Fatalf("held %+v, then %+v, %v", held, moved, err)
	}
	if h := <-hints; !h.Put {
		t.Errorf("the leader key was away: %+v", h)
	}
	cluster, err := c.Load(ctx)
	if err != nil || cluster.Leader == nil || cluster.Leader.Meta.Session != moved.Leader.Session || cluster.Members[0].Meta.Session != moved.Leader.Session {
		t.Errorf("the store has %+v, %+v, %v", cluster.Leader, cluster.Members, err)
	}
	leases, err := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)}).Leases(ctx)
	if err != nil || len(leases.Leases) != 1 {
		t.Errorf("leases %+v, %v; want the new one alone", leases, err)
	}
}

// TestDeposedLeader freezes etcd's leader, which comes back as one that was deposed: a session that is kept alive meanwhile is kept by the new
// one, and a confirmation holds in the new term (safety 2.1).
func TestDeposedLeader(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 120*time.Second)
	tx := dcs.Txn{If: []dcs.Cond{{Key: "/leader", Created: put(t, b, "/leader", "a", x), Session: x.ID()}}}
	leader := leading(t, servers)
	if err := leader.Pause(); err != nil {
		t.Fatal(err)
	}
	resumed := false
	defer func() {
		if !resumed {
			_ = leader.Resume()
		}
	}()
	confirmed(t, x, tx)
	if err := leader.Resume(); err != nil {
		t.Fatal(err)
	}
	resumed = true
	// By the frozen member alone, first in its old term perhaps: what it answers is refused until it has learned of the new one.
	old := open(t, etcd3.Config{Endpoints: []string{leader.Endpoint}})
	if _, err := old.Apply(within(t, limit), tx); err != nil {
		t.Errorf("by the deposed leader: %v", err)
	}
	confirmed(t, x, tx)
}

// confirmed confirms, again while the fate is unknown: never a no.
func confirmed(t *testing.T, x dcs.Session, tx dcs.Txn) {
	t.Helper()
	ctx := within(t, 2*limit)
	for {
		_, err := x.Confirm(within(t, limit/3), tx)
		switch {
		case err == nil:
			return
		case errors.Is(err, dcs.ErrConflict), errors.Is(err, dcs.ErrSessionLost), ctx.Err() != nil:
			t.Fatal(err)
		}
	}
}

// TestIPv6: an endpoint in brackets.
func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no IPv6 here")
	}
	_ = l.Close()
	server := etcdtest.Start(t, etcdtest.Options{Host: "::1"})[0]
	put(t, open(t, etcd3.Config{Endpoints: []string{server.Endpoint}}), "/k", "v", nil)
}

// TestPasswordChanges: a password that was changed in etcd is refused until it is changed here, and then requests go on.
func TestPasswordChanges(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{})
	admin := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	enableAuth(t, admin, "tanist", "old", "/service/")
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers), Username: "tanist", Password: "old"})
	x := session(t, b, 60*time.Second)
	put(t, b, "/service/leader", "a", x)
	root := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers), Username: "root", Password: "root"})
	if _, err := root.UserChangePassword(within(t, limit), "tanist", "new"); err != nil {
		t.Fatal(err)
	}
	_, err := b.Read(within(t, limit), "/service/")
	wantError(t, err, dcs.ErrUnavailable, "check username and password of the etcd section")
	if strings.Contains(err.Error(), "old") {
		t.Errorf("the password is told: %v", err)
	}
	b.SetCredentials("tanist", "new")
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/service/leader", Session: x.ID()}}}); err != nil {
		t.Fatal(err)
	}
}

// TestExpiredCertificates: the client's, and the server's.
func TestExpiredCertificates(t *testing.T) {
	servertest.Slow(t)
	ca := authority(t, "ca")
	client := issue(t, ca, "client")
	old, err := ca.Expired("old", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &servertest.TLS{CA: ca.File, Server: issue(t, ca, "server", "127.0.0.1"), Client: client}
	for _, tool := range []string{"", "etcd36"} { // the older one says "bad certificate"
		good := etcdtest.Start(t, etcdtest.Options{TLS: server, Tool: tool})[0]
		b := open(t, etcd3.Config{Endpoints: []string{good.Endpoint}, TLS: &etcd3.TLS{CAFile: ca.File, CertFile: old.Cert, KeyFile: old.Key}})
		_, err = b.Read(within(t, short), "/")
		wantError(t, err, dcs.ErrUnavailable, "renew the client certificate (cert and key of the etcd section), or set the clock right")
		if !strings.Contains(err.Error(), ": the client certificate expired on 2") {
			t.Errorf("the cause is not said: %v", err)
		}
	}

	pair, err := tls.LoadX509KeyPair(old.Cert, old.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, func(c net.Conn) { _ = c.(*tls.Conn).Handshake() }) // an etcd with such a certificate does not become ready
	b := open(t, etcd3.Config{Endpoints: []string{"https://" + l.Addr().String()}, TLS: &etcd3.TLS{CAFile: ca.File}})
	_, err = b.Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, "renew the certificate, or set the clock right")
}

// TestOtherServers: what stands behind the port is no etcd.
func TestOtherServers(t *testing.T) {
	servertest.Slow(t)
	web := answering(t, 200, "welcome")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1024))
		_, _ = c.Write([]byte("-ERR unknown command\r\n"))
		_, _ = io.Copy(io.Discard, c)
	})
	const elsewhere = "something else than etcd listens there"
	zookeeper := zktest.Start(t, zktest.Options{})[0].Addr
	for name, c := range map[string]struct{ endpoint, hint string }{
		"HTTP":       {web, elsewhere},
		"talks back": {"http://" + l.Addr().String(), elsewhere},
		"ZooKeeper":  {"http://" + zookeeper, "the server may speak TLS (use https in the address), or be something else than etcd"}, // it hangs up, as TLS does
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, etcd3.Config{Endpoints: []string{c.endpoint}})
			_, err := b.Read(within(t, short), "/")
			wantError(t, err, dcs.ErrUnavailable, c.hint)
		})
	}
}

// serve lets each connection be answered by f, and closed.
func serve(t *testing.T, l net.Listener, f func(net.Conn)) {
	t.Helper()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
}
