package dcstest

import (
	"context"
	"embed"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// golden holds the values of a cluster's keys, each in a file with the key's name, as Patroni 4.1 writes them, and under tanist those that are ours.
//
//go:embed testdata/layout/patroni testdata/layout/tanist
var golden embed.FS

// Golden is the value of a key, byte for byte: "patroni/" or "tanist/" and its name in the cluster's folder.
func Golden(t testing.TB, name string) string {
	t.Helper()
	b, err := golden.ReadFile("testdata/layout/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

// Stored is a key as the store's own tools show it.
type Stored struct {
	Value string
	Bound bool // it ends with a session: a lease, a lock, an ephemeral node
}

// Inspect reads what the store holds below a folder ("/namespace/scope/") past the backend, by the store's own names of the keys.
type Inspect func(t testing.TB, folder string) map[string]Stored

// Layout has a [dcs.Client] write every key of a cluster through a backend, and compares names, values and lifetimes with Patroni's. The store's name of
// a key is name(key), where key begins with a slash; nil: the key itself.
func Layout(t *testing.T, b dcs.Backend, name func(key string) string, inspect Inspect) {
	t.Helper()
	if name == nil {
		name = func(key string) string { return key }
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	l := &layout{ctx: ctx, t: t, c: dcs.NewClient(b, dcs.Options{Namespace: "tanist-layout", Scope: "batman", Name: "n1"})}
	if c, err := l.c.Load(ctx); err != nil || len(c.Members) > 0 || c.Leader != nil {
		t.Fatalf("the folder %s is not empty: %+v, %v", l.c.Prefix(), c, err)
	}
	compare := func(want map[string]Stored) {
		t.Helper()
		full := map[string]Stored{}
		for key, s := range want {
			full[name(l.c.Prefix()+key)] = s
		}
		got := inspect(t, l.c.Prefix())
		for _, key := range slices.Sorted(maps.Keys(full)) {
			if got[key] != full[key] {
				t.Errorf("%s\n got %+v\nwant %+v", key, got[key], full[key])
			}
			delete(got, key)
		}
		for key, s := range got {
			if s.Value != "" { // a folder, where the store has some
				t.Errorf("there is also %s: %+v", key, s)
			}
		}
	}
	want := l.bootstrap()
	if _, ok := b.(dcs.QuietWatcher); ok {
		want["news"] = l.golden("tanist/news", nil)
	}
	compare(want)
	l.lead(want)
	compare(want)
	l.release(want)
	compare(want)
	l.must(l.c.Close(ctx))
}

// layout writes keys, and notes what must stand there.
type layout struct {
	ctx  context.Context
	t    *testing.T
	c    *dcs.Client
	held dcs.Held
}

func (l *layout) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// golden reads a golden value into v, and returns it as it must be stored.
func (l *layout) golden(name string, v any) Stored {
	l.t.Helper()
	text := Golden(l.t, name)
	if v != nil {
		l.must(json.Unmarshal([]byte(text), v))
	}
	return Stored{Value: text}
}

const layoutTTL = 30 * time.Second

func (l *layout) bootstrap() map[string]Stored {
	l.t.Helper()
	want := map[string]Stored{}
	var m dcs.MemberData
	member := l.golden("patroni/members/n1", &m)
	member.Bound = true
	want["members/n1"] = member
	_, err := l.c.KeepAlive(l.ctx, dcs.KeepAlive{TTL: layoutTTL, Member: m})
	l.must(err)
	_, err = l.c.Initialize(l.ctx)
	l.must(err)
	want["initialize"] = Stored{Value: "", Bound: true} // as Patroni's while somebody bootstraps, but that it ends with him
	want["config"] = l.golden("patroni/config", nil)
	l.must(l.c.PutConfig(l.ctx, 0, []byte(strings.ReplaceAll(want["config"].Value, ",", ", "))))
	return want
}

func (l *layout) lead(want map[string]Stored) {
	l.t.Helper()
	var m dcs.MemberData
	member := l.golden("tanist/members/n1", &m)
	member.Bound = true
	want["members/n1"] = member
	cluster, err := l.c.Load(l.ctx)
	l.must(err)
	want["initialize"] = l.golden("patroni/initialize", nil)
	l.must(l.c.SetInitialize(l.ctx, cluster.Initialize, want["initialize"].Value))

	want["leader"] = Stored{Value: Golden(l.t, "patroni/leader"), Bound: true}
	want["tanist"] = l.golden("tanist/tanist", nil)
	l.held, err = l.c.Acquire(l.ctx, dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}, Member: m, Timeline: 3})
	l.must(err)

	var status dcs.Status
	var failsafe map[string]string
	want["status"], want["failsafe"] = l.golden("patroni/status", &status), l.golden("patroni/failsafe", &failsafe)
	l.held, err = l.c.Renew(l.ctx, dcs.Renew{Leader: l.held.Leader, TTL: layoutTTL, Member: m, Status: &status, Failsafe: failsafe})
	l.must(err)

	var history dcs.History
	want["history"] = l.golden("patroni/history", &history)
	l.must(l.c.PutHistory(l.ctx, l.held.Leader, history))
	var failover struct {
		Leader    string    `json:"leader"`
		Candidate string    `json:"member"`
		At        time.Time `json:"scheduled_at"`
	}
	want["failover"] = l.golden("patroni/failover", &failover)
	l.must(l.c.PutFailover(l.ctx, 0, dcs.Failover{Leader: failover.Leader, Candidate: failover.Candidate, ScheduledAt: &failover.At}))
}

func (l *layout) release(want map[string]Stored) {
	l.t.Helper()
	cluster, err := l.c.Load(l.ctx)
	l.must(err)
	l.must(l.c.ClearFailover(l.ctx, cluster.Failover.Version))
	want["failover"] = Stored{Value: "{}"}
	var m dcs.MemberData
	l.golden("tanist/members/n1", &m)
	m.Role = dcs.RoleDemoted
	text, err := dcs.Marshal(m)
	l.must(err)
	l.must(l.c.Release(l.ctx, dcs.Release{Leader: l.held.Leader, Member: m}))
	delete(want, "leader")
	want["members/n1"] = Stored{Value: string(text), Bound: true}
}
