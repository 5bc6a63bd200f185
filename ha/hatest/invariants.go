package hatest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// violate notes the first broken invariant; the run ends there.
func (w *World) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf("at %.3f s: ", w.eng.now.Sub(epoch).Seconds()) + fmt.Sprintf(format, args...)
		w.logf("VIOLATION %s", w.violation)
	}
}

// check looks at what must hold after every event.
func (w *World) check() {
	first := (*node)(nil)
	for _, n := range w.nodes {
		if !n.server.writable() {
			continue
		}
		if first != nil {
			w.violate("two servers acknowledge commits: %s and %s", first.name, n.name)
		}
		first = n
	}
	for _, n := range w.nodes {
		if a := n.agent; a != nil {
			w.checkDemotion(a)
		}
	}
	w.checkFailsafe(first)
}

// calmDown is how long after the last fault what it led to may show.
const calmDown = time.Minute

// checkDemotion holds a node to the store's word: it may not demote because the key is lost while the key is there under its session, nor for want
// of a store that serves.
func (w *World) checkDemotion(a *agent) {
	v := a.machine.View()
	if !w.healed.IsZero() && a.machine.Decision().Reason.Rule == "authority.ending" && w.eng.now.Sub(w.healed) > calmDown {
		w.violate("%s demotes for want of the store, which has served everybody for %s: %s", a.n.name, w.eng.now.Sub(w.healed), v.Lease.RenewProblem)
	}
	if a.machine.Decision().Reason.Rule != "authority.lost" && v.Lease.State != ha.LeaseLost {
		return
	}
	c, err := w.cluster()
	if err == nil && c.Leader != nil && v.Session.ID != "" && c.Leader.Meta.Session == v.Session.ID && c.Leader.Name == a.n.called {
		w.violate("%s demotes as if it had lost the leader key, which is there: %s", a.n.name, v.Lease.Cause)
	}
}

// checkRelease holds a hand-over to its order: with the leader key gone, /status says how far the log reached.
func (w *World) checkRelease(a *agent, e ha.Event) {
	x, ok := e.(ha.Released)
	h := a.machine.View().Handover
	if !ok || x.Fault != nil || h == nil || h.End == 0 {
		return
	}
	if c, err := w.cluster(); err == nil && c.Status.Optime < uint64(a.n.server.checkpoint) {
		w.violate("%s has released the leader key, and /status ends at %s, before its shutdown checkpoint at %s", a.n.name, postgres.LSN(c.Status.Optime), a.n.server.checkpoint)
	}
}

// checkPrefix sees to it that a standby's log is a part of its upstream's: the newest common positions must hold the same record.
func (w *World) checkPrefix(s, up *server) {
	for i := max(0, len(s.log)-64); i < len(s.log); i++ { // every row is there once: an older difference would show here, too
		if i >= len(up.log) && up.inRecovery {
			return // another standby, which will receive it as well
		}
		if i >= len(up.log) || s.log[i] != up.log[i] {
			w.violate("the log of %s contradicts that of %s, from which it streams, at record %d", s.n.name, up.n.name, i)
			return
		}
	}
}

// settled is how long before the decision to lead a row must have been acknowledged to count: an answer may be two seconds old when it is weighed,
// and what was acknowledged after it was given nobody has heard of.
const settled = 3 * time.Second

// promoted looks at a server that has just been promoted: no standby in its reach may hold an acknowledged row that it lacks, and none
// may be on a newer timeline, unless an operator named it in a failover.
func (w *World) promoted(s *server) {
	w.logf("%s promoted: timeline %d at %s", s.n.name, s.tl, s.end())
	w.watchPromotion(s.n)
	if c, err := w.cluster(); err == nil && c.Failover != nil && c.Failover.Leader == "" {
		return
	}
	if w.eng.now.Before(w.operatorUntil) {
		return
	}
	a := s.n.agent
	if a == nil {
		return // it obeys a request of an agent that is gone: who was asked then is not known
	}
	for _, e := range a.electors {
		for _, r := range e.log {
			if r.row > 0 && a.decided.Sub(w.rows[r.row-1].at) > settled && !s.has(r) && !s.abandoned(r) {
				w.violate("%s was promoted and lacks row %d, acknowledged %.1f s ago, which %s had when it decided to lead", s.n.name, r.row,
					w.eng.now.Sub(w.rows[r.row-1].at).Seconds(), e.name)
				return
			}
		}
	}
}

// elector is a standby that a node has to ask before it leads, and what that holds in that moment.
type elector struct {
	name string
	log  []record
}

// decides notes whom a node that is about to ask for the leader key must have heard. Who was cut off, frozen or touched by a fault a moment ago
// need not have been heard, nor who may not lead.
func (w *World) decides(a *agent) {
	a.decided, a.electors = w.eng.now, nil
	c, err := w.cluster()
	for _, n := range w.nodes {
		o := n.server
		if n == a.n || n.agent == nil || n.noFailover || n.agent.machine.View().NoWatchdog(n.agent.now()) || o.pid == 0 || !o.ready || !o.inRecovery || o.stopping {
			continue
		}
		if w.apart(n, a.n) || !w.stable(n, a.n) || w.eng.now.Sub(o.readyAt) < settled || err == nil && len(c.Failsafe) > 0 && c.Failsafe[n.called] == "" {
			continue
		}
		a.electors = append(a.electors, elector{n.name, o.log[:len(o.log):len(o.log)]})
	}
}

// abandoned says whether a record lies on a branch that was left before the present promotion: a failover has lost it already.
func (s *server) abandoned(r record) bool {
	before := s.history[:len(s.history)-1]
	at := slices.IndexFunc(before, func(h postgres.Switch) bool { return h.Parent == r.tl })
	if at >= 0 {
		return r.lsn > before[at].LSN
	}
	return r.tl < s.history[len(s.history)-1].Parent
}

// apart says whether two nodes cannot talk, or could not a moment ago.
func (w *World) apart(a, b *node) bool {
	return a.cut[b.name] || b.cut[a.name] || a.storeCut || b.storeCut || w.eng.now.Before(a.pausedUntil) || w.eng.now.Before(b.pausedUntil)
}

// stable says whether nothing has happened to either node for a while, so that they must have known of each other.
func (w *World) stable(a, b *node) bool {
	return !w.lossy && w.eng.now.Sub(a.touched) > 10*time.Second && w.eng.now.Sub(b.touched) > 10*time.Second
}

// has says whether the server's log holds the record.
func (s *server) has(r record) bool {
	i, ok := slices.BinarySearchFunc(s.log, r, func(x, y record) int { return int(int64(x.lsn) - int64(y.lsn)) })
	return ok && s.log[i] == r
}

// unserved says whether a standby is being started, cannot become consistent, and lacks a part of its log that up does not have any more: it
// waits to be reinitialized (A10), and its agent says so.
func (s *server) unserved(up *server) bool {
	a := s.n.agent
	return s.awaited != nil && s.upstream == up.n.name && !up.keeps(s.end()) && a != nil && strings.Contains(a.machine.Decision().Reason.Text, "reinitialize")
}

// checkEnd looks at what must hold after three minutes without faults.
func (w *World) checkEnd() {
	var leader *node
	for _, n := range w.nodes {
		if n.server.writable() {
			leader = n
		}
	}
	if leader == nil {
		w.violate("nobody is writable three minutes after the last fault: %s", w.situation())
		return
	}
	if c, err := w.cluster(); err == nil && (c.Leader == nil || c.Leader.Name != leader.called) {
		w.violate("%s is writable, and does not hold the leader key", leader.name)
	}
	if a := leader.agent; a == nil || !a.machine.View().Lease.Auth.Holds(w.eng.now) {
		w.violate("%s is writable without authority", leader.name)
	}
	for _, n := range w.nodes {
		if n != leader && !n.gone && (!n.server.streaming || n.server.upstream != leader.name) && !n.server.unserved(leader.server) {
			w.violate("%s does not stream from %s three minutes after the last fault: %s", n.name, leader.name, w.situation())
		}
	}
	if w.opts.Profile == Planned {
		for _, r := range w.rows {
			if w.eng.now.Sub(r.at) > settled && !leader.server.hasRow(r.row) {
				w.violate("row %d, acknowledged by %s, is lost although only planned acts happened", r.row, r.node.name)
				return
			}
		}
	}
}

func (s *server) hasRow(row int) bool {
	return slices.ContainsFunc(s.log, func(r record) bool { return r.row == row })
}

// situation says where everybody stands, for a violation.
func (w *World) situation() string {
	var b []byte
	for _, n := range w.nodes {
		s := n.server
		b = fmt.Appendf(b, "[%s dir=%s pid=%d recovery=%v tl=%d end=%s up=%s streaming=%v", n.name, s.dir, s.pid, s.inRecovery, s.tl, s.end(), s.upstream, s.streaming)
		if n.agent != nil {
			d := n.agent.machine.Decision().Reason
			b = fmt.Appendf(b, " %s: %s", d.Rule, d.Text)
		}
		b = append(b, "] "...)
	}
	return string(b)
}
