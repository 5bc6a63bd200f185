//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
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
		{"a member refuses", memberRefuses},
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

// listed waits until all nodes are in /failsafe, and know it. Whose session has ended with the store's silence is taken out by the leader, and comes
// back with its member key.
func (s *siege) listed() {
	s.t.Helper()
	for _, n := range s.Nodes {
		eventually(s.t, n.Name+" is a member", func() (bool, string) {
			kv, err := s.Store.Get(s.t.Context(), s.Key("members/"+n.Name))
			return err == nil && kv != nil, fmt.Sprint(kv, err)
		})
	}
	s.wait(2 * time.Second) // two loops of the leader, in which it sees them
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
	s.demoted(s.other, s.silence(s.Nodes...))
}

// memberRefuses: while the leader cannot read it, failsafe mode is turned off. One member knows, and accepts nobody any more; it leads next.
func memberRefuses(s *siege) {
	deaf := slices.DeleteFunc(slices.Clone(s.Nodes), func(n *testcluster.Node) bool { return n == s.other })
	from := len(s.logOf(s.leader))
	hear := s.silence(deaf...)
	s.patch(s.other, map[string]any{"failsafe_mode": false})
	s.newLeader(s.leader)
	if s.leadsNow() != s.other {
		s.t.Errorf("%s is the only one that reaches the store, and does not lead", s.other.Name)
	}
	said := s.logOf(s.leader)[from:]
	if !strings.Contains(said, "failsafe mode: "+s.other.Name) || !strings.Contains(said, "502") {
		s.t.Errorf("the demotion does not say that %s refused", s.other.Name)
	}
	hear()
	s.patch(s.other, map[string]any{"failsafe_mode": true})
}

// patch changes the dynamic configuration by way of n.
func (s *siege) patch(n *testcluster.Node, change map[string]any) {
	s.t.Helper()
	code, body, err := n.REST(s.t.Context(), "PATCH", "/config", change)
	if s.must(err); code != 200 {
		s.t.Fatalf("PATCH /config: %d: %s", code, body)
	}
}

// leadsNow is the node that leads, nil: none.
func (s *siege) leadsNow() *testcluster.Node {
	s.t.Helper()
	n, err := s.Leader(s.t.Context())
	s.must(err)
	return n
}

// demoted waits until the leader, whom a member has not accepted, takes no writes any more.
func (s *siege) demoted(member *testcluster.Node, hear func()) {
	s.t.Helper()
	s.step(func(ctx context.Context) error { return s.leader.WaitLog(ctx, "failsafe mode: "+member.Name) })
	eventually(s.t, "the server does not take writes any more", func() (bool, string) {
		ctx, cancel := s.ctx()
		defer cancel()
		_, err := s.SQL(ctx, s.leader, "create temp table x ()")
		return err != nil, "it does"
	})
	if now := s.leadsNow(); now != nil {
		s.t.Errorf("nobody should lead; %s does", now.Name)
	}
	hear()
}

// TestFailsafeAtTheDefaultTTL has a store that is away for longer than a ttl of 30 s.
func TestFailsafeAtTheDefaultTTL(t *testing.T) {
	if os.Getenv("CHAOS") == "" {
		t.Skip("takes minutes: make chaos")
	}
	f := startFortress(t, testcluster.Options{})
	f.step(func(ctx context.Context) error {
		return f.PatchConfig(ctx, map[string]any{"failsafe_mode": true, "ttl": 30, "loop_wait": 10, "retry_timeout": 10})
	})
	for _, c := range []struct {
		name string
		run  func(s *siege)
	}{
		{"the store is away for all", storeAwayForLong},
		{"a member is dead", memberDead},
		{"a member refuses", memberRefuses},
	} {
		if !t.Run(c.name, func(t *testing.T) {
			s := f.siege(t)
			s.listed()
			for _, n := range s.Nodes {
				eventually(t, "the session of "+n.Name+" is one of 30 s", func() (bool, string) {
					kv, err := s.Store.Get(t.Context(), s.Key("members/"+n.Name))
					return err == nil && kv != nil && strings.Contains(kv.Value, `"tanist_ttl":30`), fmt.Sprint(kv, err)
				})
			}
			c.run(s)
			s.lift()
		}) {
			return
		}
	}
}

func storeAwayForLong(s *siege) {
	pid, _ := s.leader.Postmaster()
	from := s.w.Since()
	hear := s.silence(s.Nodes...)
	eventually(s.t, "failsafe mode is active", func() (bool, string) { return s.active(s.leader) })
	s.must(s.leader.FreezeAgent())
	s.wait(5 * time.Second)
	s.must(s.leader.ThawAgent())
	s.expired()
	s.wait(from + 40*time.Second - s.w.Since())
	hear()
	s.leadsInStore(s.leader)
	s.undisturbed(pid)
	s.t.Logf("the store was away for %v", (s.w.Since() - from).Round(time.Second))
}
