package ha

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// Status is the last published snapshot. It is never nil and never changes.
func (n *Node) Status() *Status { return n.status.Load() }

// Now is the node's clock.
func (n *Node) Now() time.Time { return n.cfg.Clock.Now() }

// Explain says why the node does what it does.
func (n *Node) Explain() Explanation { return *n.explain.Load() }

// Glance asks for a fresh look at the server, and waits for nothing.
func (n *Node) Glance() {
	select {
	case n.events <- Commanded{Command: Look{}}:
	default: // there is enough to do that looks are taken anyway
	}
}

// Reload makes s the settings, after the local file was read again. A node that has ended ignores it.
func (n *Node) Reload(s Settings) {
	select {
	case n.events <- SettingsChanged{s}:
	case <-n.ended:
	}
}

// Submit hands c to the node and waits for its answer, until ctx ends. It returns ErrStopped from a node that has ended. A node whose Run
// was not called yet answers later.
func (n *Node) Submit(ctx context.Context, c Command) (Answer, error) {
	ch := make(chan Answer, 1)
	n.commands.Lock()
	n.commands.next++
	id := n.commands.next
	n.commands.waiting[id] = ch
	n.commands.Unlock()
	select {
	case n.events <- Commanded{ID: id, Command: c}:
	case <-n.ended:
		return n.unanswered(id, ch, ErrStopped)
	case <-ctx.Done():
		return n.unanswered(id, ch, context.Cause(ctx))
	}
	select {
	case a := <-ch:
		return a, nil
	case <-n.ended:
		return n.unanswered(id, ch, ErrStopped)
	case <-ctx.Done():
		a, err := n.unanswered(id, ch, context.Cause(ctx))
		select {
		case n.events <- CommandDropped{ID: id}:
		default: // the queue is full: abandoned finds it
		}
		return a, err
	}
}

// unanswered gives a command up, unless its answer has come in the same moment.
func (n *Node) unanswered(id uint64, ch <-chan Answer, err error) (Answer, error) {
	n.forget(id)
	select {
	case a := <-ch:
		return a, nil
	default:
		return Answer{}, err
	}
}

// abandoned finds a command in the view that nobody waits for any more: its CommandDropped found no room in the queue.
func (n *Node) abandoned() (id uint64, found bool) {
	pending := n.machine.View().Commands
	if len(pending) == 0 {
		return 0, false
	}
	n.commands.Lock()
	defer n.commands.Unlock()
	for _, c := range pending {
		if n.commands.waiting[c.ID] == nil {
			return c.ID, true
		}
	}
	return 0, false
}

func (n *Node) forget(id uint64) {
	n.commands.Lock()
	delete(n.commands.waiting, id)
	n.commands.Unlock()
}

func (n *Node) reply(now time.Time, r Reply) {
	n.commands.Lock()
	ch := n.commands.waiting[r.Command]
	delete(n.commands.waiting, r.Command)
	n.commands.Unlock()
	if ch == nil {
		return
	}
	l := &n.machine.View().Local
	a := Answer{Observed: l.Obs, ObservedAt: l.Sent, Refused: r.Refused, Off: r.Off}
	if r.Promise != nil {
		a.Promise = r.Promise.Until.Sub(now)
	}
	ch <- a
}

// Wait returns the first published status for which ok is true. Of a node that has ended it returns the last one, with ErrStopped if that
// is not it; when ctx ends, the present one and the context's cause.
func (n *Node) Wait(ctx context.Context, ok func(*Status) bool) (*Status, error) {
	for {
		changed := *n.changed.Load()
		if s := n.Status(); ok(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-n.ended:
			if s := n.Status(); !ok(s) {
				return s, ErrStopped
			}
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
		Accepting: v.accepting(), Settings: v.Settings, Fence: v.describeFence(), Watchdog: v.describeWatchdog(now), NoWatchdog: v.NoWatchdog(now), Reason: m.last.Reason,
		Notices: v.notices(now), NextLoop: next, ShuttingDown: !v.Shutdown.IsZero(), Named: v.nameChecked(), Member: v.member(),
	}
	if v.leads() {
		s.Authority = v.Lease.Auth
	}
	s.FailsafeUntil = v.failsafeUntil()
	if v.Task != nil {
		s.Task = string(v.Task.Task.Kind)
	}
	s.Busy = v.busy()
	s.RuleCounts = maps.Clone(m.counts)
	s.FenceFired, s.Demotions, s.Overruns = v.Fence.Fired, v.Demotions, m.overruns
	return s
}

// busy lists the actions under way.
func (v *View) busy() []string {
	var names []string
	for _, f := range v.Lanes {
		if f.ID != 0 {
			names = append(names, f.Name)
		}
	}
	lanes := len(names)
	for name, p := range v.Peers {
		if p.Asking != 0 {
			names = append(names, PollPeer{dcs.Member{Name: name}}.Name())
		}
	}
	slices.Sort(names[lanes:])
	return names
}

func (v *View) describeFence() string {
	switch {
	case !v.Fence.Unguarded.IsZero():
		return v.Self.Fence + ": nobody guards the server since " + v.Fence.Unguarded.Format(time.RFC3339Nano)
	case v.Fence.Lost != "":
		return "lost: " + v.Fence.Lost
	case v.Fence.Armed && v.Self.Fence != (Unfenced{}).Describe():
		return v.Self.Fence + ", armed until " + v.Fence.Order.Kill.Format(time.RFC3339Nano)
	}
	return v.Self.Fence
}

// notices is everything that an operator should know.
func (v *View) notices(now time.Time) []string {
	n := append(slices.Clone(v.Settings.Notices), v.watchdogNotices(now)...)
	n = append(n, v.Store.Cluster.Problems...)
	if v.changed() {
		n = append(n, v.Changed.Why+"; nobody leads there yet")
	}
	if v.Local.Obs.Problem != "" {
		n = append(n, v.Local.Obs.Problem)
	}
	if j := v.ClockJump; !j.At.IsZero() {
		n = append(n, j.String())
	}
	if v.Configured.Problem != "" {
		n = append(n, "the settings could not be handed to the server: "+v.Configured.Problem)
	}
	return n
}

func explanation(now time.Time, v *View, m *Machine, s *Status) *Explanation {
	e := &Explanation{Name: v.Self.Name, At: now, Role: s.Role, Rule: m.last.Reason.Rule, Sentence: m.last.Reason.Text,
		Passed: m.last.Trace, Fence: s.Fence, Watchdog: s.Watchdog, Notices: s.Notices, Events: m.history}
	if !m.last.Until.IsZero() {
		e.Until = &m.last.Until
	}
	return e
}

var _ Asker = (*Node)(nil)
