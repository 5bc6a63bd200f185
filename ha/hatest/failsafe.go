package hatest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// Failsafe is the profile of long outages of the store in failsafe mode, with everything that may happen to members during one: they are
// killed, frozen, cut off and started again, the store comes back for some only or for a moment, and the configuration is changed
// by those who reach it.
const Failsafe Profile = "failsafe"

// failsafeConfig is the dynamic configuration of a seed in which failsafe mode is on.
func failsafeConfig(seed uint64) string {
	return []string{`{"ttl":30,"loop_wait":10,"retry_timeout":10,"failsafe_mode":true}`,
		`{"ttl":20,"loop_wait":3,"retry_timeout":5,"failsafe_mode":true}`,
		`{"ttl":5,"loop_wait":1,"retry_timeout":2,"failsafe_mode":true}`}[seed%3]
}

// failsafeWorld is what a world remembers for failsafe mode.
type failsafeWorld struct {
	commands uint64
	wanted   bool      // such an expectation is to come next
	stays    *node     // the primary that has to stay writable; nil: no such expectation
	until    time.Time // as long as that
	calm     int       // how often that was expected
}

// askFailsafe carries a round to the members: each gets a command, and answers or is silent.
func (w *World) askFailsafe(a *agent, r ha.Request, x ha.AskFailsafe) {
	var answers []ha.FailsafeAnswer
	missing := len(x.Members)
	if missing == 0 {
		w.eng.after(time.Millisecond, func() { a.deliver(ha.FailsafeAnswered{ID: r.ID, Sent: r.Sent}) })
		return
	}
	for _, name := range slices.Sorted(maps.Keys(x.Members)) {
		over := false
		said := func(answer ha.FailsafeAnswer) {
			if over {
				return
			}
			over = true
			answer.Name = name
			answers = append(answers, answer)
			if missing--; missing == 0 {
				a.deliver(ha.FailsafeAnswered{ID: r.ID, Sent: r.Sent, Answers: answers})
			}
		}
		w.eng.at(r.Deadline, func() { said(ha.FailsafeAnswer{Problem: "timeout"}) })
		w.eng.after(w.bounded(300*time.Microsecond, 5*time.Millisecond), func() { w.failsafeArrives(a, name, x.Ask, said) })
	}
}

// failsafeArrives hands the question to a member, if it gets there, and its answer back, if that does.
func (w *World) failsafeArrives(a *agent, name string, ask ha.FailsafeAsk, said func(ha.FailsafeAnswer)) {
	back := w.bounded(300*time.Microsecond, 5*time.Millisecond)
	if w.opts.Profile == Failsafe && w.failsafe.stays == nil && w.rng.IntN(8) == 0 {
		back = w.bounded(0, 2*time.Second)
	}
	if w.opts.SlowAnswers {
		back = w.bounded(time.Second, 1900*time.Millisecond)
	}
	to := w.node(name)
	if to == nil || to.agent == nil {
		w.eng.after(back, func() { said(ha.FailsafeAnswer{Problem: "connection refused"}) })
		return
	}
	if a.n.cut[name] || (w.lossy && w.rng.IntN(40) == 0) {
		return
	}
	w.failsafe.commands++
	b, id := to.agent, w.failsafe.commands
	if b.asked == nil {
		b.asked = map[uint64]func(ha.Reply){}
	}
	b.asked[id] = func(x ha.Reply) {
		answer := ha.FailsafeAnswer{Accepted: x.Promise != nil, Problem: x.Refused}
		if x.Promise != nil {
			answer.Promise = x.Promise.Until.Sub(b.now())
			w.logf("%s accepts %s", name, a.n.name)
		}
		w.eng.after(back, func() {
			if !to.cut[a.n.name] {
				said(answer)
			}
		})
	}
	b.deliver(ha.Commanded{ID: id, Command: ha.Failsafe{Ask: ask}})
}

// replied hands an answer to whoever waits for it.
func (a *agent) replied(x ha.Reply) {
	if answer := a.asked[x.Command]; answer != nil {
		delete(a.asked, x.Command)
		answer(x)
	}
}

// failsafeFault lets the store be away, and something happen meanwhile. It says when the next may come.
func (w *World) failsafeFault(n *node) time.Duration {
	if f := &w.failsafe; f.wanted || w.rng.IntN(3) == 0 {
		if was := f.wanted; !w.calmOutage() && !was {
			f.wanted = true
			return w.bounded(30*time.Second, 60*time.Second) // nothing goes wrong until then
		}
		f.wanted = false
		if f.stays != nil {
			return f.until.Sub(w.eng.now) + w.bounded(5*time.Second, 30*time.Second)
		}
	}
	long := w.bounded(3*time.Second, 90*time.Second)
	switch w.rng.IntN(9) {
	case 6:
		return w.forget()
	case 7:
		w.endSession()
		return w.bounded(time.Second, 20*time.Second)
	case 0:
		w.cutStore(w.leaderOr(n), long)
	case 1:
		for _, x := range w.nodes { // the store comes back one by one
			w.cutStore(x, long+w.bounded(0, 20*time.Second))
		}
	case 2:
		w.fault(n)
		return w.bounded(time.Second, 20*time.Second)
	default:
		w.outage(long)
	}
	w.touchAll()
	for range w.rng.IntN(4) {
		x := w.leaderOr(w.nodes[w.rng.IntN(len(w.nodes))])
		w.eng.after(w.bounded(0, long+5*time.Second), func() { w.duringOutage(x, long) })
	}
	return long + w.bounded(0, 40*time.Second)
}

// forget cuts the leader off from the store for so long that its key expires, starts the other agents again while it leads by their promises,
// and then cuts it off from them, too: nobody remembers anything, and nobody can ask it. It says when the next fault may come.
func (w *World) forget() time.Duration {
	l := w.writableNode()
	if l == nil || l.agent == nil {
		return time.Second
	}
	ttl := l.agent.machine.View().Settings.TTL
	at := ttl + w.bounded(500*time.Millisecond, ttl)
	w.cutStore(l, at+2*ttl)
	w.eng.after(at, func() {
		w.cutAll(l, 2*ttl)
		for _, n := range w.nodes {
			if n != l && n.agent != nil && w.faulty {
				n.touched = w.eng.now
				n.killAgent()
				w.restartAgent(n, w.bounded(50*time.Millisecond, time.Second))
			}
		}
	})
	return at + 3*ttl
}

// duringOutage is something that happens to a member while the store is away.
func (w *World) duringOutage(n *node, long time.Duration) {
	if !w.faulty {
		return
	}
	n.touched = w.eng.now
	switch w.rng.IntN(9) {
	case 0, 1:
		n.killAgent()
		w.restartAgent(n, w.bounded(100*time.Millisecond, 20*time.Second))
	case 2, 3:
		w.pause(n, w.bounded(100*time.Millisecond, 40*time.Second))
	case 4:
		w.cutAll(n, w.bounded(time.Second, long))
	case 5:
		w.cutPeers(n, w.bounded(time.Second, long))
	case 6:
		n.killHost()
		w.restartAgent(n, w.bounded(time.Second, 40*time.Second))
	case 7:
		w.switchConfig()
	case 8:
		w.logf("%s postmaster killed", n.name)
		n.server.die()
	}
}

// switchConfig is an operator who changes the ttl or the mode.
func (w *World) switchConfig() {
	c, err := w.cluster()
	if err != nil || c.Config == nil {
		return
	}
	var old map[string]any
	if json.Unmarshal(c.Config.Raw, &old) != nil {
		return
	}
	raw := fmt.Sprintf(`{"ttl":%d,"loop_wait":%d,"retry_timeout":2,"failsafe_mode":%v}`,
		[]int{5, 20, 30}[w.rng.IntN(3)], 1+w.rng.IntN(3), w.rng.IntN(4) != 0)
	w.logf("operator: %s", raw)
	if w.admin.PutConfig(context.Background(), c.Config.Version, []byte(raw)) == nil {
		w.touchAll()
	}
}

// calmOutage takes the store away while everybody is well, and expects that nobody notices; false: somebody is not well.
func (w *World) calmOutage() bool {
	p := w.writableNode()
	if p == nil || !w.well(p) {
		return false
	}
	away := w.bounded(5*time.Second, 60*time.Second)
	w.failsafe.stays, w.failsafe.until = p, w.eng.now.Add(away+20*time.Second)
	w.failsafe.calm++
	w.logf("all are well: %s shall stay writable", p.name)
	w.outage(away)
	if w.rng.IntN(2) == 0 { // the loop of the leader stands still for a while that its guard allows for
		w.eng.after(w.bounded(0, away), func() {
			if a := p.agent; a != nil {
				if left := a.machine.View().Fence.Order.Fast.Sub(a.now()); left > 3*time.Second {
					w.pause(p, w.bounded(0, left-3*time.Second))
				}
			}
		})
	}
	return true
}

// slowTTL leaves time for answers that take two seconds.
const slowTTL = 10 * time.Second

// well says whether nothing has gone wrong for so long that failsafe mode has to work now.
func (w *World) well(p *node) bool {
	c, err := w.cluster()
	if err != nil || w.storeDown || w.lossy || w.refuses || c.Leader == nil || c.Leader.Name != p.name || len(c.Failsafe) != len(w.nodes) {
		return false
	}
	for _, n := range w.nodes {
		a := n.agent
		if a == nil || n.storeCut || w.eng.now.Before(n.pausedUntil) || n.slow > 0 || w.eng.now.Sub(n.touched) < 20*time.Second {
			return false
		}
		v := a.machine.View()
		if w.opts.SlowAnswers && v.Settings.TTL < slowTTL {
			return false // an operator has lowered it
		}
		if !v.Settings.Failsafe || v.Store.Cluster.Leader == nil || v.Store.Cluster.Leader.Name != p.name || v.Task != nil || len(v.Failsafe.Members) != len(w.nodes) {
			return false
		}
		for _, o := range w.nodes {
			if n.cut[o.name] {
				return false
			}
		}
	}
	l := p.agent.machine.View()
	return l.Lease.State == ha.LeaseHeld && l.Handover == nil && l.Store.Cluster.Failover == nil
}

// checkFailsafe holds the cluster to the promise of failsafe mode: the store alone was away, and clients did not notice.
func (w *World) checkFailsafe(writable *node) {
	f := &w.failsafe
	if f.stays == nil || !w.eng.now.Before(f.until) {
		f.stays = nil
		return
	}
	if f.stays != writable {
		w.violate("%s is not writable any more, although the store alone was away and all members were well: %s", f.stays.name, w.situation())
	}
}
