package dcs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ttl = 30 * time.Second

// world is a store with a clock of its own, and clients on it.
type world struct {
	*testing.T
	store   *memory.Store
	now     time.Time
	changed func(key string)
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.store = memory.New(memory.Options{
		Now: func() time.Time { return w.now },
		OnChange: func(h dcs.Hint) {
			key := h.Key
			if w.changed != nil {
				w.changed(strings.TrimPrefix(key, folder))
			}
		},
	})
	return w
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d); w.store.Tick() }

// node is a client and what it asked of the store.
type node struct {
	*dcs.Client
	w     *world
	name  string
	asked []string // kinds of requests since the last call of cost
	fate  func(n int, op memory.Op) memory.Fate
	n     int
}

func (w *world) node(name string) *node {
	n := &node{w: w, name: name}
	b := w.store.Backend()
	b.Inject(func(op memory.Op) memory.Fate {
		n.asked = append(n.asked, op.Kind)
		n.n++
		if n.fate != nil {
			return n.fate(n.n, op)
		}
		return memory.Served
	})
	n.Client = dcs.NewClient(b, dcs.Options{Scope: "batman", Name: name})
	return n
}

func member(role dcs.Role) dcs.MemberData {
	return dcs.MemberData{ConnURL: "c", APIURL: "a", State: dcs.StateRunning, Role: role, Version: "4.1.4"}
}

// cost tells which requests were made since the last call.
func (n *node) cost() string {
	s := strings.Join(n.asked, " ")
	n.asked = nil
	return s
}

func (n *node) alive(d time.Duration) dcs.Alive {
	n.w.Helper()
	a, err := n.KeepAlive(n.w.Context(), dcs.KeepAlive{TTL: d, Member: member(dcs.RoleReplica)})
	if err != nil {
		n.w.Fatalf("%s: keepalive: %v", n.name, err)
	}
	return a
}

func (n *node) load() dcs.Cluster {
	n.w.Helper()
	c, err := n.Load(n.w.Context())
	if err != nil {
		n.w.Fatal(err)
	}
	return c
}

func (n *node) acquire() dcs.Held {
	n.w.Helper()
	h, err := n.Acquire(n.w.Context(), dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}, Member: member(dcs.RolePromoted)})
	if err != nil {
		n.w.Fatalf("%s: acquire: %v", n.name, err)
	}
	return h
}

func (n *node) renew(h dcs.Held, d time.Duration) (dcs.Held, error) {
	return n.Renew(n.w.Context(), dcs.Renew{Leader: h.Leader, TTL: d, Member: member(dcs.RolePrimary)})
}

func (w *world) is(err, target error) {
	w.Helper()
	if !errors.Is(err, target) {
		w.Fatalf("got %v, want %v", err, target)
	}
}

func (w *world) equal(got, want any) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestKeepAliveCost(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	if got := a.alive(ttl); !got.Opened || got.TTL != ttl {
		t.Fatalf("first: %+v", got)
	}
	w.equal(a.cost(), "open read apply")
	for range 3 {
		w.pass(10 * time.Second)
		if got := a.alive(ttl); got.Opened || got.TTL != ttl || got.Version == 0 {
			t.Fatalf("next: %+v", got)
		}
		w.equal(a.cost(), "keepalive")
	}
	if err := a.PutMember(t.Context(), member(dcs.RoleReplica)); err != nil {
		t.Fatal(err)
	}
	w.equal(a.cost(), "") // the same data
	if err := a.PutMember(t.Context(), member(dcs.RolePrimary)); err != nil {
		t.Fatal(err)
	}
	w.equal(a.cost(), "apply")
	a.load()
	a.cost()
	a.alive(ttl) // other data than published
	w.equal(a.cost(), "keepalive apply")
}

func TestKeepAliveRepairs(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	first := a.alive(ttl)
	w.store.Delete(folder + "members/a") // an operator
	a.load()
	a.cost()
	a.alive(ttl)
	w.equal(a.cost(), "keepalive apply")
	w.store.EndSession(first.Session)
	a.cost()
	if got := a.alive(ttl); !got.Opened || got.Session == first.Session {
		t.Fatalf("after the loss of the session: %+v", got)
	}
	w.equal(a.cost(), "keepalive open apply")
	w.equal(a.load().Members[0].Meta.Session, w.store.Sessions()[0])
}

// A standby's changed ttl: the member key is never gone, and the old session is closed.
func TestKeepAliveOtherTTL(t *testing.T) {
	for _, c := range eachFault(t, func(n *node) { _, _ = n.KeepAlive(n.w.Context(), dcs.KeepAlive{TTL: 2 * ttl}) }) {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.node("a")
			a.alive(ttl)
			watcher := w.node("w")
			w.changed = func(key string) {
				if len(watcher.load().Members) != 1 {
					t.Error("the member key was gone for a moment")
				}
			}
			a.fate = c.fate(a)
			_, err := a.KeepAlive(t.Context(), dcs.KeepAlive{TTL: 2 * ttl, Member: member(dcs.RoleReplica)})
			a.fate = nil
			if (err != nil) && !errors.Is(err, dcs.ErrUnknown) && !errors.Is(err, dcs.ErrUnavailable) {
				t.Fatal(err)
			}
			got := a.alive(2 * ttl)
			w.equal(got.TTL, 2*ttl)
			w.equal(a.load().Members[0].Meta.Session, got.Session)
			w.changed = nil
			for range 3 { // what could not be closed, or is not even known, expires
				w.pass(ttl)
				a.alive(2 * ttl)
			}
			w.equal(w.store.Sessions(), []string{got.Session})
		})
	}
}

// faultCase is one request of a chain that goes wrong in one way.
type faultCase struct {
	name string
	fate func(n *node) func(int, memory.Op) memory.Fate
}

// eachFault counts the requests that do makes of an established standby (or leader) and returns a case for each and each fate.
func eachFault(t *testing.T, do func(*node)) []faultCase {
	n := newWorld(t).node("a")
	n.alive(ttl)
	n.cost()
	do(n)
	kinds := strings.Fields(n.cost())
	cases := []faultCase{{"none", func(*node) func(int, memory.Op) memory.Fate { return nil }}}
	for i, kind := range append(kinds, "more", "more", "more") {
		for fate, name := range map[memory.Fate]string{memory.Refused: "refused", memory.RequestLost: "request lost", memory.ReplyLost: "reply lost"} {
			cases = append(cases, faultCase{fmt.Sprintf("%d %s %s", i+1, kind, name), func(n *node) func(int, memory.Op) memory.Fate {
				start := n.n
				return func(at int, _ memory.Op) memory.Fate {
					if at == start+i+1 {
						return fate
					}
					return memory.Served
				}
			}})
		}
	}
	return cases
}

func TestAcquireOneWinner(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("a"), w.node("b")
	a.alive(ttl)
	alive := b.alive(ttl)
	b.cost()
	h := b.acquire()
	w.equal(b.cost(), "confirm")
	w.equal(h.TTL, ttl)
	w.equal(h.Leader.Session, alive.Session)
	_, err := a.Acquire(t.Context(), dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}})
	w.is(err, dcs.ErrConflict)
	c := a.load()
	w.equal(*c.Leader, dcs.Leader{Name: "b", Meta: h.Leader})
	w.equal(c.Members[1].Data.Role, dcs.RolePromoted) // in the same transaction
	w.equal(c.Members[1].Meta.Version, c.Leader.Meta.Version)
}

// TestAcquireExpect holds safety claim 3.6: a decision that rests on what has changed since does not win.
func TestAcquireExpect(t *testing.T) {
	all := map[string]string{"sync": `{"leader":"x"}`, "failsafe": "{}", "history": "[]", "initialize": "7543210987654321001"}
	for key, value := range all {
		t.Run(key, func(t *testing.T) {
			w := newWorld(t)
			a := w.node("a")
			a.alive(ttl)
			expect := func() dcs.Expect {
				c := a.load()
				e := dcs.Expect{Failsafe: c.FailsafeVersion, History: c.HistoryVersion}
				if c.Sync != nil {
					e.Sync = c.Sync.Version
				}
				if c.Initialize != nil {
					e.InitializeCreated = c.Initialize.Entry.Created
				}
				return e
			}
			try := func(e dcs.Expect) error {
				_, err := a.Acquire(t.Context(), dcs.Acquire{Expect: e})
				return err
			}
			old := expect()
			w.store.Put(folder+key, []byte(value))
			w.is(try(old), dcs.ErrConflict) // created
			old = expect()
			w.store.Delete(folder + key)
			w.is(try(old), dcs.ErrConflict) // deleted
			w.store.Put(folder+key, []byte(value))
			w.is(try(old), dcs.ErrConflict) // created anew
			old = expect()
			if key != "initialize" { // whose life counts, not its versions
				w.store.Put(folder+key, []byte(value))
				w.is(try(old), dcs.ErrConflict) // written
			}
			if err := try(expect()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Keys that are there and mean nothing must not keep the cluster without a leader for ever.
func TestAcquireOverEmptyKeys(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	a.alive(ttl)
	w.store.Put(folder+"leader", nil)
	w.store.Put(folder+"sync", []byte(`{"leader":null}`))
	c := a.load()
	if c.Leader != nil || c.Sync != nil {
		t.Fatalf("%+v", c)
	}
	h := a.acquire()
	w.equal(a.load().Leader, &dcs.Leader{Name: "a", Meta: h.Leader})
	if _, err := a.renew(h, ttl); err != nil {
		t.Fatal(err)
	}
}

func TestAcquireOfUnknownFate(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	alive := a.alive(ttl)
	a.fate = func(_ int, op memory.Op) memory.Fate {
		if op.Kind == "confirm" {
			return memory.ReplyLost
		}
		return memory.Served
	}
	_, err := a.Acquire(t.Context(), dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}})
	w.is(err, dcs.ErrUnknown)
	a.fate = nil
	l := a.load().Leader
	w.equal(l.Meta.Session, alive.Session)
	if _, err := a.renew(dcs.Held{Leader: l.Meta}, ttl); err != nil {
		t.Fatal(err)
	}
}

// TestTakeover holds safety claim 1.6: an earlier run's keys are re-bound, and only by who has the proof.
func TestTakeover(t *testing.T) {
	w := newWorld(t)
	first := w.node("a")
	first.alive(ttl)
	first.acquire()
	again := w.node("a") // the agent was killed and started again
	c := again.load()
	alive := again.alive(ttl)
	if alive.Session == c.Leader.Meta.Session {
		t.Fatal("the new run has the old session")
	}
	if err := again.PutMember(t.Context(), member(dcs.RolePrimary)); err != nil {
		t.Fatal(err)
	}
	w.equal(again.load().Members[0].Meta.Session, c.Leader.Meta.Session) // the proof still stands
	take := dcs.Acquire{Takeover: c.Leader, Member: member(dcs.RolePrimary)}
	h, err := again.Acquire(t.Context(), take)
	if err != nil {
		t.Fatal(err)
	}
	w.equal(h.Leader.Session, alive.Session)
	w.pass(ttl - time.Second)
	if h, err = again.renew(h, ttl); err != nil {
		t.Fatal(err)
	}
	w.pass(ttl - time.Second) // the old session has expired
	c = again.load()
	w.equal(*c.Leader, dcs.Leader{Name: "a", Meta: h.Leader})
	w.equal(c.Members[0].Meta.Session, alive.Session)
	_, err = again.Acquire(t.Context(), take)
	w.is(err, dcs.ErrConflict)
}

func TestTakeoverWithoutProof(t *testing.T) {
	w := newWorld(t)
	first := w.node("a")
	first.alive(ttl)
	first.acquire()
	again := w.node("a")
	c := again.load()
	again.alive(ttl)
	w.store.Put(folder+"members/a", []byte("{}")) // the member key is under another session, or none
	_, err := again.Acquire(t.Context(), dcs.Acquire{Takeover: c.Leader})
	w.is(err, dcs.ErrConflict)
	w.pass(ttl - 1)
	again.alive(ttl) // nothing left to protect
	w.pass(time.Second)
	c = again.load()
	if c.Leader != nil || len(c.Members) != 1 || c.Members[0].Meta.Session == "" {
		t.Fatalf("after expiry: %+v", c)
	}
}

func TestRenewCost(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	a.alive(ttl)
	h := a.acquire()
	status := &dcs.Status{Optime: 5, Slots: map[string]uint64{"b": 4}}
	renew := func(s *dcs.Status, failsafe map[string]string) {
		t.Helper()
		var err error
		h, err = a.Renew(t.Context(), dcs.Renew{Leader: h.Leader, TTL: ttl, Status: s, Failsafe: failsafe})
		if err != nil {
			t.Fatal(err)
		}
	}
	renew(status, map[string]string{"a": "u"})
	a.cost()
	before := a.load().Version
	a.cost()
	for range 3 {
		w.pass(10 * time.Second)
		renew(status, map[string]string{"a": "u"})
		w.equal(a.cost(), "confirm")
	}
	renew(nil, nil)
	w.equal(a.cost(), "confirm")
	w.equal(a.load().Version, before) // nothing was written
	renew(&dcs.Status{Optime: 6}, nil)
	c := a.load()
	w.equal(c.Status, dcs.Status{Optime: 6, Slots: map[string]uint64{"b": 4}}) // silence about slots keeps them
	w.equal(c.Failsafe, map[string]string{"a": "u"})
	renew(&dcs.Status{Optime: 6, Slots: map[string]uint64{}}, nil)
	w.equal(a.load().Status, dcs.Status{Optime: 6})
	w.store.Put(folder+"status", []byte("1")) // somebody else's
	a.load()
	renew(&dcs.Status{Optime: 6}, nil)
	w.equal(a.load().Status, dcs.Status{Optime: 6})
}

// TestRenewWiped holds safety claim 2.7: a store that was wiped, or another one, knows nothing of the key, and its answer is no no.
func TestRenewWiped(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	a.alive(ttl)
	h := a.acquire()
	w.store.Wipe()
	_, err := a.Renew(t.Context(), dcs.Renew{Leader: h.Leader, TTL: ttl})
	w.is(err, dcs.ErrUnknown)
	w.is(a.PutMember(t.Context(), dcs.MemberData{State: "running"}), dcs.ErrUnknown)
	a.alive(ttl) // another session, in the store as it is now
	if c := a.load(); len(c.Members) != 1 || c.Leader != nil {
		t.Fatalf("the store holds %+v", c)
	}
}

// TestRenewNo holds safety claim 1.5: gone, created anew and another's are a definite no, at once.
func TestRenewNo(t *testing.T) {
	cases := map[string]struct {
		do   func(w *world, h dcs.Held)
		want error
	}{
		"deleted":       {func(w *world, _ dcs.Held) { w.store.Delete(folder + "leader") }, dcs.ErrConflict},
		"overwritten":   {func(w *world, _ dcs.Held) { w.store.Put(folder+"leader", []byte("a")) }, dcs.ErrConflict},
		"session ended": {func(w *world, h dcs.Held) { w.store.EndSession(h.Leader.Session) }, dcs.ErrSessionLost},
		"expired":       {func(w *world, h dcs.Held) { w.pass(ttl) }, dcs.ErrSessionLost},
		"another's": {func(w *world, _ dcs.Held) {
			w.store.Delete(folder + "leader")
			b := w.node("b")
			b.alive(ttl)
			b.acquire()
		}, dcs.ErrConflict},
		"deleted, status": {func(w *world, _ dcs.Held) { w.store.Delete(folder + "leader") }, dcs.ErrConflict},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.node("a")
			a.alive(ttl)
			h := a.acquire()
			c.do(w, h)
			_, err := a.Renew(t.Context(), dcs.Renew{Leader: h.Leader, TTL: ttl, Status: &dcs.Status{Optime: 9}})
			w.is(err, c.want)
			if got := a.load().Status.Optime; got != 0 {
				t.Fatalf("a leader no more wrote status %d", got)
			}
			_, err = a.renew(h, ttl)
			if !errors.Is(err, dcs.ErrConflict) && !errors.Is(err, dcs.ErrSessionLost) {
				t.Fatalf("the second answer is another: %v", err)
			}
			a.alive(ttl) // life goes on
			if _, err = a.renew(h, ttl); !errors.Is(err, dcs.ErrConflict) {
				t.Fatalf("after a keepalive: %v", err)
			}
		})
	}
}

func TestRenewUnknown(t *testing.T) {
	for _, fate := range []memory.Fate{memory.Refused, memory.RequestLost, memory.ReplyLost} {
		w := newWorld(t)
		a := w.node("a")
		a.alive(ttl)
		h := a.acquire()
		a.fate = func(int, memory.Op) memory.Fate { return fate }
		r := dcs.Renew{Leader: h.Leader, TTL: ttl, Status: &dcs.Status{Optime: 9}}
		_, err := a.Renew(t.Context(), r)
		if errors.Is(err, dcs.ErrConflict) || errors.Is(err, dcs.ErrSessionLost) || err == nil {
			t.Fatalf("fate %d: %v", fate, err)
		}
		a.fate = nil
		if _, err = a.Renew(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		w.equal(a.load().Status.Optime, uint64(9))
	}
}

// TestRenewOtherTTL holds safety claim 1.3, with every single request of the chain going wrong in every way: the leader
// key is never gone, never answered with a no, and ends up under one session of the new TTL.
func TestRenewOtherTTL(t *testing.T) {
	cases := eachFault(t, func(n *node) {
		if _, err := n.renew(n.acquire(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.node("a")
			a.alive(ttl)
			h := a.acquire()
			watcher := w.node("w")
			w.changed = func(key string) {
				if l := watcher.load(); l.Leader == nil || len(l.Members) != 1 {
					t.Errorf("a key was gone for a moment: %+v", l)
				}
			}
			a.fate = c.fate(a)
			var err error
			var got dcs.Held
			for try := range 4 {
				if got, err = a.renew(h, 10*time.Second); err == nil && got.TTL == 10*time.Second {
					break
				}
				if errors.Is(err, dcs.ErrConflict) || errors.Is(err, dcs.ErrSessionLost) {
					t.Fatalf("try %d: a no that is none: %v", try, err)
				}
				if err == nil {
					h = got
				}
			}
			if err != nil || got.TTL != 10*time.Second {
				t.Fatalf("never renewed: %+v, %v", got, err)
			}
			a.fate = nil
			l := a.load()
			w.equal(*l.Leader, dcs.Leader{Name: "a", Meta: got.Leader})
			w.equal(l.Members[0].Meta.Session, got.Leader.Session)
			if _, err := a.renew(got, 10*time.Second); err != nil {
				t.Fatal(err)
			}
			if err := a.PutMember(t.Context(), member(dcs.RolePrimary)); err != nil {
				t.Fatal(err)
			}
			for range 5 { // sessions that could not be closed expire
				w.pass(9 * time.Second)
				if _, err := a.renew(got, 10*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			w.equal(w.store.Sessions(), []string{got.Leader.Session})
		})
	}
}

// A re-bind whose write arrives after its answer was given up, at the worst moment.
func TestRebindArrivesLate(t *testing.T) {
	for late := range 8 {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			w := newWorld(t)
			a := w.node("a")
			a.alive(ttl)
			h := a.acquire()
			var held *dcs.Txn
			messenger := w.store.Backend()
			lost, after := false, 0
			a.fate = func(_ int, op memory.Op) memory.Fate {
				if held != nil {
					if after == late {
						_, _ = messenger.Apply(t.Context(), *held)
					}
					after++
				}
				if op.Kind == "apply" && !lost {
					lost, held = true, op.Txn
					return memory.RequestLost
				}
				return memory.Served
			}
			gone := false
			w.changed = func(string) { gone = gone || w.node("x").load().Leader == nil }
			_, err := a.renew(h, 2*ttl)
			w.is(err, dcs.ErrUnknown)
			for range 4 {
				got, err := a.renew(h, 2*ttl)
				if errors.Is(err, dcs.ErrConflict) || errors.Is(err, dcs.ErrSessionLost) {
					t.Fatalf("a no that is none: %v", err)
				}
				if err == nil {
					h = got
				}
			}
			w.equal(h.TTL, 2*ttl)
			w.equal(a.load().Leader.Meta, h.Leader)
			if gone {
				t.Fatal("the leader key was gone for a moment")
			}
		})
	}
}

// TestRebindWithoutRoom: a store whose room ends while the keys are to move takes no write that would settle the move, and needs none: its refusal
// says that the attempt is over, and a read what became of it. The leader goes on under the session that has the key.
func TestRebindWithoutRoom(t *testing.T) {
	for fate, took := range map[memory.Fate]bool{memory.Full: false, memory.FullNow: true} {
		t.Run(fmt.Sprint("carried out ", took), func(t *testing.T) {
			w := newWorld(t)
			a := w.node("a")
			a.alive(ttl)
			h := a.acquire()
			full := false
			a.fate = func(_ int, op memory.Op) memory.Fate {
				writes := op.Kind == "open" || op.Txn != nil && len(op.Txn.Do) > 0
				switch {
				case full && writes:
					return memory.Full
				case op.Kind == "apply" && writes:
					full = true
					return fate
				}
				return memory.Served
			}
			_, err := a.renew(h, 2*ttl)
			w.is(err, dcs.ErrSettled)
			want := ttl
			if took {
				want = 2 * ttl
			}
			for range 5 {
				if h, err = a.renew(h, 2*ttl); err != nil {
					t.Fatalf("without room: %v", err)
				}
				w.equal(h.TTL, want)
				w.equal(a.load().Leader.Meta, h.Leader)
				w.pass(ttl / 2)
			}
			a.fate = nil
			if h, err = a.renew(h, 2*ttl); err != nil || h.TTL != 2*ttl {
				t.Fatalf("with room again: %+v, %v", h, err)
			}
			w.equal(w.store.Sessions(), []string{h.Leader.Session})
		})
	}
}

// While the leader key is ours, KeepAlive leaves the session alone; when it is not any more, it follows the ttl.
func TestKeepAliveOfALeader(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	first := a.alive(ttl)
	h := a.acquire()
	got := a.alive(10 * time.Second)
	w.equal(got, dcs.Alive{Session: first.Session, TTL: 10 * time.Second, Version: got.Version})
	if err := a.Release(t.Context(), dcs.Release{Leader: h.Leader, Member: member(dcs.RoleDemoted)}); err != nil {
		t.Fatal(err)
	}
	if got := a.alive(10 * time.Second); !got.Opened {
		t.Fatalf("after the release: %+v", got)
	}
}

// TestRelease holds safety claim 7.4: one transaction.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	a.alive(ttl)
	h := a.acquire()
	a.cost()
	err := a.Release(t.Context(), dcs.Release{Leader: h.Leader, Status: &dcs.Status{Optime: 99}, Member: member(dcs.RoleDemoted)})
	if err != nil {
		t.Fatal(err)
	}
	w.equal(a.cost(), "apply")
	c := a.load()
	if c.Leader != nil || c.Status.Optime != 99 || c.Members[0].Data.Role != dcs.RoleDemoted {
		t.Fatalf("after the release: %+v", c)
	}
	b := w.node("b")
	b.alive(ttl)
	hb := b.acquire()
	w.is(a.Release(t.Context(), dcs.Release{Leader: h.Leader, Status: &dcs.Status{Optime: 100}}), dcs.ErrConflict)
	c = b.load()
	w.equal(c.Leader.Meta, hb.Leader)
	w.equal(c.Status.Optime, uint64(99))
}

func TestCloseKeepsALeaderKey(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("a"), w.node("b")
	a.alive(ttl)
	b.alive(ttl)
	a.acquire()
	for _, n := range []*node{a, b, b} {
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c := w.node("c").load()
	if c.Leader == nil || len(c.Members) != 1 || c.Members[0].Name != "a" {
		t.Fatalf("after both were closed: %+v", c)
	}
	_, err := b.KeepAlive(t.Context(), dcs.KeepAlive{TTL: ttl})
	w.is(err, dcs.ErrUnavailable)
}

func TestWithoutASession(t *testing.T) {
	w := newWorld(t)
	tool := w.node("")
	tool.load()
	a := w.node("a")
	_, err := a.Acquire(t.Context(), dcs.Acquire{})
	w.is(err, dcs.ErrSessionLost)
	w.is(a.PutMember(t.Context(), dcs.MemberData{}), dcs.ErrSessionLost)
	_, err = a.renew(dcs.Held{Leader: dcs.Meta{Created: 1, Session: "x"}}, ttl)
	w.is(err, dcs.ErrSessionLost)
	if _, err := tool.KeepAlive(t.Context(), dcs.KeepAlive{TTL: ttl}); err == nil {
		t.Fatal("a client without a name has a session")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Load(ctx)
	w.is(err, dcs.ErrUnavailable)
	w.is(err, context.Canceled)
}

// After a write of unknown fate nothing is believed to be stored.
func TestUnknownWriteIsWrittenAgain(t *testing.T) {
	for _, fate := range []memory.Fate{memory.RequestLost, memory.ReplyLost} {
		w := newWorld(t)
		a := w.node("a")
		a.alive(ttl)
		a.fate = func(int, memory.Op) memory.Fate { return fate }
		w.is(a.PutMember(t.Context(), member(dcs.RoleDemoted)), dcs.ErrUnknown)
		a.fate = nil
		if err := a.PutMember(t.Context(), member(dcs.RoleReplica)); err != nil { // as it stood before
			t.Fatal(err)
		}
		w.equal(a.load().Members[0].Data.Role, dcs.RoleReplica)
	}
}

// An acquire of unknown fate may have made the session carry the leader key, which another ttl must not end.
func TestUnknownAcquireKeepsTheSession(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	first := a.alive(ttl)
	a.fate = func(int, memory.Op) memory.Fate { return memory.ReplyLost }
	_, err := a.Acquire(t.Context(), dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}})
	w.is(err, dcs.ErrUnknown)
	a.fate = nil
	w.equal(a.alive(2*ttl).Session, first.Session)
	w.equal(a.load().Leader.Meta.Session, first.Session)
}
