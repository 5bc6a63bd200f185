package hatest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Model is the simulator's PostgreSQL without agents, store and faults: servers that carry out one task after the other. It exists so
// that a test can hold it to real servers; a simulator whose PostgreSQL does what no PostgreSQL does proves nothing.
type Model struct {
	w    *World
	next uint64 // request id
}

// NewModel makes n servers with empty data directories, named a, b, c, … A task's Upstream names another by its Host.
func NewModel(n int) *Model {
	// Standbys receive every few milliseconds: the real ones that this is compared with are waited for, too.
	w := newWorld(Options{Nodes: n, ReplicationDelay: 5 * time.Millisecond, NoFence: true})
	w.operatorUntil = epoch.AddDate(100, 0, 0) // who may be promoted is the rules' business, not the servers'
	for _, n := range w.nodes {
		n.pausedUntil = w.operatorUntil // the agent decides nothing: what it is told stays in its inbox
		n.agent = &agent{n: n, puppet: true}
		n.agent.fence = &fence{a: n.agent}
		w.eng.after(0, func() { w.replicate(n) })
	}
	return &Model{w: w}
}

// Names lists the servers.
func (m *Model) Names() []string {
	var names []string
	for _, n := range m.w.nodes {
		names = append(names, n.name)
	}
	return names
}

// Run carries out a task on the named server and returns how it ended.
func (m *Model) Run(name string, t postgres.Task) (postgres.Outcome, error) {
	a := m.w.node(name).agent
	m.next++
	a.inbox = nil
	a.run(ha.Request{ID: m.next, Action: ha.RunTask{Task: t}}, t)
	for end := m.w.eng.now.Add(time.Minute); m.w.eng.step(end); {
		i := slices.IndexFunc(a.inbox, func(e ha.Event) bool { d, ok := e.(ha.TaskDone); return ok && d.ID == m.next })
		if i < 0 {
			continue
		}
		if d := a.inbox[i].(ha.TaskDone); d.Fault != nil {
			return d.Outcome, fmt.Errorf("%s: %s", t.Kind, d.Fault)
		} else {
			return d.Outcome, nil
		}
	}
	if a.cancel != nil {
		a.cancel()
	}
	return postgres.Outcome{}, ErrEndless
}

// ErrEndless is the error of a task that had not ended after a simulated minute, and was cancelled then: the start of a standby whose
// upstream does not send what makes its data consistent.
var ErrEndless = errors.New("the task did not end")

// Kill ends the named server's postmaster without any warning.
func (m *Model) Kill(name string) { m.w.node(name).server.die() }

// Restartpoint lets a standby, running or killed a moment ago, have made one of the restartpoints that PostgreSQL makes when it likes.
func (m *Model) Restartpoint(name string) { m.w.node(name).server.restartpoint() }

// Background lets a primary have written a record that nobody asked for: a page, or else something like the list of running transactions.
func (m *Model) Background(name string, page bool) {
	kind := recordOther
	if page {
		kind = recordPage
	}
	m.w.node(name).server.write(kind)
}

// Write commits a row on the named server and says whether that was acknowledged. Rows are positive numbers.
func (m *Model) Write(name string, row int) bool {
	s := m.w.node(name).server
	if !s.writable() {
		return false
	}
	s.write(row)
	return true
}

// Wait commits a row on the named server, whose client then waits for a synchronous standby that never answers; false: the server takes no
// writes. Until the wait ends nobody sees the row there, although it is in the log, and every standby shows it. It ends with the server, or by
// EndWaits.
func (m *Model) Wait(name string, row int) bool {
	s := m.w.node(name).server
	if !s.writable() {
		return false
	}
	s.write(row)
	s.waiting = append(s.waiting, row)
	return true
}

// Waits says how many commits wait on the named server.
func (m *Model) Waits(name string) int { return len(m.w.node(name).server.waiting) }

// EndWaits ends the waits on the named server, and says whether the clients were told that their rows are there: a commit whose wait is
// cancelled succeeds, with a warning that nobody reads; the client of a backend that is terminated hears nothing. The rows stay, whatever
// was said.
func (m *Model) EndWaits(name string, cancelled bool) (acknowledged bool) {
	s := m.w.node(name).server
	acknowledged = cancelled && len(s.waiting) > 0
	s.waiting = nil
	return acknowledged
}

// Settle lets time pass until nothing moves any more. Its error is a broken promise of the model itself, such as a standby whose log
// contradicts that of the server that it streams from.
func (m *Model) Settle() error {
	m.w.eng.run(m.w.eng.now.Add(time.Second))
	if m.w.violation != "" {
		return errors.New(m.w.violation)
	}
	return nil
}

// run lets everything happen that is due before end.
func (e *engine) run(end time.Time) {
	for e.step(end) {
	}
}

// Observe is one look at the named server.
func (m *Model) Observe(name string) postgres.Observation { return m.w.node(name).server.observe() }

// Lineage is what the named server says of itself over the replication protocol; nil: it does not answer.
func (m *Model) Lineage(name string) *postgres.Lineage {
	l, _ := m.w.node(name).server.lineage() // refused: nil
	return l
}

// Rows lists, in order, the rows that a client of the named server sees.
func (m *Model) Rows(name string) []int {
	var rows []int
	s := m.w.node(name).server
	for _, r := range s.log {
		if r.row > 0 && !slices.Contains(s.waiting, r.row) {
			rows = append(rows, r.row)
		}
	}
	slices.Sort(rows)
	return rows
}
