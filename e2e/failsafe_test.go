//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestFailsafe takes the store away from a cluster in failsafe mode, for longer than a ttl: its leader goes on exactly as long as every member
// accepts it (safety section 10).
func TestFailsafe(t *testing.T) {
	f := startFortress(t, testcluster.Options{})
	f.step(func(ctx context.Context) error { return f.PatchConfig(ctx, map[string]any{"failsafe_mode": true}) })
	for _, c := range []struct {
		name string
		run  func(s *siege)
	}{
		{"the store is away for all", storeAway},
		{"agents start again while the leader alone is cut off", membersRestart},
		{"a member is dead", memberDead},
	} {
		if !t.Run(c.name, func(t *testing.T) {
			s := f.siege(t)
			s.listed()
			c.run(s)
			s.lift()
		}) {
			return
		}
	}
}

// listed waits until all nodes are in /failsafe, and know it.
func (s *siege) listed() {
	s.t.Helper()
	for _, n := range s.Nodes {
		eventually(s.t, n.Name+" knows everybody in /failsafe", func() (bool, string) {
			_, body, err := n.REST(s.t.Context(), "GET", "/failsafe", nil)
			var members map[string]string
			_ = json.Unmarshal([]byte(body), &members) // a page that says that there is none
			return err == nil && len(members) == len(s.Nodes), body
		})
	}
}

// silence lets the store fall silent for some nodes; it answers again when the test ends, or hear is called.
func (s *siege) silence(nodes ...*testcluster.Node) (hear func()) {
	for _, n := range nodes {
		s.ways[n.Name].Set(faultproxy.HalfOpen)
	}
	hear = func() {
		for _, n := range nodes {
			s.ways[n.Name].Set(faultproxy.Pass)
		}
	}
	s.t.Cleanup(hear)
	return hear
}

// expired waits until the leader key has expired in the store.
func (s *siege) expired() {
	s.t.Helper()
	eventually(s.t, "the leader key expires", func() (bool, string) {
		kv, err := s.Store.Get(s.t.Context(), s.Key("leader"))
		return err == nil && kv == nil, fmt.Sprint(kv, err)
	})
}

// active says whether a node tells that failsafe mode is active.
func (s *siege) active(n *testcluster.Node) (bool, string) {
	_, body, err := n.REST(s.t.Context(), "GET", "/patroni", nil)
	return err == nil && strings.Contains(body, `"failsafe_mode_is_active":true`), body
}

func storeAway(s *siege) {
	pid, _ := s.leader.Postmaster()
	hear := s.silence(s.Nodes...)
	for _, n := range s.Nodes {
		eventually(s.t, "failsafe mode is active on "+n.Name, func() (bool, string) { return s.active(n) })
	}
	s.must(s.leader.FreezeAgent())
	s.wait(time.Second)
	s.must(s.leader.ThawAgent())
	s.expired()
	s.wait(ttl / 2)
	hear()
	s.leadsInStore(s.leader)
	s.undisturbed(pid)
}

func membersRestart(s *siege) {
	pid, _ := s.leader.Postmaster()
	hear := s.silence(s.leader)
	s.expired()
	for _, n := range s.Nodes {
		if n != s.leader {
			s.step(n.KillAgent)
			s.must(n.Start())
			s.step(n.WaitAnswer)
			eventually(s.t, n.Name+" accepts the leader again", func() (bool, string) { return s.active(n) })
		}
	}
	s.wait(ttl / 2)
	s.undisturbed(pid)
	hear()
	s.leadsInStore(s.leader)
	s.undisturbed(pid)
}

func memberDead(s *siege) {
	s.step(s.other.KillAgent)
	hear := s.silence(s.Nodes...)
	s.step(func(ctx context.Context) error { return s.leader.WaitLog(ctx, "failsafe mode: "+s.other.Name) })
	eventually(s.t, "the server does not take writes any more", func() (bool, string) {
		ctx, cancel := s.ctx()
		defer cancel()
		_, err := s.SQL(ctx, s.leader, "create temp table x ()")
		return err != nil, "it does"
	})
	if now, err := s.Leader(s.t.Context()); err != nil || now != nil {
		s.t.Errorf("nobody should lead; %v, %v", now, err)
	}
	hear()
}
