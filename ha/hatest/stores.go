package hatest

import (
	"time"

	"github.com/tanist-ha/tanist/dcs/memory"
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
	return w.opts.Profile != Wiped || w.eng.now.Before(epoch.Add(5*time.Second))
}

// storeKind is how the store of a run behaves.
type storeKind struct {
	backup   memory.Copy
	backedUp bool
	wiped    time.Time // last time
}
