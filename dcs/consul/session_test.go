package consul_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/internal/consultest"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestSessionAsConsulShowsIt (safety 2.3): half of the ttl, at least what the servers grant, which is said; keys are deleted with it; a lock
// delay of a millisecond; no check ends it.
func TestSessionAsConsulShowsIt(t *testing.T) {
	srv := consultest.Start(t, consultest.Options{})[0]
	var log servertest.Log
	b := open(t, consul.Config{URL: srv.URL, SessionName: "main-a", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for asked, want := range map[time.Duration]time.Duration{30 * time.Second: 15 * time.Second, 15 * time.Second: 10 * time.Second} {
		x := session(t, b, asked)
		if x.TTL() != want {
			t.Errorf("a ttl of %s: the session has %s, want %s", asked, x.TTL(), want)
		}
		if p := x.(dcs.Paced).Pace(); p != (dcs.Pace{Every: want / 4}) {
			t.Errorf("a session of %s asks for %+v", want, p)
		}
		got, err := srv.Session(within(t, limit), x.ID())
		if err != nil || got == nil {
			t.Fatalf("session %s: %v, %v", x.ID(), got, err)
		}
		shown := consultest.Session{ID: x.ID(), Name: "main-a", Node: srv.Name, TTL: want.String(), Behavior: "delete", LockDelay: time.Millisecond, NodeChecks: []string{}}
		if diff := cmp.Diff(shown, *got); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
	says := func(text string) bool { return strings.Contains(log.String(), text) }
	if !says("ttl=15s") || !says(`"raised to"=20s`) || says("ttl=30s") {
		t.Errorf("the log does not say that the ttl was raised:\n%s", &log)
	}
}

// TestNodeCheckEndsNoSession (safety 2.3): when the agent's node fails, a session lives on, unless checks were asked for.
func TestNodeCheckEndsNoSession(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a node to be noticed as failed")
	}
	servers := consultest.Start(t, consultest.Options{Agents: 1})
	server, agent := servers[0], servers[1]
	plain, checked := open(t, consul.Config{URL: agent.URL}), open(t, consul.Config{URL: agent.URL, Checks: []string{"serfHealth"}})
	put(t, plain, "/c/plain", "", session(t, plain, 4*time.Minute))
	put(t, checked, "/c/checked", "", session(t, checked, 4*time.Minute))
	agent.Kill()
	watcher := open(t, consul.Config{URL: server.URL})
	awaitGone(t, watcher, "/c/checked")
	if get(t, watcher, "/c/plain") == nil {
		t.Error("the session without checks ended with the node's check")
	}
}

// TestChecks: a session ends at once with a check that was asked for; without that check, or while it is critical, none begins, and the error says why.
func TestChecks(t *testing.T) {
	servertest.Slow(t)
	srv := quick(t)
	b := open(t, consul.Config{URL: srv.URL, Checks: []string{"disk"}})
	refused := func(hint string) {
		t.Helper()
		_, err := b.OpenSession(within(t, short), 4*time.Minute)
		class := dcs.ErrUnavailable
		if errors.Is(err, dcs.ErrUnknown) { // the time was over between an attempt and its answer
			class = dcs.ErrUnknown
		}
		wantError(t, err, class, hint)
	}
	ask := func(path string, in any) {
		t.Helper()
		if err := srv.Do(within(t, limit), http.MethodPut, "/v1/agent/check/"+path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	refused("a check of `checks` in the consul section does not exist on the agent's node")
	ask("register", map[string]any{"ID": "disk", "Name": "disk", "TTL": "1h"})
	t.Cleanup(func() {
		if err := srv.Do(context.Background(), http.MethodPut, "/v1/agent/check/deregister/disk", nil, nil); err != nil {
			t.Error(err)
		}
	})
	ctx := within(t, limit)
	for known := []struct{ CheckID string }{}; len(known) == 0; <-time.After(20 * time.Millisecond) { // the agent tells the servers in its own time
		if err := srv.Do(ctx, http.MethodGet, "/v1/health/state/critical?consistent&filter=CheckID==disk", nil, &known); err != nil {
			t.Fatal(err)
		}
	}
	refused("a check of `checks` in the consul section is critical: no session can begin")
	ask("pass/disk", nil)
	put(t, b, "/checks/leader", "a", session(t, b, 4*time.Minute)) // opening waits until the servers know
	ask("fail/disk", nil)
	awaitGone(t, b, "/checks/leader")
}

// TestSessionEndsWithItsAgent (safety 1.7, 2.3): an agent that leaves in order takes its node, and so its sessions, along. The watch tells.
func TestSessionEndsWithItsAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an agent beside the server")
	}
	servers := consultest.Start(t, consultest.Options{Agents: 1})
	server, agent := servers[0], servers[1]
	b := open(t, consul.Config{URL: agent.URL})
	put(t, b, "/c/leader", "a", session(t, b, 4*time.Minute))
	watcher := open(t, consul.Config{URL: server.URL})
	if err := agent.Leave(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, watcher, "/c/leader")
}

// TestSessionEndsAfterItsTTL (safety 2.3): never before one TTL after the last renewal was sent; Consul takes up to two.
func TestSessionEndsAfterItsTTL(t *testing.T) {
	srv := quick(t)
	b := open(t, consul.Config{URL: srv.URL})
	x := session(t, b, 2*time.Second)
	put(t, b, "/c/k", "", x)
	for range 3 {
		if _, err := x.KeepAlive(within(t, limit)); err != nil {
			t.Fatal(err)
		}
	}
	sent := time.Now()
	if _, err := x.KeepAlive(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, b, "/c/k")
	after := time.Since(sent)
	if after < x.TTL() {
		t.Errorf("ended %s after the last renewal was sent, promised %s", after, x.TTL())
	}
	t.Logf("ended %s after the last renewal of a session of %s", after, x.TTL())
	_, err := x.KeepAlive(within(t, limit))
	wantError(t, err, dcs.ErrSessionLost, "")
	_, err = x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/c/k", Session: x.ID()}}})
	wantError(t, err, dcs.ErrSessionLost, "")
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/c/k", Session: x}}})
	wantError(t, err, dcs.ErrSessionLost, "")
}

// TestNoLockDelay (safety 2.3): a key whose session has just ended is free for the next.
func TestNoLockDelay(t *testing.T) {
	srv := quick(t)
	b := open(t, consul.Config{URL: srv.URL})
	for range 20 {
		x, y := session(t, b, time.Minute), session(t, b, time.Minute)
		put(t, b, "/c/leader", "x", x)
		if err := x.Close(within(t, limit)); err != nil {
			t.Fatal(err)
		}
		_, err := b.Apply(within(t, 10*time.Second), dcs.Txn{ // Consul's default is 15 s
			If: []dcs.Cond{{Key: "/c/leader", Absent: true}},
			Do: []dcs.Write{{Key: "/c/leader", Value: []byte("y"), Session: y}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := y.Close(within(t, limit)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWipedUnderTheLeader (safety 2.7): what is missing in another store is no "no".
func TestWipedUnderTheLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server twice")
	}
	srv := consultest.Start(t, consultest.Options{})[0]
	b := open(t, consul.Config{URL: srv.URL})
	before := read(t, b, "/c/")
	x := session(t, b, 2*time.Minute)
	put(t, b, "/c/leader", "a", x)
	if before.StoreID == "" || read(t, b, "/c/").StoreID != before.StoreID {
		t.Fatalf("the store is called %q", before.StoreID)
	}
	srv.Kill()
	if err := srv.Wipe(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Restart(within(t, 2*limit)); err != nil {
		t.Fatal(err)
	}
	mine := dcs.Txn{If: []dcs.Cond{{Key: "/c/leader", Session: x.ID()}}}
	_, err := x.Confirm(within(t, limit), mine)
	wantError(t, err, dcs.ErrUnknown, "")
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/c/leader", Session: x}}})
	wantError(t, err, dcs.ErrUnknown, "")
	_, err = x.KeepAlive(within(t, limit))
	wantError(t, err, dcs.ErrSessionLost, "")
	if after := read(t, b, "/c/"); after.StoreID == before.StoreID || after.StoreID == "" {
		t.Errorf("the store is still called %q", after.StoreID)
	}
}

// TestRestoredUnderTheLeader (safety 2.7): a store that was restored from a snapshot goes back, and is called otherwise.
func TestRestoredUnderTheLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	srv := consultest.Start(t, consultest.Options{})[0]
	b := open(t, consul.Config{URL: srv.URL})
	x := session(t, b, 2*time.Minute)
	before := read(t, b, "/c/")
	snapshot, err := srv.Snapshot(within(t, limit))
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "/c/leader", "a", x)
	if err := srv.RestoreSnapshot(within(t, limit), snapshot); err != nil {
		t.Fatal(err)
	}
	_, err = x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/c/leader", Session: x.ID()}}})
	wantError(t, err, dcs.ErrUnknown, "")
	if after := read(t, b, "/c/"); after.StoreID == before.StoreID {
		t.Errorf("the store is still called %q", after.StoreID)
	}
}

// TestLeaderOfConsulKilled: renewals go on over an election, and the session and its key survive it.
func TestLeaderOfConsulKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers")
	}
	servers := consultest.Start(t, consultest.Options{Servers: 3})
	leader, err := servers[0].Leader(within(t, limit), servers)
	if err != nil || leader == nil {
		t.Fatalf("no leader: %v", err)
	}
	var other *consultest.Server
	for _, s := range servers {
		if s != leader {
			other = s
		}
	}
	b := open(t, consul.Config{URL: other.URL})
	x := session(t, b, time.Minute)
	held := put(t, b, "/c/leader", "a", x)
	mine := dcs.Txn{
		If: []dcs.Cond{{Key: "/c/leader", Created: held, Session: x.ID(), Value: []byte("a")}},
		Do: []dcs.Write{{Key: "/c/status", Value: []byte("1")}},
	}
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		leader.Kill()
	}()
	confirmed := 0
	for ctx := within(t, limit); confirmed < 3; {
		one, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := x.Confirm(one, mine)
		cancel()
		switch {
		case errors.Is(err, dcs.ErrConflict), errors.Is(err, dcs.ErrSessionLost):
			t.Fatalf("an election took the key: %v", err)
		case err == nil && isClosed(killed):
			confirmed++
		case ctx.Err() != nil:
			t.Fatal(err)
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
