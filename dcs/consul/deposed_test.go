package consul_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/internal/consultest"
)

// TestDeposedLeaderConfirmsNothing (safety 1.1, 2.3): a leader of Consul that was frozen and has been replaced answers renewals after its
// thaw, even of sessions that the new leader has ended. What Confirm promises holds all the same: a key that is gone is a conflict, and a
// session whose time was running out at the new leader lives on for its TTL.
func TestDeposedLeaderConfirmsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers, elections, sessions that end")
	}
	servers := consultest.Start(t, consultest.Options{Servers: 3, Config: map[string]any{
		"session_ttl_min": "1s",
		"autopilot":       map[string]any{"cleanup_dead_servers": false}, // a frozen server would be no voter any more
	}})
	falsely := 0
	for range 3 {
		d := depose(t, servers)
		for _, x := range d.sessions {
			if err := d.successor.EndSession(within(t, limit), x.ID()); err != nil {
				t.Fatal(err)
			}
		}
		_, errs := d.confirm(t)
		for _, err := range errs {
			switch {
			case errors.Is(err, dcs.ErrConflict): // the renewal went through, and the comparison did not
				falsely++
			case !errors.Is(err, dcs.ErrSessionLost):
				t.Errorf("confirmed a session that had ended: %v", err)
			}
		}
	}
	t.Logf("deposed leaders renewed %d of %d sessions that had ended", falsely, 3*deposedSessions)

	confirmed := 0
	for range 2 {
		d := depose(t, servers)
		<-time.After(d.ttl + d.ttl/2) // of the two TTLs that the new leader has given
		sent, errs := d.confirm(t)
		for i, err := range errs {
			if err != nil {
				continue // too late, on a busy machine
			}
			confirmed++
			awaitGone(t, d.watcher, key(i))
			if lived := time.Since(sent); lived < d.ttl {
				t.Errorf("a session ended %s after a confirmation was asked for, promised %s", lived, d.ttl)
			}
		}
	}
	if confirmed == 0 {
		t.Error("nothing was confirmed: the test shows nothing")
	}
}

// deposedSessions are enough for some of them to be answered in the moment before a deposed leader notices.
const deposedSessions = 8

func key(i int) string { return fmt.Sprintf("/c/k%d", i) }

// deposed is a leader that is frozen, and has been replaced.
type deposed struct {
	leader, successor *consultest.Server
	sessions          []dcs.Session // opened at the leader, each with a key
	ttl               time.Duration // of each
	watcher           *consul.Backend
}

func depose(t *testing.T, servers []*consultest.Server) *deposed {
	t.Helper()
	leader, err := servers[0].Leader(within(t, limit), servers)
	if err != nil || leader == nil {
		t.Fatalf("no leader: %v", err)
	}
	d := &deposed{leader: leader}
	for i := range deposedSessions {
		b := open(t, consul.Config{URL: leader.URL})
		x := session(t, b, 6*time.Second)
		put(t, b, key(i), "", x)
		d.sessions, d.ttl = append(d.sessions, x), x.TTL()
	}
	if err := leader.Pause(); err != nil {
		t.Fatal(err)
	}
	d.successor = successor(t, servers, leader)
	d.watcher = open(t, consul.Config{URL: d.successor.URL})
	return d
}

// confirm asks the frozen leader to confirm all sessions, then thaws it.
func (d *deposed) confirm(t *testing.T) (sent time.Time, errs []error) {
	t.Helper()
	errs = make([]error, len(d.sessions))
	ended := make(chan struct{})
	sent = time.Now()
	for i, x := range d.sessions {
		go func() {
			_, errs[i] = x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: key(i), Session: x.ID()}}})
			ended <- struct{}{}
		}()
	}
	<-time.After(300 * time.Millisecond) // they are in the frozen server's queue
	if err := d.leader.Resume(); err != nil {
		t.Fatal(err)
	}
	for range d.sessions {
		<-ended
	}
	return sent, errs
}

// successor waits until another server than old leads, and returns it.
func successor(t *testing.T, servers []*consultest.Server, old *consultest.Server) *consultest.Server {
	t.Helper()
	for ctx := within(t, limit); ctx.Err() == nil; <-time.After(50 * time.Millisecond) {
		for _, s := range servers {
			if s == old {
				continue
			}
			once, cancel := context.WithTimeout(ctx, time.Second)
			leader, err := s.Leader(once, servers)
			cancel()
			if err == nil && leader != nil && leader != old {
				return leader
			}
		}
	}
	t.Fatal("no other leader")
	return nil
}
