//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// storeTTL is the session of the leader in these stories: on each store long enough for it to choose another leader on a busy machine.
const storeTTL = 10 * time.Second

// storeStory is a cluster on one kind of store, with three servers of it.
type storeStory struct {
	*fortress
	kind testcluster.Kind
}

// TestStores tells the same story on each kind of store: what the store goes through must never give the primary a rival, nor cost it an
// acknowledged row, and costs it its place only if no majority of the store is left.
func TestStores(t *testing.T) {
	for _, kind := range testcluster.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			st := startStoreStory(t, kind)
			for _, chapter := range st.chapters() {
				ok := t.Run(chapter.name, func(t *testing.T) {
					if chapter.long && os.Getenv("CHAOS") == "" {
						t.Skip("only in make chaos, as it takes minutes")
					}
					told := *st.cluster
					told.t = t
					chapter.tell(&storeStory{&fortress{cluster: &told}, kind})
				})
				if !ok {
					t.Fatal("the story ends here")
				}
			}
		})
	}
}

type storeChapter struct {
	name string
	long bool // told by make chaos alone
	tell func(*storeStory)
}

func (st *storeStory) chapters() []storeChapter {
	all := []storeChapter{
		{"bootstrap and replicate", false, func(st *storeStory) { replicates(st.cluster) }},
		{"a key of nobody", false, (*storeStory).keyOfNobody},
		{"switchover", false, func(st *storeStory) { switchesOver(st.cluster) }},
		{"session ended by hand", false, (*storeStory).sessionEnded},
		{"store leader killed", false, (*storeStory).leaderKilled},
		{"host lost", true, (*storeStory).hostLost},
		{"store majority lost", false, (*storeStory).majorityLost},
	}
	if st.kind != testcluster.EmbedEtcdStore {
		// The members of an embedded etcd are in the agents: where a majority of them is gone, failsafe mode ends with it.
		all = append(all, storeChapter{"store majority lost in failsafe mode", true, (*storeStory).majorityLostFailsafe})
	}
	return append(all, storeChapter{"store wiped", false, (*storeStory).wiped})
}

func startStoreStory(t *testing.T, kind testcluster.Kind) *storeStory {
	o := testcluster.Options{Kind: kind, Servers: 3, Nodes: 2, Dynamic: map[string]any{
		"ttl": 10, "loop_wait": 1, "retry_timeout": 3, "tanist": map[string]any{"minimum_ttl": 10}}}
	switch kind {
	case testcluster.EmbedEtcdStore:
		o.Nodes = 3
	case testcluster.ConsulStore:
		o.ServersOf = testcluster.OneEach
		o.Dynamic["ttl"] = 20 // a session has half of it
	}
	return &storeStory{&fortress{cluster: startCluster(t, o)}, kind}
}

// keyOfNobody: what an operator puts by hand never expires; list says how to remove it, with the store's own tool.
func (st *storeStory) keyOfNobody() {
	key := st.Key("members/ghost")
	st.step(func(ctx context.Context) error { return st.Store.Put(ctx, key, "{}") })
	command := map[testcluster.Kind]string{
		testcluster.EtcdStore: "etcdctl del " + key, testcluster.EmbedEtcdStore: "etcdctl del " + key,
		testcluster.ConsulStore: "consul kv delete " + strings.TrimPrefix(key, "/"), testcluster.ZooKeeperStore: "zkCli.sh deleteall " + key,
	}[st.kind]
	if table := st.ctl("list"); !strings.Contains(table, "no session") || !strings.Contains(table, "("+command+")") {
		st.t.Errorf("tanistctl list does not say how to delete it (%s):\n%s", command, table)
	}
	st.step(func(ctx context.Context) error { return st.Store.Delete(ctx, key) })
	if table := st.ctl("list"); strings.Contains(table, "ghost") {
		st.t.Errorf("tanistctl list still shows it:\n%s", table)
	}
}

// sessionEnded: an operator ends the session of a healthy leader, and its keys go with it. It has lost the leader key in that moment: it stops, and
// whoever leads next waits for that.
func (st *storeStory) sessionEnded() {
	s := st.begin()
	held, err := st.Store.Get(st.t.Context(), st.Key("leader"))
	if err != nil || held == nil || held.Session == "" {
		st.t.Fatalf("the leader key: %+v, %v", held, err)
	}
	log := len(s.logOf(s.leader))
	st.step(func(ctx context.Context) error { return st.Store.EndSession(ctx, held.Session) })
	eventually(st.t, s.leader.Name+" says why it stops", func() (bool, string) {
		fresh := s.logOf(s.leader)[log:]
		return strings.Contains(fresh, "rule=authority.lost"), fresh
	})
	s.lift()
}

// begin is a siege of this chapter.
func (st *storeStory) begin() *siege { return st.siege(st.t.(*testing.T)) }

// leaderKilled: another server of the store takes over. The primary does not notice. (A primary whose only way to the store was that
// server would.)
func (st *storeStory) leaderKilled() {
	store, old := st.Store, st.storeLeader()
	if primary := st.healthy(); slices.Equal(st.StoreHosts(primary), store.Addresses()[old:old+1]) {
		st.step(func(ctx context.Context) error { return st.Switchover(ctx, primary, st.standby(primary)) })
	}
	s := st.begin()
	pid, _ := s.leader.Postmaster()
	st.step(func(ctx context.Context) error { return store.Kill(ctx, old) })
	eventually(st.t, "another server leads the store", func() (bool, string) {
		ctx, cancel := st.ctx()
		defer cancel()
		now, err := store.Leader(ctx)
		return err == nil && now != old, fmt.Sprint(now, err)
	})
	s.wait(storeTTL + time.Second) // a renewal that did not succeed would show by now
	s.undisturbed(pid)
	st.step(store.Start)
	s.undisturbed(pid)
	s.lift()
}

func (st *storeStory) storeLeader() int {
	ctx, cancel := st.ctx()
	defer cancel()
	i, err := st.Store.Leader(ctx)
	st.must(err)
	return i
}

// hostLost: the primary's host is gone, and with it its member of the store if it has one.
func (st *storeStory) hostLost() {
	s := st.begin()
	s.fatal = s.w.Since()
	st.step(s.leader.KillHost)
	st.newLeader(s.leader)
	s.lift()
}

// majority are two of three servers; the primary's agent is in none of them.
func (st *storeStory) majority(primary *testcluster.Node) []int {
	if st.kind != testcluster.EmbedEtcdStore {
		return []int{1, 2}
	}
	var others []int
	for i, n := range st.Nodes {
		if n != primary {
			others = append(others, i)
		}
	}
	return others
}

// majorityLost: without a majority nothing can be confirmed, so the primary stops before its authority ends, and nobody takes its place.
func (st *storeStory) majorityLost() {
	s := st.begin()
	fault := s.w.Since()
	st.step(func(ctx context.Context) error { return st.Store.Kill(ctx, st.majority(s.leader)...) })
	eventually(st.t, "the primary stops", func() (bool, string) {
		_, up := s.leader.Postmaster()
		ctx, cancel := st.ctx()
		defer cancel()
		_, err := st.SQL(ctx, s.leader, "create temp table x ()")
		return err != nil, fmt.Sprint("it takes writes; postmaster: ", up)
	})
	s.wait(storeTTL)
	back := s.w.Since()
	if now, err := st.Leader(st.t.Context()); err != nil || now != nil {
		st.t.Errorf("without a store %v answers /primary with 200, %v", now, err)
	}
	st.step(st.Store.Start)
	s.lift()
	for _, a := range s.w.Acks {
		if a.Sent > fault+storeTTL && a.Got < back {
			st.t.Errorf("a row that was sent %v after the store was lost was acknowledged", a.Sent-fault)
			break
		}
	}
}

// majorityLostFailsafe: the primary goes on while all members accept it.
func (st *storeStory) majorityLostFailsafe() {
	st.failsafe()
	s := st.begin()
	pid, _ := s.leader.Postmaster()
	st.step(func(ctx context.Context) error { return st.Store.Kill(ctx, st.majority(s.leader)...) })
	for _, n := range s.Nodes {
		eventually(st.t, "failsafe mode is active on "+n.Name, func() (bool, string) { return s.active(n) })
	}
	s.wait(storeTTL + 2*time.Second)
	s.undisturbed(pid)
	st.step(st.Store.Start)
	s.leadsInStore(s.leader)
	s.undisturbed(pid)
	s.lift()
}

// failsafe turns failsafe mode on.
func (st *storeStory) failsafe() {
	st.step(func(ctx context.Context) error { return st.PatchConfig(ctx, map[string]any{"failsafe_mode": true}) })
	s := &siege{fortress: st.fortress}
	s.listed()
}

// wiped: the store comes back empty. The cluster writes down again what it knows; its primary stays, in failsafe mode also where the store
// takes longer to start than an authority lasts.
func (st *storeStory) wiped() {
	st.failsafe()
	st.step(func(ctx context.Context) error {
		return st.PatchConfig(ctx, map[string]any{"postgresql": map[string]any{"parameters": map[string]any{"work_mem": "5MB"}}})
	})
	for _, n := range st.Nodes { // each knows what is to be restored
		eventually(st.t, n.Name+" has the setting", func() (bool, string) {
			return st.query(n, "show work_mem") == "5MB", "it has not"
		})
	}
	s := st.begin()
	pid, _ := s.leader.Postmaster()
	id := st.query(s.leader, "select system_identifier from pg_control_system()")
	const mark = "/before-the-wipe"
	st.step(func(ctx context.Context) error { return st.Store.Put(ctx, mark, "here") })
	st.step(func(ctx context.Context) error { return st.Store.Kill(ctx) })
	st.must(st.Store.Wipe())
	st.step(st.Store.Start)
	if kv, err := st.Store.Get(st.t.Context(), mark); err != nil || kv != nil {
		st.t.Fatalf("the store was not wiped: %v, %v", kv, err)
	}
	st.restored("initialize", func(v string) bool { return v == id })
	st.restored("config", func(v string) bool { return strings.Contains(v, `"work_mem":"5MB"`) })
	if st.kind != testcluster.EmbedEtcdStore { // there the agents were killed with the store
		st.step(func(ctx context.Context) error { return s.leader.WaitLog(ctx, "the store was wiped") })
		s.leadsInStore(s.leader)
		s.undisturbed(pid)
	}
	s.lift()
	if got := st.query(st.healthy(), "show work_mem"); got != "5MB" {
		st.t.Errorf("work_mem is %s", got)
	}
}

// restored waits until a key has a value again.
func (st *storeStory) restored(key string, good func(string) bool) {
	st.t.Helper()
	eventually(st.t, "the key "+key+" is back", func() (bool, string) {
		kv, err := st.Store.Get(st.t.Context(), st.Key(key))
		if err != nil || kv == nil {
			return false, fmt.Sprint(kv, err)
		}
		return good(strings.ReplaceAll(kv.Value, ": ", ":")), kv.Value
	})
}
