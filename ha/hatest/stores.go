package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
)

// Wiped is the profile in which the store loses everything, or is restored from a backup, while links, agents and hosts fail: an empty store
// looks vacant to everybody at once, and the leader may be the last to hear of it (safety 2.7).
const Wiped Profile = "wiped"

// wipedFault lets the store forget, or somebody be away when it does.
func (w *World) wipedFault(n *node) {
	n = w.leaderOr(n)
	n.touched = w.eng.now
	long := w.bounded(2*time.Second, 50*time.Second)
	switch w.rng.IntN(11) {
	case 0, 1:
		w.wipe()
	case 2:
		w.restore()
	case 3:
		w.cutStore(n, long)
		w.eng.after(w.bounded(0, 5*time.Second), w.wipe)
	case 4:
		w.isolate(n, long)
		w.eng.after(w.bounded(0, 5*time.Second), w.wipe)
	case 5:
		w.pause(n, long)
		w.eng.after(w.bounded(0, 5*time.Second), w.wipe)
	case 6:
		n.killAgent()
		w.restartAgent(n, w.bounded(100*time.Millisecond, 50*time.Second))
	case 7:
		n.killHost()
		w.restartAgent(n, w.bounded(time.Second, 60*time.Second))
	case 8:
		w.outage(w.bounded(time.Second, 20*time.Second))
		w.eng.after(w.bounded(0, 5*time.Second), w.wipe)
	case 9:
		w.cutPeers(n, long)
	case 10:
		w.request(n)
	}
}

// wipe empties the store, while things go wrong.
func (w *World) wipe() {
	if !w.faulty || w.eng.now.Before(w.wiped.Add(w.bounded(30*time.Second, 3*time.Minute))) {
		return
	}
	w.wiped = w.eng.now
	w.logf("the store is wiped")
	w.touchAll()
	w.store.Wipe()
}

// restore puts the last backup back, and makes the next. An agent that has started a moment ago has not seen the store before and cannot know:
// what it shows is all that such an agent has (a numbered assumption of the guarantees).
func (w *World) restore() {
	for _, n := range w.nodes {
		if n.agent == nil || !n.agent.machine.View().Store.Known || w.eng.now.Before(n.pausedUntil) {
			return
		}
	}
	if !w.backedUp {
		w.backup, w.backedUp = w.store.Backup(), true
		return
	}
	w.logf("the store is restored from a backup")
	w.touchAll()
	w.store.Restore(w.backup)
	w.backedUp = false
}

// mayFound says whether a node may found clusters. One whose data directory is empty believes an empty store: an operator takes the bootstrap
// section away when the cluster is there (a numbered assumption of the guarantees).
func (w *World) mayFound(*node) bool {
	return (w.opts.Profile != Wiped && w.opts.Profile != Cached) || w.eng.now.Before(epoch.Add(5*time.Second))
}

// Terms is the profile in which a leader of the store that was deposed goes on answering one node's keepalives, and that node is cut off
// afterwards (safety 2.1).
const Terms Profile = "terms"

// termsFault lets a deposed leader of the store answer a node's keepalives, and isolates the node then.
func (w *World) termsFault(n *node) time.Duration {
	n = w.leaderOr(n)
	n.touched = w.eng.now
	long := w.bounded(2*time.Second, 25*time.Second)
	w.logf("a deposed leader of the store answers %s for %s", n.name, long)
	n.deposed = w.eng.now.Add(long)
	alone := w.bounded(10*time.Second, 40*time.Second)
	w.eng.after(long-w.bounded(time.Millisecond, time.Second), func() {
		if w.faulty && w.rng.IntN(3) != 0 {
			w.isolate(n, alone)
		}
	})
	return long + w.bounded(time.Second, 60*time.Second)
}

// Touches is the profile of a store that keeps sessions as ZooKeeper does: a keepalive that was answered counts only when the follower that
// answered it has told its leader. Followers freeze in between, and the node is cut off (safety 2.4). A renewal is two requests, a tick apart: the
// second answer shows that the first has been told. A keepalive is one, and tells how old the proof is; so is an acquire, while that is young.
const Touches Profile = "touches"

// setTouches gives a session ten ticks and more, or five long ones, which is as few as there may be.
func (o *Options) setTouches() {
	o.Tick = time.Second
	switch o.Seed % 3 {
	case 0:
		o.Config = `{"ttl":10,"loop_wait":3,"retry_timeout":6}`
	case 1:
		o.Config = `{"ttl":20,"loop_wait":5,"retry_timeout":8}`
	case 2:
		o.Config, o.Tick = `{"ttl":10,"loop_wait":3,"retry_timeout":3}`, 2*time.Second
	}
}

// storeOptions are those of a run's store.
func (w *World) storeOptions() memory.Options {
	return memory.Options{Now: func() time.Time { return w.eng.now }, OnChange: w.changed, AnyTerm: w.opts.Mutant.Store.AnyTerm, Tick: w.opts.Tick}
}

// prolong carries out a request that prolongs the session: once, and, if its success is to be dated from the call, again a tick later. One that has
// no time for that fails at once.
func (w *World) prolong(a *agent, r ha.Request, once func(ha.Request) ha.Event, answer func(ha.Event)) {
	first, pair := r, false
	session := a.machine.View().Session
	switch r.Action.(type) {
	case ha.RenewKey:
		pair = true
	case ha.AcquireKey:
		if pair = w.eng.now.Sub(w.store.Proven(session.ID)) >= session.TTL/2; pair {
			first.Action = ha.KeepSession{Request: dcs.KeepAlive{TTL: a.machine.View().Settings.TTL, Member: a.machine.View().Store.Member}}
		}
	}
	e := once(first)
	if w.faulty && w.rng.IntN(25) == 0 {
		w.logf("the store's follower that has answered %s freezes", a.n.name)
		w.store.LoseTouches(session.ID)
		a.n.touched = w.eng.now
		w.eng.after(8*time.Millisecond, func() { w.isolate(a.n, w.bounded(5*time.Second, 50*time.Second)) })
	}
	if _, ok := r.Action.(ha.RenewKey); !pair || ok && w.opts.Mutant.Store.OneWrite {
		answer(w.ageless(e))
		return
	}
	if r.Deadline.Before(w.eng.now.Add(w.opts.Tick)) {
		answer(unproven(r))
		return
	}
	w.eng.after(w.opts.Tick, func() { answer(once(r)) })
}

// unproven is the answer to a request that had less time than a tick.
func unproven(r ha.Request) ha.Event {
	f := &ha.Fault{Kind: ha.FaultUnknown, Text: "there is not enough time for a proof"}
	if _, ok := r.Action.(ha.AcquireKey); ok {
		return ha.Acquired{ID: r.ID, Sent: r.Sent, Fault: f}
	}
	return ha.Renewed{ID: r.ID, Sent: r.Sent, Fault: f}
}

// ageless is the mutant that takes every answer for a proof.
func (w *World) ageless(e ha.Event) ha.Event {
	if !w.opts.Mutant.Store.Ageless {
		return e
	}
	switch e := e.(type) {
	case ha.SessionKept:
		e.Alive.Age = 0
		return e
	case ha.Acquired:
		e.Held.Age = 0
		return e
	}
	return e
}

// prolongs says whether a request is one that counts on being told to the store's leader.
func (w *World) prolongs(r ha.Request) bool {
	switch r.Action.(type) {
	case ha.RenewKey, ha.KeepSession, ha.AcquireKey:
		return w.opts.Tick > 0
	}
	return false
}

// StoreMutant is a defect of what stands between a node and its store.
type StoreMutant struct {
	AnyTerm bool // a keepalive that was answered by another leader of the store than the comparison after it counts
	// AnyGrounds lets an acquire compare with what the store holds when it arrives, instead of with what its decision rested on.
	AnyGrounds bool
	// Cache lets an agent believe what it read before it was cut off from the store, for a while after it has come back.
	Cache    bool
	OneWrite bool // one answered write proves that the session was prolonged, in a store that keeps sessions as ZooKeeper does
	Ageless  bool // an answered keepalive is its own proof, in such a store
}

// cacheLag is how long a cache that has lost its watch goes on answering, for the mutant that believes it.
const cacheLag = 10 * time.Second

// cached is what an agent with a cache is told that asks for the cluster: after it was cut off, what it knew before (safety 2.2).
func (w *World) cached(a *agent, e ha.Event) ha.Event {
	x, ok := e.(ha.Loaded)
	if !w.opts.Mutant.Store.Cache || !ok || x.Fault != nil {
		return e
	}
	if a.cache != nil && a.machine.View().Lease.State != ha.LeaseHeld && w.eng.now.Before(a.n.reachedStore.Add(cacheLag)) {
		x.Cluster = *a.cache
		return x
	}
	a.cache = &x.Cluster
	return e
}

// storeKind is how the store of a run behaves.
type storeKind struct {
	holdBack bool // the next request for the leader key
	backup   memory.Copy
	backedUp bool
	wiped    time.Time // last time
}
