package etcd3_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// official is etcd's own client, as a second opinion.
func official(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	cfg.Logger = zap.NewNop()
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestSessionIsALease: ids, revisions and the end of a session are those that other clients of etcd see.
func TestSessionIsALease(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	other := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 1500*time.Millisecond)
	if x.TTL() != 2*time.Second {
		t.Errorf("a session of 1.5 s has a TTL of %s; want 2 s, in whole seconds", x.TTL())
	}
	if y := session(t, b, time.Millisecond); y.TTL() < time.Second {
		t.Errorf("the granted TTL is %s", y.TTL())
	}
	x = session(t, b, 30*time.Second)
	version := put(t, b, "/leader", "a", x)
	e := get(t, b, "/leader")
	kv, err := other.Get(within(t, limit), "/leader")
	if err != nil {
		t.Fatal(err)
	}
	want := dcs.Entry{Key: "/leader", Value: []byte("a"), Version: dcs.Version(kv.Kvs[0].ModRevision),
		Created: dcs.Version(kv.Kvs[0].CreateRevision), Session: x.ID()}
	if diff := cmp.Diff(want, *e); diff != "" || version != e.Version {
		t.Errorf("entry (-want +got), written as %d:\n%s", version, diff)
	}
	if _, err := other.Revoke(within(t, limit), clientv3.LeaseID(kv.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	_, err = x.KeepAlive(within(t, limit))
	wantError(t, err, dcs.ErrSessionLost, "")
	_, err = x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/leader", Absent: true}}})
	wantError(t, err, dcs.ErrSessionLost, "")
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/leader", Session: x}}})
	wantError(t, err, dcs.ErrSessionLost, "")
	if err := x.Close(within(t, limit)); err != nil {
		t.Errorf("close of a lost session: %v", err)
	}
}

// TestConfirmSeesDeletion: a lease that lives proves nothing about a key that an operator deleted, or put there without a lease.
func TestConfirmSeesDeletion(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	other := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 30*time.Second)
	created := put(t, b, "/leader", "a", x)
	tx := dcs.Txn{
		If: []dcs.Cond{{Key: "/leader", Created: created, Session: x.ID(), Value: []byte("a")}},
		Do: []dcs.Write{{Key: "/status", Value: []byte("1")}},
	}
	if _, err := x.Confirm(within(t, limit), tx); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Delete(within(t, limit), "/leader"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.KeepAlive(within(t, limit)); err != nil {
		t.Fatalf("the lease lives: %v", err)
	}
	_, err := x.Confirm(within(t, limit), tx)
	wantError(t, err, dcs.ErrConflict, "")
	if _, err := other.Put(within(t, limit), "/leader", "a"); err != nil {
		t.Fatal(err)
	}
	_, err = x.Confirm(within(t, limit), tx)
	wantError(t, err, dcs.ErrConflict, "")
}

// TestWipedStore: an empty store at the old address says nothing about who leads.
func TestWipedStore(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 30*time.Second)
	put(t, b, "/leader", "a", x)
	before, err := b.Read(within(t, limit), "/")
	if err != nil {
		t.Fatal(err)
	}
	servers[0].Kill()
	if err := servers[0].Wipe(); err != nil {
		t.Fatal(err)
	}
	if err := servers[0].Restart(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	tx := dcs.Txn{If: []dcs.Cond{{Key: "/leader", Session: x.ID()}}}
	for range 2 {
		_, err = x.Confirm(within(t, limit), tx)
		wantError(t, err, dcs.ErrUnknown, "")
	}
	after, err := b.Read(within(t, limit), "/")
	if err != nil || after.StoreID == before.StoreID || len(after.Entries) != 0 {
		t.Fatalf("store %q before, %q after with %d keys, %v", before.StoreID, after.StoreID, len(after.Entries), err)
	}
	_, err = x.KeepAlive(within(t, limit))
	wantError(t, err, dcs.ErrSessionLost, "")
	put(t, b, "/leader", "a", session(t, b, 30*time.Second))
}

// TestCost counts requests by etcd's own metrics: a keepalive is one, a confirmation two, a read or a transaction one, and a watch one
// for its whole life. None of them counts as failed, which operators have alerts for.
func TestCost(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 30*time.Second)
	put(t, b, "/leader", "a", x)
	mine := dcs.Txn{If: []dcs.Cond{{Key: "/leader", Session: x.ID()}}}
	before, err := servers[0].Handled(within(t, limit))
	if err != nil {
		t.Fatal(err)
	}
	const n = 5
	for range n {
		if _, err := x.KeepAlive(within(t, limit)); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Confirm(within(t, limit), mine); err != nil {
			t.Fatal(err)
		}
		get(t, b, "/leader")
	}
	after, err := servers[0].Handled(within(t, limit))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for k, v := range after {
		if d := v - before[k]; d != 0 {
			got[k] = d
		}
	}
	want := map[string]int{"LeaseKeepAlive": 2 * n, "LeaseKeepAlive OK": 2 * n, "Txn": n, "Txn OK": n, "Range": n, "Range OK": n}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests that etcd handled (-want +got):\n%s", diff)
	}
}
