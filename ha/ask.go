package ha

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// Status is the last published snapshot. It is never nil and never changes.
func (n *Node) Status() *Status { return n.status.Load() }

// Now is the node's clock.
func (n *Node) Now() time.Time { return n.cfg.Clock.Now() }

// Explain says why the node does what it does.
func (n *Node) Explain() Explanation { return *n.explain.Load() }

// Reload makes s the settings, after the local file was read again.
func (n *Node) Reload(s Settings) { n.events <- SettingsChanged{s} }

// Submit hands c to the node and waits for its answer.
func (n *Node) Submit(ctx context.Context, c Command) (Answer, error) {
	ch := make(chan Answer, 1)
	n.commands.Lock()
	n.commands.next++
	id := n.commands.next
	n.commands.waiting[id] = ch
	n.commands.Unlock()
	select {
	case n.events <- Commanded{ID: id, Command: c}:
	case <-ctx.Done():
		n.forget(id)
		return Answer{}, context.Cause(ctx)
	}
	select {
	case a := <-ch:
		return a, nil
	case <-ctx.Done():
		n.forget(id)
		select {
		case n.events <- CommandDropped{ID: id}:
		default: // the node is busy or has ended; a stale command costs it one answer to nobody
		}
		return Answer{}, context.Cause(ctx)
	}
}

func (n *Node) forget(id uint64) {
	n.commands.Lock()
	delete(n.commands.waiting, id)
	n.commands.Unlock()
}

func (n *Node) reply(id uint64) {
	n.commands.Lock()
	ch := n.commands.waiting[id]
	delete(n.commands.waiting, id)
	n.commands.Unlock()
	if ch != nil {
		l := &n.machine.View().Local
		ch <- Answer{Observed: l.Obs, ObservedAt: l.Sent}
	}
}

// Wait returns the first published status for which ok is true.
func (n *Node) Wait(ctx context.Context, ok func(*Status) bool) (*Status, error) {
	for {
		changed := *n.changed.Load()
		if s := n.Status(); ok(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return n.Status(), context.Cause(ctx)
		}
	}
}

// publish makes the view visible, and tells the hooks what has changed.
func (n *Node) publish(now, next time.Time) {
	v := n.machine.View()
	s := v.statusAt(now, next, n.machine)
	n.status.Store(s)
	n.explain.Store(explanation(now, v, n.machine, s))
	c := make(chan struct{})
	close(*n.changed.Swap(&c))
	if n.cfg.Hooks == nil {
		return
	}
	var notes []Notification
	notes, n.known = n.known.next(v)
	for _, note := range notes {
		n.cfg.Hooks.Notify(note)
	}
}

// statusAt is the view for others.
func (v *View) statusAt(now, next time.Time, m *Machine) *Status {
	s := &Status{
		Name: v.Self.Name, Scope: v.Self.Scope, StartID: v.Self.StartID, At: now,
		State: v.state(), Role: v.role(), Observed: v.Local.Obs, ObservedAt: v.Local.Sent,
		Cluster: v.Store.Cluster, ClusterAt: v.Store.At, StoreSeen: v.Store.Answered, StoreProblem: v.Store.Problem,
		Accepting: v.accepting(), Settings: v.Settings, Fence: v.describeFence(), Reason: m.last.Reason,
		Notices: v.notices(), NextLoop: next, ShuttingDown: !v.Shutdown.IsZero(), Member: v.member(),
	}
	if v.Lease.State == LeaseHeld {
		s.Authority = v.Lease.Auth
	}
	if v.Task != nil {
		s.Task = string(v.Task.Task.Kind)
	}
	s.RuleCounts = maps.Clone(m.counts)
	return s
}

func (v *View) describeFence() string {
	switch {
	case v.Fence.Lost != "":
		return "lost: " + v.Fence.Lost
	case v.Fence.Armed && v.Self.Fence != (Unfenced{}).Describe():
		return v.Self.Fence + ", armed until " + v.Fence.Order.Kill.Format(time.RFC3339Nano)
	}
	return v.Self.Fence
}

// notices is everything that an operator should know.
func (v *View) notices() []string {
	n := slices.Clone(v.Settings.Notices)
	n = append(n, v.Store.Cluster.Problems...)
	if v.Local.Obs.Problem != "" {
		n = append(n, v.Local.Obs.Problem)
	}
	if v.Configured.Problem != "" {
		n = append(n, "the settings could not be handed to the server: "+v.Configured.Problem)
	}
	return n
}

func explanation(now time.Time, v *View, m *Machine, s *Status) *Explanation {
	e := &Explanation{Name: v.Self.Name, At: now, Role: s.Role, Rule: m.last.Reason.Rule, Sentence: m.last.Reason.Text,
		Passed: m.last.Trace, Fence: s.Fence, Notices: s.Notices, Events: m.history}
	if !m.last.Until.IsZero() {
		e.Until = &m.last.Until
	}
	return e
}

// callbackState is what the last callbacks said.
type callbackState struct {
	role    dcs.Role
	running bool
	fired   bool
}

// next derives callbacks from two successive states: on_start, on_stop and on_role_change, with Patroni's role argument. A change of role
// of a server whose callbacks were heard before fires on_role_change alone.
func (c callbackState) next(v *View) ([]Notification, callbackState) {
	if !v.Local.Known || v.Local.Closed || v.Local.Stale {
		return nil, c
	}
	n := callbackState{role: v.role(), running: v.running() && v.Local.Obs.SQL != nil, fired: c.fired}
	if n.role == dcs.RolePromoted || (v.Task != nil && v.Task.Task.Kind != postgres.TaskCheckpoint && v.Task.Task.Kind != postgres.TaskLineage) {
		return nil, c // wait for the end of the change
	}
	var notes []Notification
	note := func(action string, role dcs.Role) {
		if cmd := v.Settings.Postgres.Callbacks[action]; cmd != "" {
			notes = append(notes, Notification{Action: action, Role: role, Command: cmd})
		}
	}
	switch {
	case n.running && c.fired && n.role != c.role:
		note("on_role_change", n.role)
	case n.running && !c.running:
		note("on_start", n.role)
	case !n.running && c.running && n.role == dcs.RoleDemoted:
		note("on_role_change", n.role)
	case !n.running && c.running && !v.Shutdown.IsZero():
		note("on_stop", n.role)
	case !n.running && !c.running && c.fired && n.role != c.role && n.role == dcs.RoleDemoted:
		note("on_role_change", n.role)
	default:
		if n.running == c.running {
			n.role = c.role
			if !c.fired {
				n.role = v.role()
			}
		}
	}
	n.fired = n.fired || n.running
	return notes, n
}

var _ Asker = (*Node)(nil)
