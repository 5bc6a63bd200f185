package hatest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Story is a simulated cluster that is told what happens, one line at a time, and answers with what followed:
//
//	s := hatest.NewStory(hatest.Options{Nodes: 3})
//	s.Do("start a")
//	out, err := s.Do("advance 10s")
//
// Nothing is left to chance in it: each message and each task takes the middle of the time that it might take. The commands are listed at
// Do.
type Story struct {
	w    *World
	told int // how much of the log was returned
}

// midway is a source of numbers that are all in the middle.
type midway struct{}

func (midway) Uint64() uint64 { return 1<<63 | 1<<32 | 12345 }

// NewStory makes the hosts, on which nothing runs yet. Of the options Nodes, Config, Rules, ReplicationDelay and NoFence count.
func NewStory(o Options) *Story {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.ReplicationDelay == 0 {
		o.ReplicationDelay = 60 * time.Millisecond
	}
	if o.Config == "" {
		o.Config = `{"ttl":30,"loop_wait":10,"retry_timeout":10}`
	}
	o.Profile = scripted
	w := newWorld(o)
	w.rng = rand.New(midway{})
	for _, n := range w.nodes {
		w.eng.after(0, func() { w.replicate(n) })
	}
	w.eng.after(time.Second, w.write)
	return &Story{w: w}
}

// scripted is the profile of a story: its log has what a node decided for good, not each step on the way.
const scripted Profile = "scripted"

// decided writes what an agent has decided into the log.
func (w *World) decided(a *agent, before ha.Reason) {
	if w.opts.Profile != scripted {
		if d := a.machine.Decision().Reason; d.Rule != before.Rule || d.Text != before.Text {
			w.logf("%s %s: %s", a.n.name, d.Rule, d.Text)
		}
		return
	}
	h := a.machine.History()
	from := len(h)
	for from > 0 && h[from-1] != a.told {
		from--
	}
	for _, x := range h[from:] {
		a.told = x
		if x.Rule == "task.running" {
			continue // what was begun was told
		}
		w.logf("%s %s: %s", a.n.name, x.Rule, x.Sentence)
	}
}

// Do carries out one command and returns what happened, a line for each event. Times are durations as in 10s.
//
//	start NODE            its agent starts
//	stop NODE             its agent is asked to end
//	kill agent|server|host|guard NODE
//	pause NODE TIME       its agent is frozen
//	freeze guard|host NODE TIME: its guard, or agent, guard and server together
//	cut NODE store|NODE   no messages between the two
//	mend NODE store|NODE
//	store down|up|wipe    it answers nobody; it has lost everything
//	store backup|restore  what it held then is what it holds
//	end-session NODE      the store ends the node's session early
//	delete KEY            an operator deletes a key of the cluster
//	switchover NODE [NODE] and failover NODE: what an operator asks for
//	promote NODE          somebody promotes the server by hand
//	fail starts|stops|promotes|rewinds NODE COUNT
//	slow NODE TIME        starts, stops and clones take that much longer
//	advance TIME          lets time pass
//	status                who is what now
//	history               the list of timelines in the store
//	explain NODE          why it does what it does
func (s *Story) Do(line string) (string, error) {
	w := &words{noun: line, rest: strings.Fields(line), now: s.w.eng.now}
	if len(w.rest) == 0 {
		return "", nil
	}
	command := w.next()
	do := commands[command]
	if do == nil {
		return "", fmt.Errorf("story: %q: there is no command %q", line, command)
	}
	out := do(s, w)
	if w.err == nil && len(w.rest) > 0 {
		w.fail(fmt.Errorf("too many words: %s", strings.Join(w.rest, " ")))
	}
	if w.err != nil {
		return "", fmt.Errorf("story: %q: %w", line, w.err)
	}
	return s.news() + out, nil
}

// commands are the first words of lines.
var commands = map[string]func(*Story, *words) string{
	"start": tell(func(s *Story, w *words, n *node) {
		if n.agent == nil {
			n.startAgent()
		}
	}),
	"stop":       tell(func(s *Story, _ *words, n *node) { s.w.stopAgent(n) }),
	"promote":    tell(func(s *Story, _ *words, n *node) { n.server.promote(0) }),
	"pause":      tell(func(s *Story, w *words, n *node) { s.w.pause(n, w.duration()) }),
	"slow":       tell(func(_ *Story, w *words, n *node) { n.slow = w.duration() }),
	"cut":        tell(func(s *Story, w *words, n *node) { s.link(w, n, true) }),
	"mend":       tell(func(s *Story, w *words, n *node) { s.link(w, n, false) }),
	"switchover": tell(func(s *Story, w *words, n *node) { s.ask(dcs.Failover{Leader: n.name, Candidate: w.text()}) }),
	"failover":   tell(func(s *Story, _ *words, n *node) { s.ask(dcs.Failover{Candidate: n.name}) }),
	"end-session": tell(func(s *Story, _ *words, n *node) {
		if n.agent != nil {
			s.w.store.EndSession(n.agent.machine.View().Session.ID)
		}
	}),
	"kill": storyKill, "freeze": storyFreeze, "fail": storyFail, "store": storyStore, "advance": storyAdvance,
	"status":  func(s *Story, _ *words) string { return s.status() },
	"history": func(s *Story, _ *words) string { return s.history() },
	"explain": storyExplain,
	"delete": func(s *Story, w *words) string {
		if key := w.next(); !s.w.store.Delete(s.w.admin.Prefix() + key) {
			w.fail(fmt.Errorf("there is no key %s", key))
		}
		return ""
	},
}

// tell makes a command of what is done to one node.
func tell(do func(*Story, *words, *node)) func(*Story, *words) string {
	return func(s *Story, w *words) string {
		if n := s.node(w); n != nil {
			do(s, w, n)
		}
		return ""
	}
}

// node reads the name of one.
func (s *Story) node(w *words) *node {
	name := w.next()
	n := s.w.node(name)
	if n == nil {
		w.fail(fmt.Errorf("there is no node %q", name))
	}
	return n
}

func storyKill(s *Story, w *words) string {
	what, n := w.next(), s.node(w)
	if n == nil {
		return ""
	}
	switch what {
	case "agent":
		n.killAgent()
	case "server":
		n.server.die()
	case "host":
		n.killHost()
	case "guard":
		if n.agent != nil {
			n.killGuard()
		}
	default:
		w.unknown(what)
	}
	return ""
}

func storyFreeze(s *Story, w *words) string {
	what, n, d := w.next(), s.node(w), w.duration()
	switch {
	case n == nil || w.err != nil:
	case what == "host":
		s.w.freezeHost(n, d)
	case what == "guard" && n.agent != nil:
		n.freezeGuard(d)
	default:
		w.unknown(what)
	}
	return ""
}

func storyFail(s *Story, w *words) string {
	what, n, count := w.next(), s.node(w), w.number()
	if n == nil {
		return ""
	}
	switch what {
	case "starts":
		n.badStarts = count
	case "stops":
		n.badStops = count
	case "promotes":
		n.badPromotes = count
	case "rewinds":
		n.badRewinds = count
	default:
		w.unknown(what)
	}
	return ""
}

func storyStore(s *Story, w *words) string {
	switch x := w.next(); x {
	case "down", "up":
		s.w.storeDown = x == "down"
	case "wipe":
		s.w.store.Wipe()
	case "backup":
		s.w.backup = s.w.store.Backup()
	case "restore":
		s.w.store.Restore(s.w.backup)
	default:
		w.unknown(x)
	}
	return ""
}

// link cuts or mends the link between a node and the store or another node.
func (s *Story) link(w *words, n *node, cut bool) {
	if len(w.rest) > 0 && w.rest[0] == "store" {
		w.next()
		n.storeCut = cut
		return
	}
	if o := s.node(w); o != nil {
		n.cut[o.name], o.cut[n.name] = cut, cut
	}
}

// ask writes an operator's request.
func (s *Story) ask(f dcs.Failover) {
	prev := dcs.Version(0)
	if c, err := s.w.cluster(); err == nil && c.Failover != nil {
		prev = c.Failover.Version
	}
	if f.Leader == "" {
		s.w.operatorUntil = s.w.eng.now.Add(time.Minute)
	}
	_ = s.w.admin.PutFailover(context.Background(), prev, f)
}

func storyAdvance(s *Story, w *words) string {
	d := w.duration()
	if w.err != nil {
		return ""
	}
	for end := s.w.eng.now.Add(d); s.w.eng.step(end); {
		s.w.check() // a story goes on after what should not have happened; it is told once
	}
	out := s.news()
	if out == "" {
		out = "nothing happens\n"
	}
	return out
}

// news is what was logged since the last time, with times in tenths of a second.
func (s *Story) news() string {
	all := s.w.lines.String()
	news := all[s.told:]
	s.told = len(all)
	var b strings.Builder
	for line := range strings.Lines(news) {
		at, text, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		if t, err := strconv.ParseFloat(at, 64); err == nil {
			fmt.Fprintf(&b, "%6.1f %s", t, text)
		} else {
			b.WriteString(line)
		}
	}
	return b.String()
}

// status is a line for each node.
func (s *Story) status() string {
	leader := "nobody"
	if c, err := s.w.cluster(); err == nil && c.Leader != nil {
		leader = c.Leader.Name
	}
	var b strings.Builder
	fmt.Fprintf(&b, "leader key: %s\n", leader)
	for _, n := range s.w.nodes {
		fmt.Fprintf(&b, "%s: %s\n", n.name, s.describe(n))
	}
	return b.String()
}

// describe says what a node is.
func (s *Story) describe(n *node) string {
	x := n.server
	var what string
	switch {
	case x.dir != postgres.DataDirReady:
		what = "data directory " + string(x.dir)
	case x.pid == 0:
		what = fmt.Sprintf("down, timeline %d", x.tl)
	case x.writable():
		what = fmt.Sprintf("primary, timeline %d", x.tl)
	case x.inRecovery && x.streaming:
		what = fmt.Sprintf("standby, timeline %d, streams from %s", x.tl, x.upstream)
	case x.inRecovery:
		what = fmt.Sprintf("standby, timeline %d, does not stream", x.tl)
	default:
		what = fmt.Sprintf("primary, timeline %d, closed", x.tl)
	}
	switch {
	case n.agent == nil:
		what += "; no agent"
	case s.w.eng.now.Before(n.pausedUntil):
		what += "; its agent is frozen"
	case n.agent.machine.View().Lease.Auth.Holds(s.w.eng.now):
		what += "; has authority"
	}
	return what
}

// history is the list of timeline switches in the store.
func (s *Story) history() string {
	c, err := s.w.cluster()
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, h := range c.History {
		fmt.Fprintf(&b, "timeline %d ended, %s leads on\n", h.Timeline, h.Leader)
	}
	return b.String()
}

// storyExplain lists why an agent does what it does, and each rule of its situation that it passed over.
func storyExplain(s *Story, w *words) string {
	n := s.node(w)
	if n == nil || n.agent == nil {
		return "no agent runs\n"
	}
	d := n.agent.machine.Decision()
	var b strings.Builder
	section, _, _ := strings.Cut(string(d.Reason.Rule), ".")
	for _, p := range d.Trace {
		if strings.HasPrefix(string(p.Rule), section+".") {
			fmt.Fprintf(&b, "not %s: %s\n", p.Rule, p.Why)
		}
	}
	fmt.Fprintf(&b, "%s: %s\n", d.Reason.Rule, d.Reason.Text)
	return b.String()
}
