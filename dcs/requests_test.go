package dcs_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

const systemID = "7543210987654321001"

func TestInitialize(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("a"), w.node("b")
	_, err := a.Initialize(t.Context())
	w.is(err, dcs.ErrSessionLost) // it takes a session
	a.alive(ttl)
	b.alive(ttl)
	mine, err := a.Initialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Initialize(t.Context())
	w.is(err, dcs.ErrConflict)
	w.equal(*b.load().Initialize, mine)
	if err := a.CancelInitialize(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	theirs, err := b.Initialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.is(a.CancelInitialize(t.Context(), mine), dcs.ErrConflict) // frozen for a while
	w.is(a.SetInitialize(t.Context(), &mine, systemID), dcs.ErrConflict)
	w.is(a.SetInitialize(t.Context(), nil, systemID), dcs.ErrConflict)
	if err := b.SetInitialize(t.Context(), &theirs, systemID); err != nil {
		t.Fatal(err)
	}
	w.equal(a.load().Initialize.SystemID, systemID)
	w.is(b.CancelInitialize(t.Context(), theirs), dcs.ErrConflict) // it is done, not to be cancelled
	if err := b.SetInitialize(t.Context(), nil, "12"); err == nil {
		t.Fatal("12 was taken for a system identifier")
	}
}

// A founder who dies leaves the right to others; one who lives keeps it, whatever the ttl is meanwhile; and what is done stays.
func TestInitializeLivesWithItsFounder(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("a"), w.node("b")
	first := a.alive(ttl)
	b.alive(ttl)
	if _, err := a.Initialize(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.equal(a.alive(2*ttl).Session, first.Session) // another session would end the right
	w.pass(ttl)
	b.alive(ttl)
	theirs, err := b.Initialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetInitialize(t.Context(), &theirs, systemID); err != nil {
		t.Fatal(err)
	}
	if got := b.alive(2 * ttl); !got.Opened {
		t.Fatalf("the other ttl is not taken after the founding: %+v", got)
	}
	w.pass(4 * ttl)
	if i := a.load().Initialize; i == nil || i.SystemID != systemID || i.Entry.Session != "" {
		t.Fatalf("after everybody's end: %+v", i)
	}
}

func TestPutConfig(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	ctx := t.Context()
	if err := a.PutConfig(ctx, 0, []byte(`{ "ttl": 30 }`)); err != nil {
		t.Fatal(err)
	}
	c := a.load().Config
	w.equal(string(c.Raw), `{"ttl":30}`)
	w.is(a.PutConfig(ctx, 0, []byte(`{}`)), dcs.ErrConflict)
	if err := a.PutConfig(ctx, c.Version, []byte(`{"ttl":20}`)); err != nil {
		t.Fatal(err)
	}
	err := a.PutConfig(ctx, c.Version, []byte(`{"ttl":40}`))
	w.is(err, dcs.ErrConflict)
	var e *dcs.Error
	if !errors.As(err, &e) || e.Hint == "" || !strings.Contains(err.Error(), "/service/batman/config") {
		t.Fatalf("error %#v", err)
	}
	for _, bad := range []string{"", "[]", "null", "{", `{"a":NaN}`} {
		if err := a.PutConfig(ctx, 0, []byte(bad)); err == nil {
			t.Errorf("%q was taken for a configuration", bad)
		}
	}
	w.store.Put(folder+"config", []byte("garbage")) // shown as absent, so it can be replaced as absent
	if err := a.PutConfig(ctx, 0, []byte(`{"ttl":50}`)); err != nil {
		t.Fatal(err)
	}
}

func TestFailoverRequest(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	ctx := t.Context()
	if err := a.PutFailover(ctx, 0, dcs.Failover{}); err == nil {
		t.Fatal("a request that names nobody was written")
	}
	if err := a.PutFailover(ctx, 0, dcs.Failover{Leader: "a", Candidate: "b"}); err != nil {
		t.Fatal(err)
	}
	f := a.load().Failover
	w.equal(*f, dcs.Failover{Version: f.Version, Leader: "a", Candidate: "b"})
	w.is(a.PutFailover(ctx, 0, dcs.Failover{Candidate: "c"}), dcs.ErrConflict)
	if err := a.PutFailover(ctx, f.Version, dcs.Failover{Candidate: "c"}); err != nil {
		t.Fatal(err)
	}
	w.is(a.ClearFailover(ctx, f.Version), dcs.ErrConflict)
	f = a.load().Failover
	if err := a.ClearFailover(ctx, f.Version); err != nil {
		t.Fatal(err)
	}
	if c := a.load(); c.Failover != nil || len(c.Problems) > 0 {
		t.Fatalf("after clearing: %+v", c)
	}
	if err := a.PutFailover(ctx, 0, dcs.Failover{Candidate: "c"}); err != nil { // over the empty one
		t.Fatal(err)
	}
	w.is(a.DeleteFailover(ctx, f.Version), dcs.ErrConflict)
	if err := a.DeleteFailover(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if err := a.ClearFailover(ctx, 0); err != nil {
		t.Fatal(err)
	}
	w.equal(a.load().Failover, (*dcs.Failover)(nil))
}

func TestPutHistory(t *testing.T) {
	w := newWorld(t)
	a := w.node("a")
	a.alive(ttl)
	h := a.acquire()
	lines := dcs.History{{Timeline: 1, LSN: 5, Reason: "r", Timestamp: "2026-03-01T10:11:12+00:00", Leader: "a"}}
	if err := a.PutHistory(t.Context(), h.Leader, lines); err != nil {
		t.Fatal(err)
	}
	w.equal(a.load().History, lines)
	w.store.Delete(folder + "leader")
	w.is(a.PutHistory(t.Context(), h.Leader, nil), dcs.ErrConflict)
	again, err := a.Acquire(t.Context(), dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true, History: a.load().HistoryVersion}})
	if err != nil {
		t.Fatal(err)
	}
	w.is(a.PutHistory(t.Context(), h.Leader, nil), dcs.ErrConflict)
	if err := a.PutHistory(t.Context(), again.Leader, nil); err != nil {
		t.Fatal(err)
	}
	w.equal(a.load().History, dcs.History{})
}

func TestHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.Options{})
		b := store.Backend()
		var refused atomic.Bool
		var tries atomic.Int32
		b.Inject(func(op memory.Op) memory.Fate {
			if op.Kind == "watch" {
				tries.Add(1)
				if refused.Load() {
					return memory.Refused
				}
			}
			return memory.Served
		})
		c := dcs.NewClient(b, dcs.Options{Scope: "batman", Name: "a"})
		hints := c.Hints()
		expect := func(key string) {
			t.Helper()
			if h := <-hints; h.Key != key {
				t.Fatalf("hint of %q, want %q", h.Key, key)
			}
		}
		expect("") // the watch stands
		expect("") // and so does that of the members
		store.Put(folder+"leader", []byte("a"))
		expect("leader")
		store.Put(folder+"members/a", []byte("a"))
		expect("members/a")
		b.BreakWatches()
		expect("") // made again
		expect("")
		for range 100 {
			store.Put(folder+"status", []byte("1"))
			synctest.Wait()
		}
		merged, taken := false, 0
		for ; len(hints) > 0; taken++ {
			merged = (<-hints).Key == "" || merged
		}
		if !merged || taken > 16 {
			t.Fatalf("%d hints were kept, merged: %t", taken, merged)
		}
		refused.Store(true)
		tries.Store(0)
		b.BreakWatches()
		time.Sleep(time.Minute)
		if n := tries.Load(); n < 230 || n > 250 { // one each 500 ms, of each watch
			t.Fatalf("%d tries in a minute", n)
		}
		refused.Store(false)
		expect("")
		expect("")
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.Hints() != hints || len(hints) != 0 {
			t.Fatal("another channel after Close")
		}
	})
}

// TestQuietHints: a standby of a settled leader is not told of each position, and of everything else; whoever leads hears all.
func TestQuietHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.Options{})
		node := func(name string) (*dcs.Client, func() []string) {
			c := dcs.NewClient(store.Backend(), dcs.Options{Scope: "batman", Name: name})
			c.Hints()
			return c, func() (keys []string) {
				synctest.Wait()
				for len(c.Hints()) > 0 {
					keys = append(keys, (<-c.Hints()).Key)
				}
				slices.Sort(keys) // two watches, so there is no order
				return slices.Compact(keys)
			}
		}
		a, heardByA := node("a")
		b, heardByB := node("b")
		check := func(what string, got []string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		check("what one hears first", heardByA(), "")
		check("and the other", heardByB(), "")
		member := dcs.MemberData{State: dcs.StateRunning, Role: dcs.RolePrimary, XLogLocation: 1}
		keep := func(c *dcs.Client) {
			t.Helper()
			if _, err := c.KeepAlive(t.Context(), dcs.KeepAlive{TTL: 1000 * time.Hour, Member: member}); err != nil {
				t.Fatal(err)
			}
		}
		keep(a)
		if _, err := a.Acquire(t.Context(), dcs.Acquire{Member: member}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*dcs.Client{a, b} {
			if _, err := c.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		check("what a new leader hears", heardByA(), "leader", "members/a", "news")
		check("what its standby does", heardByB(), "leader", "members/a", "news")
		if !a.Attentive() || b.Attentive() {
			t.Errorf("attentive: the leader %t, its standby %t", a.Attentive(), b.Attentive())
		}

		member = dcs.MemberData{State: dcs.StateRunning, Role: dcs.RoleReplica, XLogLocation: 1}
		keep(b)
		check("a new member, at the leader", heardByA(), "members/b", "news")
		check("at a standby", heardByB(), "news")
		member.XLogLocation++
		keep(b)
		check("a position, at the leader", heardByA(), "members/b")
		check("at a standby", heardByB())
		member.Tags = map[string]any{"nofailover": true}
		keep(b)
		check("a tag, at a standby", heardByB(), "news")

		// A watch that is lost in silence shows in the leader key, which is compared now and then while the store moves on.
		store.Delete(folder + "leader")
		check("the vacancy", heardByB(), "leader")
		for range 6 {
			store.Put("/elsewhere", nil)
			keep(b)
		}
		check("the comparison", heardByB(), "")
		if _, err := b.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("the members are heard again", heardByB(), "")
		for _, c := range []*dcs.Client{a, b} {
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCloseWithoutHints(t *testing.T) {
	c := dcs.NewClient(memory.New(memory.Options{}).Backend(), dcs.Options{Scope: "x"})
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case h, ok := <-c.Hints():
		t.Fatalf("hint %+v, %t", h, ok)
	default:
	}
}
