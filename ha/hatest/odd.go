package hatest

import (
	"context"
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
)

// Odd is the profile of people and stores that do what nobody expects: keys are deleted and filled with garbage by hand, the ttl changes
// again and again, a store refuses everything or every write at once, checkpoints take minutes while a switchover waits for them, servers
// are stopped by hand and start for longer than anybody has patience, members may suddenly not lead any more.
const Odd Profile = "odd"

// oddFault lets one such thing happen, or one of the ordinary faults.
func (w *World) oddFault(n *node) {
	n = w.leaderOr(n)
	n.touched = w.eng.now
	switch w.rng.IntN(17) {
	case 0, 1:
		w.changeTimes()
	case 2:
		w.spoil()
	case 3:
		w.storeSays(&w.refuses, "refuses every request", w.bounded(time.Second, 40*time.Second))
	case 4:
		w.storeSays(&w.readOnly, "refuses every write", w.bounded(time.Second, 60*time.Second))
	case 5, 6:
		n.checkpoint = w.bounded(time.Second, 90*time.Second)
		w.logf("%s checkpoints take %s", n.name, n.checkpoint)
		w.eng.after(w.bounded(10*time.Second, 60*time.Second), func() { n.checkpoint = 0 })
		w.request(n)
	case 7:
		w.logf("%s stopped by hand", n.name)
		if n.server.pid != 0 && n.server.ready && !n.server.stopping {
			n.server.shutDown()
		}
		n.server.die()
	case 8:
		n.slow = w.bounded(time.Second, 40*time.Second)
		w.logf("%s is slow by %s", n.name, n.slow)
		w.eng.after(w.bounded(time.Second, 60*time.Second), func() { n.slow = 0 })
		n.server.die()
	case 9:
		w.tag(n)
	case 10:
		n.badPromotes = w.rng.IntN(6)
	case 11:
		w.schedule(n)
	case 12:
		w.cascade(n)
	default:
		w.fault(n)
	}
}

// cascade lets a node stream from another than the leader, or from the leader again.
func (w *World) cascade(n *node) {
	n.from = ""
	if o := w.nodes[w.rng.IntN(len(w.nodes))]; o != n && o.from == "" {
		n.from = o.name
	}
	w.logf("%s replicates from %q", n.name, n.from)
	n.reload()
}

// reload makes the node's own settings known to its agent.
func (n *node) reload() {
	if n.agent != nil {
		n.agent.deliver(ha.SettingsChanged{Settings: n.settings(n.agent.machine.View().Settings)})
	}
}

// changeTimes is an operator who edits the dynamic configuration.
func (w *World) changeTimes() { w.setTTL([]int{5, 10, 20, 30, 60}[w.rng.IntN(5)]) }

// setTTL sets the ttl, and the times that go with it.
func (w *World) setTTL(ttl int) {
	c, err := w.cluster()
	if err != nil || c.Config == nil {
		return
	}
	raw := fmt.Appendf(nil, `{"ttl":%d,"loop_wait":%d,"retry_timeout":%d,"primary_start_timeout":%d}`, ttl, max(ttl/4, 1), max(ttl/4, 1),
		[]int{0, 10, 300}[w.rng.IntN(3)])
	w.logf("operator: config %s", raw)
	w.touchAll()
	_ = w.admin.PutConfig(context.Background(), c.Config.Version, raw)
}

// spoil deletes a key, or fills it with garbage. The member key of a leader stays: it is how others know that it runs.
func (w *World) spoil() {
	w.touchAll()
	if w.rng.IntN(2) == 0 {
		key := []string{"leader", "initialize", "config", "status", "history", "tanist", "failover", "sync", "failsafe", "members/a"}[w.rng.IntN(10)]
		w.logf("operator: deletes %s", key)
		w.store.Delete(w.admin.Prefix() + key)
		return
	}
	key := []string{"config", "status", "history", "tanist", "failover", "sync", "failsafe", "initialize"}[w.rng.IntN(8)]
	value := []string{"", "{", "garbage", "[]", `{"a":1}`, "7"}[w.rng.IntN(6)]
	w.logf("operator: %s is %q", key, value)
	w.store.Put(w.admin.Prefix()+key, []byte(value))
}

// storeSays lets the store refuse for a while.
func (w *World) storeSays(what *bool, text string, d time.Duration) {
	w.logf("the store %s for %s", text, d)
	w.touchAll()
	*what = true
	w.eng.after(d, func() { *what = false; w.touchAll() })
}

// refusal is the fate of a request to a store that refuses.
func (w *World) refusal(op memory.Op, fate memory.Fate) memory.Fate {
	writes := op.Kind == "open" || op.Txn != nil && len(op.Txn.Do) > 0
	switch {
	case w.refuses:
		return memory.Refused
	case !w.readOnly || !writes:
		return fate
	case w.ops%4 == 0: // as etcd does when its quota ends
		return memory.FullNow
	}
	return memory.Full
}

// tag forbids a node to lead, or allows it again.
func (w *World) tag(n *node) {
	n.noFailover = !n.noFailover
	w.logf("%s nofailover %v", n.name, n.noFailover)
	n.reload()
}

// settings are s with the node's own tags.
func (n *node) settings(s ha.Settings) ha.Settings {
	s.Watchdog = n.watchdog.settings
	s.Tags.NoFailover, s.Tags.ReplicateFrom, s.Tags.All = n.noFailover, n.from, map[string]any{}
	if n.noFailover {
		s.Tags.All["nofailover"] = true
	}
	if n.from != "" {
		s.Tags.All["replicatefrom"] = n.from
	}
	return s
}

// parse reads the dynamic configuration for the node.
func (n *node) parse(raw []byte) (ha.Settings, error) {
	s, err := n.w.parse(raw)
	return n.settings(s), err
}

// schedule is an operator who asks for a switchover at a time.
func (w *World) schedule(n *node) {
	c, err := w.cluster()
	if err != nil || c.Leader == nil || c.Leader.Name == n.name || c.Failover != nil {
		return
	}
	at := w.eng.now.Add(w.bounded(0, 30*time.Second))
	w.logf("operator: switchover to %s at %s", n.name, at)
	_ = w.admin.PutFailover(context.Background(), 0, dcs.Failover{Leader: c.Leader.Name, Candidate: n.name, ScheduledAt: &at})
}

// settle ends what is odd.
func (w *World) settle() {
	w.refuses, w.readOnly = false, false
	for _, n := range w.nodes {
		n.checkpoint = 0
		n.watchdog.repair()
		n.noFailover, n.from = false, ""
		n.reload()
	}
}
