package etcd3_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// TestDeposedLeaderConfirmsNothing (safety 1.1, 2.1): a leader of etcd that was cut off and frozen, and has been replaced meanwhile, answers
// keepalives after its thaw, even of leases that its successor has revoked (etcd before 3.4.31 and 3.5.13; later ones ask their peers first).
// What Confirm promises holds all the same: a session that has ended is not confirmed, whatever is compared, and one whose time was running out
// at the successor lives on for its TTL.
func TestDeposedLeaderConfirmsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("three members, elections, leases that end")
	}
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3, Isolable: true})
	t.Run("revoked", func(t *testing.T) {
		d := depose(t, servers, time.Minute)
		for _, x := range d.sessions {
			if _, err := d.successor.Revoke(within(t, limit), lease(t, x)); err != nil {
				t.Fatal(err)
			}
		}
		// Nothing is compared: the key, which has gone with its lease, would give it away.
		for _, err := range d.confirm(t, func(int) dcs.Txn { return dcs.Txn{} }) {
			if !errors.Is(err, dcs.ErrSessionLost) && !errors.Is(err, dcs.ErrUnknown) {
				t.Errorf("the session has ended, and Confirm says: %v", err)
			}
		}
	})
	t.Run("running out", func(t *testing.T) {
		const ttl = 8 * time.Second
		d := depose(t, servers, ttl)
		<-time.After(ttl * 5 / 8) // of the time that the successor has given them
		sent, confirmed := time.Now(), 0
		for i, err := range d.confirm(t, func(i int) dcs.Txn { return dcs.Txn{If: []dcs.Cond{{Key: key(i), Session: d.sessions[i].ID()}}} }) {
			if err != nil {
				continue // too late, on a busy machine
			}
			confirmed++
			awaitGone(t, d.watcher, key(i))
			if lived := time.Since(sent); lived < ttl {
				t.Errorf("a session ended %s after a confirmation was asked for, promised %s", lived, ttl)
			}
		}
		if confirmed == 0 {
			t.Error("nothing was confirmed: the test shows nothing")
		}
	})
}

const deposedSessions = 8

func key(i int) string { return fmt.Sprintf("/c/k%d", i) }

// deposed is a leader that is cut off and frozen, and has been replaced.
type deposed struct {
	leader    *etcdtest.Server
	sessions  []dcs.Session    // opened at the leader, each with a key
	direct    *clientv3.Client // at the leader
	successor *clientv3.Client
	watcher   *etcd3.Backend // at the successor
}

func depose(t *testing.T, servers []*etcdtest.Server, ttl time.Duration) *deposed {
	t.Helper()
	d := &deposed{leader: leading(t, servers)}
	d.direct = official(t, clientv3.Config{Endpoints: []string{d.leader.Endpoint}})
	if _, err := d.direct.Get(within(t, limit), "/"); err != nil { // connected before the freeze
		t.Fatal(err)
	}
	for i := range deposedSessions {
		b := open(t, etcd3.Config{Endpoints: []string{d.leader.Endpoint}})
		x := session(t, b, ttl)
		put(t, b, key(i), "", x)
		d.sessions = append(d.sessions, x)
	}
	if err := errors.Join(d.leader.Isolate(within(t, limit)), d.leader.Pause()); err != nil {
		t.Fatal(err)
	}
	var others []*etcdtest.Server
	for _, s := range servers {
		if s != d.leader {
			others = append(others, s)
		}
	}
	endpoint := leading(t, others).Endpoint
	d.successor = official(t, clientv3.Config{Endpoints: []string{endpoint}})
	d.watcher = open(t, etcd3.Config{Endpoints: []string{endpoint}})
	return d
}

// confirm asks the frozen leader to confirm all sessions, and thaws it. When it has answered bare keepalives of them all, as one that does not
// know of its successor, it joins the others again.
func (d *deposed) confirm(t *testing.T, tx func(i int) dcs.Txn) []error {
	t.Helper()
	errs, bare := make([]error, len(d.sessions)), make([]error, len(d.sessions))
	var confirmations, keepalives sync.WaitGroup
	for i, x := range d.sessions {
		id := lease(t, x)
		confirmations.Go(func() { _, errs[i] = x.Confirm(within(t, limit), tx(i)) })
		keepalives.Go(func() { _, bare[i] = d.direct.KeepAliveOnce(within(t, limit), id) })
	}
	if err := d.leader.Resume(); err != nil {
		t.Fatal(err)
	}
	keepalives.Wait()
	d.leader.Rejoin()
	confirmations.Wait()
	if err := errors.Join(bare...); err != nil {
		t.Errorf("the deposed leader did not prolong each lease, so the test shows nothing (etcd 3.4.31, 3.5.13 and newer do not): %v", err)
	}
	return errs
}

// leading waits until one of servers is etcd's leader.
func leading(t *testing.T, servers []*etcdtest.Server) *etcdtest.Server {
	t.Helper()
	c := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	for ctx := within(t, limit); ctx.Err() == nil; <-time.After(50 * time.Millisecond) {
		for _, s := range servers {
			once, cancel := context.WithTimeout(ctx, time.Second)
			r, err := c.Status(once, s.Endpoint)
			cancel()
			if err == nil && r.Leader == r.Header.MemberId {
				return s
			}
		}
	}
	t.Fatal("etcd has no leader")
	return nil
}

func lease(t *testing.T, x dcs.Session) clientv3.LeaseID {
	t.Helper()
	var id int64
	if _, err := fmt.Sscanf(x.ID(), "%x", &id); err != nil {
		t.Fatal(err)
	}
	return clientv3.LeaseID(id)
}

// awaitGone waits until key is no more.
func awaitGone(t *testing.T, b dcs.Backend, key string) {
	t.Helper()
	hints, err := b.Watch(within(t, limit), key)
	if err != nil {
		t.Fatal(err)
	}
	for get(t, b, key) != nil {
		if _, ok := <-hints; !ok {
			t.Fatalf("the watch of %s ended before the key did", key)
		}
	}
}
