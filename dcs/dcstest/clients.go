package dcstest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// clientTests run dcs.Client on the store: the chains of requests that a node makes.
var clientTests = []test{
	{name: "client/term-of-a-leader", run: testTerm},
	{name: "client/changed-ttl", run: testChangedTTL},
	{name: "client/takeover-after-restart", run: testTakeover},
	{name: "client/hints", run: testClientHints},
}

// client returns a node's client; the folder of this subtest is its namespace.
func (s *suite) client(t testing.TB, name string) *dcs.Client {
	t.Helper()
	c := dcs.NewClient(s.open(t), dcs.Options{Namespace: strings.Trim(s.prefix, "/"), Scope: "main", Name: name})
	t.Cleanup(func() {
		if err := c.Close(s.ctx); err != nil {
			t.Errorf("close the client of %s: %v", name, err)
		}
	})
	return c
}

// clientTTL is of the sessions of clients, which are to live for as long as a test.
func (s *suite) clientTTL() time.Duration { return max(10*s.MinTTL, 10*time.Second) }

func data(role dcs.Role) dcs.MemberData {
	return dcs.MemberData{ConnURL: "postgres://h:5432/postgres", APIURL: "http://h:8008/patroni", State: dcs.StateRunning, Role: role, Version: "4.1.4"}
}

// keepAliveAs keeps c's session, at n times the smallest TTL.
func (s *suite) keepAliveAs(t testing.TB, c *dcs.Client, n int) dcs.Alive {
	t.Helper()
	a, err := c.KeepAlive(s.ctx, dcs.KeepAlive{TTL: s.clientTTL() * time.Duration(n), Member: data(dcs.RoleReplica)})
	if err != nil {
		t.Fatalf("keepalive: %v", err)
	}
	return a
}

func (s *suite) acquireBy(t testing.TB, c *dcs.Client, a dcs.Acquire) dcs.Held {
	t.Helper()
	a.Expect.IgnoreInitialize, a.Member = true, data(dcs.RolePromoted)
	h, err := c.Acquire(s.ctx, a)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return h
}

// renewBy renews h at n times the smallest TTL, and checks that the store shows what came of it.
func (s *suite) renewBy(t testing.TB, c *dcs.Client, h dcs.Held, n int, optime uint64) dcs.Held {
	t.Helper()
	h, err := c.Renew(s.ctx, dcs.Renew{
		Leader: h.Leader, TTL: s.clientTTL() * time.Duration(n), Member: data(dcs.RolePrimary), Status: &dcs.Status{Optime: optime},
	})
	if err != nil {
		t.Fatalf("renew: %v", err)
	}
	cluster := s.load(t, c)
	if cluster.Leader == nil || cluster.Leader.Meta != h.Leader || cluster.Status.Optime != optime {
		t.Fatalf("held %+v, and the store shows leader %+v, status %+v", h, cluster.Leader, cluster.Status)
	}
	return h
}

func (s *suite) load(t testing.TB, c *dcs.Client) dcs.Cluster {
	t.Helper()
	cluster, err := c.Load(s.ctx)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	if len(cluster.Problems) > 0 {
		t.Fatalf("problems: %q", cluster.Problems)
	}
	return cluster
}

func testTerm(t *testing.T, s *suite) {
	a, b := s.client(t, "a"), s.client(t, "b")
	s.keepAliveAs(t, a, 1)
	s.keepAliveAs(t, b, 1)
	h := s.acquireBy(t, a, dcs.Acquire{})
	if _, err := b.Acquire(s.ctx, dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}}); !errors.Is(err, dcs.ErrConflict) {
		t.Fatalf("a second leader: %v", err)
	}
	for i := range uint64(3) {
		h = s.renewBy(t, a, h, 1, i/2+1)
	}
	if err := a.Release(s.ctx, dcs.Release{Leader: h.Leader, Status: &dcs.Status{Optime: 9}, Member: data(dcs.RoleDemoted)}); err != nil {
		t.Fatalf("release: %v", err)
	}
	c := s.load(t, b)
	if c.Leader != nil || c.Status.Optime != 9 || len(c.Members) != 2 || c.Members[0].Data.Role != dcs.RoleDemoted {
		t.Fatalf("after the release: %+v", c)
	}
	hb := s.acquireBy(t, b, dcs.Acquire{})
	if _, err := a.Renew(s.ctx, dcs.Renew{Leader: h.Leader, TTL: s.clientTTL()}); !errors.Is(err, dcs.ErrConflict) {
		t.Fatalf("the former leader renews: %v", err)
	}
	if err := b.Release(s.ctx, dcs.Release{Leader: hb.Leader, Member: data(dcs.RoleDemoted)}); err != nil {
		t.Fatalf("release: %v", err)
	}
}

func testChangedTTL(t *testing.T, s *suite) {
	a := s.client(t, "a")
	first := s.keepAliveAs(t, a, 1)
	second := s.keepAliveAs(t, a, 2)
	if !second.Opened || second.Session == first.Session || second.TTL != 2*first.TTL {
		t.Fatalf("a standby's other ttl: %+v, then %+v", first, second)
	}
	if m := s.load(t, a).Members; len(m) != 1 || m[0].Meta.Session != second.Session {
		t.Fatalf("members %+v", m)
	}
	h := s.renewBy(t, a, s.acquireBy(t, a, dcs.Acquire{}), 2, 1)
	moved := s.renewBy(t, a, h, 1, 2)
	if moved.Leader.Session == h.Leader.Session || moved.TTL != first.TTL {
		t.Fatalf("a leader's other ttl: %+v, then %+v", h, moved)
	}
	moved = s.renewBy(t, a, moved, 1, 2)
	if m := s.load(t, a).Members; len(m) != 1 || m[0].Meta.Session != moved.Leader.Session {
		t.Fatalf("members %+v", m)
	}
	if err := a.Release(s.ctx, dcs.Release{Leader: moved.Leader, Member: data(dcs.RoleDemoted)}); err != nil {
		t.Fatalf("release: %v", err)
	}
}

func testTakeover(t *testing.T, s *suite) {
	killed := s.client(t, "a")
	s.keepAliveAs(t, killed, 1)
	s.acquireBy(t, killed, dcs.Acquire{})
	again := s.client(t, "a")
	old := s.load(t, again).Leader
	alive := s.keepAliveAs(t, again, 1)
	h := s.acquireBy(t, again, dcs.Acquire{Takeover: old})
	if h.Leader.Session != alive.Session {
		t.Fatalf("taken over as %+v, want session %s", h.Leader, alive.Session)
	}
	h = s.renewBy(t, again, h, 1, 1)
	if _, err := killed.Renew(s.ctx, dcs.Renew{Leader: old.Meta, TTL: s.clientTTL()}); !errors.Is(err, dcs.ErrConflict) {
		t.Fatalf("the earlier run renews: %v", err)
	}
	if err := again.Release(s.ctx, dcs.Release{Leader: h.Leader, Member: data(dcs.RoleDemoted)}); err != nil {
		t.Fatalf("release: %v", err)
	}
}

func testClientHints(t *testing.T, s *suite) {
	a, b := s.client(t, "a"), s.client(t, "b")
	hints := b.Hints()
	if h := <-hints; h.Key != "" {
		t.Fatalf("the first hint is of %q", h.Key)
	}
	s.keepAliveAs(t, a, 1)
	for h := range hints {
		switch h.Key {
		case "", "members/a":
			return
		case "news": // beside the member key, on a store with a quiet watch
			continue
		}
		t.Fatalf("hint of %q", h.Key)
	}
}
