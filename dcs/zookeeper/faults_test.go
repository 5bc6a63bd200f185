package zookeeper_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestLostReply: the request went through and its answer did not: the fate is unknown, and never a conflict.
func TestLostReply(t *testing.T) {
	servertest.Slow(t)
	s := zktest.Start(t, zktest.Options{})[0]
	direct := open(t, zookeeper.Config{Hosts: []string{s.Addr}})
	p := proxy(t, s)
	b := open(t, zookeeper.Config{Hosts: []string{p.Addr()}})
	x := session(t, b, 4*time.Second)
	put(t, b, "members/a", "1", x)
	hints, err := direct.Watch(within(t, limit), folder)
	if err != nil {
		t.Fatal(err)
	}

	onWrite(p, func() { p.Set(faultproxy.DropReplies) })
	_, err = b.Apply(within(t, short), dcs.Txn{
		If: []dcs.Cond{{Key: folder + "leader", Absent: true}},
		Do: []dcs.Write{{Key: folder + "leader", Value: []byte("a"), Session: x}},
	})
	wantError(t, err, dcs.ErrUnknown, "")
	if h := <-hints; h.Key != "" && h.Key != folder+"leader" {
		t.Fatalf("hint of %+v", h)
	}
	if e := get(t, direct, "leader"); e == nil || e.Session != x.ID() {
		t.Fatalf("the write did not go through: %+v", e)
	}
	_, err = b.Read(within(t, short), folder)
	wantError(t, err, dcs.ErrUnavailable, "")

	p.Set(faultproxy.Pass)
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Session: x.ID()}}}); err != nil {
		t.Fatal(err)
	}
}

// TestNothingListens: what was certainly not sent is unavailable, not unknown, and says why.
func TestNothingListens(t *testing.T) {
	servertest.Slow(t)
	b := open(t, zookeeper.Config{Hosts: []string{servertest.FreeAddress(t), servertest.FreeAddress(t)}})
	const why = "nothing listens there: is ZooKeeper running?"
	_, err := b.Read(within(t, short), folder)
	wantError(t, err, dcs.ErrUnavailable, why)
	_, err = b.Apply(within(t, short), dcs.Txn{Do: []dcs.Write{{Key: folder + "k"}}})
	wantError(t, err, dcs.ErrUnavailable, why)
	if errors.Is(err, dcs.ErrUnknown) {
		t.Fatalf("unknown: %v", err)
	}
	_, err = b.OpenSession(within(t, short), time.Second)
	wantError(t, err, dcs.ErrUnavailable, why)
	_, err = b.Watch(within(t, short), folder)
	wantError(t, err, dcs.ErrUnavailable, why)

	patient, stop := context.WithCancel(within(t, limit))
	ended := make(chan error)
	go func() {
		_, err := b.Read(patient, folder)
		ended <- err
	}()
	for range 2 { // one makes the connection for all: who waits for that is told as much
		_, err = b.Read(within(t, short), folder)
		wantError(t, err, dcs.ErrUnavailable, why)
	}
	stop()
	wantError(t, <-ended, dcs.ErrUnavailable, why)
}

// TestUnreachable: who waits for a connection until the time is over is told where to, and what may be in the way.
func TestUnreachable(t *testing.T) {
	servertest.Slow(t)
	where := servertest.Unreachable(t)
	for _, d := range []time.Duration{short, 6 * time.Second} { // an attempt to connect is given up after 5 s
		b := open(t, zookeeper.Config{Hosts: []string{where}})
		_, err := b.Read(within(t, d), folder)
		wantError(t, err, dcs.ErrUnavailable, "is the host up and its address right, does a firewall drop what is sent to it, or does the server hang?")
		if !strings.Contains(err.Error(), where) {
			t.Errorf("%q does not say where", err)
		}
	}
}

// TestFailover: whatever is wrong with the server in use, another one serves the request within its deadline, sessions move there with their
// keys, and watches end.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	servers := zktest.Start(t, zktest.Options{Members: 3, Config: []string{"maxSessionTimeout=60000"}})
	for name, fault := range map[string]faultproxy.Mode{
		"gone": faultproxy.Cut, "silent": faultproxy.HalfOpen, "deaf": faultproxy.DropReplies,
	} {
		t.Run(name, func(t *testing.T) {
			first := proxy(t, servers[0])
			b := openAt(t, first, servers[1].Addr, servers[2].Addr)
			x := session(t, b, 30*time.Second)
			put(t, b, "leader", "a", x)
			hints, err := b.Watch(within(t, limit), folder)
			if err != nil {
				t.Fatal(err)
			}
			first.Set(fault)
			if _, err := b.Read(within(t, limit), folder); err != nil {
				t.Fatal(err)
			}
			closed(t, hints)
			confirm := dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Value: []byte("a"), Session: x.ID()}}}
			if _, err := x.Confirm(within(t, limit), confirm); err != nil {
				t.Fatal(err)
			}
			again, err := b.Watch(within(t, limit), folder)
			if err != nil {
				t.Fatal(err)
			}
			put(t, b, "leader", "b", x)
			if h := <-again; h.Key != folder+"leader" {
				t.Fatalf("hint of %q", h.Key)
			}
		})
	}
}

// openAt opens a backend that uses the first server. On a busy machine another one may have answered earlier: then again.
func openAt(t *testing.T, first *faultproxy.Proxy, others ...string) *zookeeper.Backend {
	t.Helper()
	for {
		b := open(t, zookeeper.Config{Hosts: append([]string{first.Addr()}, others...), InOrder: true})
		read := func() int64 {
			if _, err := b.Read(within(t, limit), folder); err != nil {
				t.Fatal(err)
			}
			asked, _ := first.Bytes()
			return asked
		}
		if before := read(); read() > before {
			return b
		}
	}
}

// TestLeaderOfZooKeeperDies: while members die one after the other and come back, a session that is confirmed again and again is never told that
// it has lost anything.
func TestLeaderOfZooKeeperDies(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts three servers")
	}
	servers := zktest.Start(t, zktest.Options{Members: 3, Config: []string{"maxSessionTimeout=120000"}})
	b := open(t, zookeeper.Config{Hosts: zktest.Addrs(servers)})
	x := session(t, b, 100*time.Second)
	put(t, b, "leader", "a", x)
	tx := dcs.Txn{
		If: []dcs.Cond{{Key: folder + "leader", Created: get(t, b, "leader").Created, Session: x.ID()}},
		Do: []dcs.Write{{Key: folder + "status", Value: []byte("1")}},
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	var confirmed atomic.Int32
	go func() {
		defer close(ended)
		for {
			_, err := x.Confirm(within(t, limit), tx)
			if errors.Is(err, dcs.ErrConflict) || errors.Is(err, dcs.ErrSessionLost) {
				t.Errorf("confirmation: %v", err)
			}
			if err == nil {
				confirmed.Add(1)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range servers {
		for _, s := range servers {
			if s.Leads(within(t, limit)) {
				s.Kill()
				get(t, b, "leader") // another leads now
				if err := s.Restart(within(t, limit)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	close(stop)
	<-ended
	if confirmed.Load() == 0 {
		t.Error("nothing was confirmed in the meantime")
	}
	if _, err := x.Confirm(within(t, limit), tx); err != nil {
		t.Fatal(err)
	}
}

// TestMajorityLost: without a majority nothing is answered, and nothing is claimed; with it, everything goes on.
func TestMajorityLost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	servers := zktest.Start(t, zktest.Options{Members: 3, Config: []string{"maxSessionTimeout=120000"}})
	b := open(t, zookeeper.Config{Hosts: zktest.Addrs(servers)})
	x := session(t, b, 100*time.Second)
	put(t, b, "leader", "a", x)
	servers[1].Kill()
	servers[2].Kill()
	_, err := b.Read(within(t, short), folder)
	wantError(t, err, dcs.ErrUnavailable, "")
	_, err = b.Apply(within(t, short), dcs.Txn{Do: []dcs.Write{{Key: folder + "leader", Value: []byte("b"), Session: x}}})
	if !errors.Is(err, dcs.ErrUnknown) && !errors.Is(err, dcs.ErrUnavailable) {
		t.Fatalf("write to a minority: %v", err)
	}
	_, err = x.Confirm(within(t, short), dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Value: []byte("b")}}})
	if !errors.Is(err, dcs.ErrUnknown) && !errors.Is(err, dcs.ErrUnavailable) {
		t.Fatalf("confirmation by a minority: %v", err)
	}
	if err := servers[1].Restart(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Session: x.ID()}}}); err != nil {
		t.Fatal(err)
	}
}

// TestWiped: a store whose data is gone knows neither key nor session. What it says about the key is no answer, its name is another one, and a
// keepalive finds out that another session is needed (safety 2.7). A backup that is put back is another store, too.
func TestWiped(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	s := zktest.Start(t, zktest.Options{})[0]
	b := open(t, zookeeper.Config{Hosts: []string{s.Addr}})
	put(t, b, "config", "{}", nil)
	s.Kill()
	backup := t.TempDir() + "/backup"
	if err := s.Save(backup); err != nil {
		t.Fatal(err)
	}
	lose := func(t *testing.T, how func() error) {
		if s.Leads(within(t, limit)) {
			s.Kill()
		}
		if err := how(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(within(t, limit)); err != nil {
			t.Fatal(err)
		}
	}
	lose(t, func() error { return nil })
	for name, how := range map[string]func() error{"wiped": s.Wipe, "restored": func() error { return s.Load(backup) }} {
		t.Run(name, func(t *testing.T) {
			x := session(t, b, 4*time.Second)
			for range 5 {
				put(t, b, "leader", "a", x)
			}
			snap, err := b.Read(within(t, limit), folder)
			if err != nil {
				t.Fatal(err)
			}
			mine := dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Session: x.ID()}}}
			lose(t, how)
			_, err = x.Confirm(within(t, limit), mine)
			wantError(t, err, dcs.ErrUnknown, "")
			_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: folder + "leader", Value: []byte("a"), Session: x}}})
			wantError(t, err, dcs.ErrUnknown, "")
			if _, err := x.KeepAlive(within(t, limit)); !errors.Is(err, dcs.ErrSessionLost) {
				t.Fatalf("keepalive: %v", err)
			}
			now, err := b.Read(within(t, limit), folder)
			if err != nil {
				t.Fatal(err)
			}
			if now.StoreID == snap.StoreID || now.StoreID == "" {
				t.Fatalf("the store was %q and is %q", snap.StoreID, now.StoreID)
			}
			y := session(t, b, 4*time.Second)
			put(t, b, "leader", "a", y)
		})
	}
}

// TestSessionExpires: the session ends when nobody keeps it alive, and what is said then is final.
func TestSessionExpires(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	s := zktest.Start(t, zktest.Options{})[0]
	b := open(t, zookeeper.Config{Hosts: []string{s.Addr}})
	x := session(t, b, time.Second)
	put(t, b, "leader", "a", x)
	hints, err := b.Watch(within(t, limit), folder)
	if err != nil {
		t.Fatal(err)
	}
	for range hints {
		break // the end of the session is all that happens
	}
	if e := get(t, b, "leader"); e != nil {
		t.Fatalf("the leader key is still there: %+v", e)
	}
	_, err = x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Session: x.ID()}}})
	wantError(t, err, dcs.ErrSessionLost, "")
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: folder + "leader", Value: []byte("a"), Session: x}}})
	wantError(t, err, dcs.ErrSessionLost, "")
	if _, err := x.KeepAlive(within(t, limit)); !errors.Is(err, dcs.ErrSessionLost) {
		t.Fatal(err)
	}
}

// TestOtherOwner: a key of the right name and value under another session is not ours, and moving it to ours is one transaction (safety 1.3).
func TestOtherOwner(t *testing.T) {
	s := zktest.Start(t, zktest.Options{})[0]
	b := open(t, zookeeper.Config{Hosts: []string{s.Addr}})
	old, fresh := session(t, b, 4*time.Second), session(t, b, 4*time.Second)
	put(t, b, "leader", "a", old)
	_, err := fresh.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Session: fresh.ID(), Value: []byte("a")}}})
	wantError(t, err, dcs.ErrConflict, "")
	before := get(t, b, "leader")
	a, err := b.Apply(within(t, limit), dcs.Txn{
		If: []dcs.Cond{{Key: folder + "leader", Created: before.Created, Session: old.ID()}},
		Do: []dcs.Write{
			{Key: folder + "leader", Value: []byte("a"), Session: fresh},
			{Key: folder + "members/a", Value: []byte("{}"), Session: fresh},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	e := get(t, b, "leader")
	if e == nil || e.Session != fresh.ID() || e.Created != a.Version || e.Created == before.Created {
		t.Fatalf("after the move: %+v, before it %+v", e, before)
	}
}
