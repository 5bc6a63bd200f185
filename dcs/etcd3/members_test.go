package etcd3_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// TestMemberReplaced: a member whose host is gone is removed, and another one with empty data takes its place at another address. A client that was
// told of the first alone goes on, learns of the newcomer, and is served when that is needed for a majority; the store is the same one all the
// time, and a leader goes on proving that it leads.
func TestMemberReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a look at etcd's members")
	}
	t.Parallel()
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)[:1], FollowMembers: true})
	leader := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, leader, 1000*time.Second)
	tx := dcs.Txn{If: []dcs.Cond{{Key: "/leader", Created: put(t, leader, "/leader", "a", x), Session: x.ID()}}}
	before, err := b.Read(within(t, limit), "/")
	if err != nil {
		t.Fatal(err)
	}
	knows(t, b, servers[1].Endpoint)
	knows(t, b, servers[2].Endpoint)

	admin := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)[1:]})
	list, err := admin.MemberList(within(t, limit))
	if err != nil {
		t.Fatal(err)
	}
	servers[0].Kill()
	for _, m := range list.Members {
		if slices.Contains(m.ClientURLs, servers[0].Endpoint) {
			made(t, rpctypes.ErrMemberNotFound, func(ctx context.Context) error { _, err := admin.MemberRemove(ctx, m.ID); return err })
		}
	}
	confirmed(t, x, tx)
	fresh := etcdtest.Join(t, servers[1:], func(peer string) error {
		made(t, rpctypes.ErrPeerURLExist, func(ctx context.Context) error { _, err := admin.MemberAdd(ctx, []string{peer}); return err })
		return nil
	})
	confirmed(t, x, tx)
	knows(t, b, fresh.Endpoint)

	servers[1].Kill() // the newcomer and one of the old are the majority
	confirmed(t, x, tx)
	put(t, b, "/k", "v", nil)
	after, err := b.Read(within(t, limit), "/")
	if err != nil || after.StoreID != before.StoreID || after.Version <= before.Version {
		t.Errorf("store %q at %d, then %q at %d, %v", before.StoreID, before.Version, after.StoreID, after.Version, err)
	}
}

// made makes a change of etcd's members, again for as long as etcd calls itself unhealthy or does not answer: members must have seen each other
// for 5 s. An answer of before says that it was made already.
func made(t *testing.T, before error, change func(context.Context) error) {
	t.Helper()
	ctx := within(t, 2*limit)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, limit/6)
		err := change(bounded)
		cancel()
		switch {
		case err == nil, errors.Is(err, before):
			return
		case ctx.Err() != nil:
			t.Fatal(err)
		}
		<-again.C
	}
}

// knows keeps short sessions alive, which looks at etcd's members every 20 s, until the endpoint is one of the backend's.
func knows(t *testing.T, b *etcd3.Backend, endpoint string) {
	t.Helper()
	ctx := within(t, 2*limit)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for x := session(t, b, 2*time.Second); ; {
		if _, err := x.KeepAlive(ctx); errors.Is(err, dcs.ErrSessionLost) {
			x = session(t, b, 2*time.Second)
		}
		bounded, cancel := context.WithTimeout(ctx, time.Second) // some are gone, and do not answer
		_, said, err := b.AskLegacy(bounded, "/")
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(said, func(a etcd3.LegacyAnswer) bool { return a.Endpoint == endpoint }) {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s was not learned of: %+v", endpoint, said)
		}
	}
}
