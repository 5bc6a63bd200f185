package zookeeper_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestFrozenFollower: a follower that freezes right after it has answered a write takes with it that the session was active: the session ends
// less than its TTL after that write was sent. What the session calls proven is never wrong (safety 2.4).
//
// It freezes a moment after the reply, in which the leader may ask, so a try may fail to show the early end.
func TestFrozenFollower(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	servers := zktest.Start(t, zktest.Options{Members: 3, Tick: 400 * time.Millisecond})
	var follower *zktest.Server
	var others []string
	for _, s := range servers {
		if follower == nil && !s.Leads(within(t, limit)) {
			follower = s
		} else {
			others = append(others, s.Addr)
		}
	}
	watcher := open(t, zookeeper.Config{Hosts: others})
	const tries = 6
	for i := range tries {
		b := open(t, zookeeper.Config{Hosts: []string{follower.Addr}})
		x := session(t, b, 4*time.Second)
		key := "members/" + string(rune('a'+i))
		put(t, b, key, "{}", x)
		created := get(t, watcher, key).Created
		if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: folder + key, Created: created, Session: x.ID()}}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(x.TTL() / 2) // the session grows old, which is what is measured
		sent := time.Now()
		if _, err := x.KeepAlive(within(t, limit)); err != nil {
			t.Fatal(err)
		}
		if err := follower.Pause(); err != nil {
			t.Fatal(err)
		}
		proven := time.Now().Add(-x.(dcs.Dated).Proven())
		ended := goneAt(t, watcher, key)
		if err := follower.Resume(); err != nil {
			t.Fatal(err)
		}
		t.Logf("timeout %s: ended %s after the last write was sent, %s after what was proven", x.TTL(), ended.Sub(sent), ended.Sub(proven))
		if !proven.Before(sent) {
			t.Fatal("the last write was taken for its own proof")
		}
		if ended.Sub(proven) < x.TTL() {
			t.Fatal("what was proven was wrong")
		}
		if ended.Sub(sent) < x.TTL() {
			return
		}
	}
	t.Fatalf("in %d tries the write before the freeze always counted", tries)
}

// goneAt waits until a key is gone and tells when that was heard.
func goneAt(t testing.TB, b dcs.Backend, key string) time.Time {
	t.Helper()
	for {
		hints, err := b.Watch(within(t, limit), folder)
		if err != nil {
			t.Fatal(err)
		}
		for at := time.Now(); ; at = time.Now() {
			if get(t, b, key) == nil {
				return at
			}
			if _, open := <-hints; !open {
				break
			}
		}
	}
}

// TestConfirmTakesATick: a confirmation is a pair of writes a tick apart, so a context that ends before leaves it unknown; one that comes through is
// proof of its first write.
func TestConfirmTakesATick(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	s := zktest.Start(t, zktest.Options{Tick: 600 * time.Millisecond})[0]
	b := open(t, zookeeper.Config{Hosts: []string{s.Addr}})
	x := session(t, b, 6*time.Second)
	put(t, b, "leader", "a", x)
	mine := dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Session: x.ID()}}}
	_, err := x.Confirm(within(t, 300*time.Millisecond), mine)
	if !errors.Is(err, dcs.ErrUnknown) && !errors.Is(err, dcs.ErrUnavailable) {
		t.Fatalf("a confirmation in half a tick: %v", err)
	}
	if p := x.(dcs.Paced).Pace(); p != (dcs.Pace{Takes: 600 * time.Millisecond}) {
		t.Fatalf("a confirmation is said to take %+v", p)
	}
	before := time.Now()
	if _, err := x.Confirm(within(t, limit), mine); err != nil {
		t.Fatal(err)
	}
	took := time.Since(before)
	if age := x.(dcs.Dated).Proven(); age > took+10*time.Millisecond || took < 600*time.Millisecond {
		t.Fatalf("confirmed in %s, and the proof is %s old", took, age)
	}
}

// TestGranted: ZooKeeper grants what it wants; what it granted is told, and that it differs is said.
func TestGranted(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	s := zktest.Start(t, zktest.Options{})[0] // a tick of 200 ms: 400 ms to 4 s
	for _, tc := range []struct{ ask, want time.Duration }{
		{100 * time.Millisecond, time.Second}, {2 * time.Second, 2 * time.Second}, {time.Minute, 4 * time.Second},
	} {
		var log bytes.Buffer
		b := open(t, zookeeper.Config{Hosts: []string{s.Addr}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		x := session(t, b, tc.ask)
		said := strings.Contains(log.String(), "grants another session timeout than the ttl")
		if x.TTL() != tc.want || said != (tc.ask != tc.want) {
			t.Errorf("asked for %s: granted %s, want %s; log:\n%s", tc.ask, x.TTL(), tc.want, log.String())
		}
	}
}

// TestTickNotTold: a server that does not answer `conf` leaves the tick to the configuration.
func TestTickNotTold(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	s := zktest.Start(t, zktest.Options{Config: []string{"4lw.commands.whitelist=mntr", "maxSessionTimeout=60000"}})[0]
	for tick, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Second: 5 * time.Second} {
		x := session(t, open(t, zookeeper.Config{Hosts: []string{s.Addr}, Tick: tick}), time.Second)
		if x.TTL() != want {
			t.Errorf("a tick of %s: granted %s, want %s", tick, x.TTL(), want)
		}
	}
}
