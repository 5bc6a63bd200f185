package hatest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// World is one simulated cluster.
type World struct {
	opts  Options
	eng   engine
	rng   *rand.Rand
	store *memory.Store
	admin *dcs.Client
	nodes []*node

	storeKind
	config        []byte
	storeDown     bool
	refuses       bool      // the store says no to everything
	readOnly      bool      // the store has no room, and refuses every write
	faulty        bool      // faults happen now
	healed        time.Time // when the faults of a history were over; zero: they are not
	lossy         bool      // single messages are lost and late
	pids          int
	guards        int // processes, ever
	records       int // of all servers, ever
	agents        int
	rows          []ack     // acknowledged rows, in order
	operatorUntil time.Time // a failover by an operator may lose rows until then
	failsafe      failsafeWorld

	steps, ops, fenced int
	resets             int
	instant            time.Time // to count the steps of
	stepsNow           int
	second             int64 // to count the steps of
	stepsInSecond      int
	counts             map[ha.RuleID]uint64
	lines              strings.Builder
	violation          string
}

// ack is a row that a server acknowledged.
type ack struct {
	row  int
	at   time.Time
	node *node
}

// epoch is when every simulated history begins.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(o Options) *World {
	w := &World{opts: o, rng: rand.New(rand.NewPCG(o.Seed, 0x7461_6e69_7374)), counts: map[ha.RuleID]uint64{}}
	w.eng.now = epoch
	w.config = []byte(o.Config)
	w.store = memory.New(w.storeOptions())
	w.admin = dcs.NewClient(w.store.Backend(), dcs.Options{Scope: "sim"})
	for i := range o.Nodes {
		n := &node{w: w, name: string(rune('a' + i)), cut: map[string]bool{}}
		n.called = n.name
		n.server = &server{n: n, w: w, dir: postgres.DataDirEmpty}
		n.watchdog = newWatchdog(n)
		w.nodes = append(w.nodes, n)
	}
	if o.Profile == Namesakes {
		w.nodes[len(w.nodes)-1].called = w.nodes[0].called
	}
	return w
}

// parse reads the few dynamic settings that the simulator uses.
func (w *World) parse(raw []byte) (ha.Settings, error) {
	c := struct {
		TTL       float64 `json:"ttl"`
		LoopWait  float64 `json:"loop_wait"`
		Retry     float64 `json:"retry_timeout"`
		Lag       int64   `json:"maximum_lag_on_failover"`
		StartTime float64 `json:"primary_start_timeout"`
		Failsafe  bool    `json:"failsafe_mode"`
	}{30, 10, 10, 1 << 20, 300, false}
	if err := json.Unmarshal(raw, &c); raw != nil && err != nil {
		return ha.Settings{}, err
	}
	d := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return ha.Settings{TTL: d(c.TTL), LoopWait: d(c.LoopWait), RetryTimeout: d(c.Retry), MaximumLagOnFailover: c.Lag,
		PrimaryStartTimeout: d(c.StartTime), Failsafe: c.Failsafe, PrimaryRaceBackoff: 2 * time.Second, HandoverTimeout: 5 * time.Second,
		Tags: ha.Tags{FailoverPriority: 1}, Postgres: postgres.Settings{UsePgRewind: true, RemoveOnDiverged: true, RemoveOnRewindFailure: true}}, nil
}

func (w *World) node(name string) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

func (w *World) logf(format string, args ...any) {
	fmt.Fprintf(&w.lines, "%10.3f ", w.eng.now.Sub(epoch).Seconds())
	fmt.Fprintf(&w.lines, format, args...)
	w.lines.WriteByte('\n')
}

// changed tells every node that can hear it what has changed in the store.
func (w *World) changed(hint dcs.Hint) {
	hint.Key = strings.TrimPrefix(hint.Key, w.admin.Prefix())
	member := hint.Put && strings.HasPrefix(hint.Key, "members/")
	for _, n := range w.nodes {
		a := n.agent
		if a == nil || member && !a.client.Attentive() {
			continue
		}
		w.eng.after(w.bounded(300*time.Microsecond, 8*time.Millisecond), func() { w.hint(a, hint) })
	}
}

// hint delivers a change, or, over a cut link, the news after it is mended that the watch was lost.
func (w *World) hint(a *agent, h dcs.Hint) {
	if a.n.storeCut || w.storeDown {
		w.eng.after(w.bounded(300*time.Millisecond, time.Second), func() { w.hint(a, dcs.Hint{}) })
		return
	}
	a.deliver(ha.Hinted{Hint: h})
}

// scheduleExpiry makes sure that the store looks for ended sessions on time.
func (w *World) scheduleExpiry() {
	if t, ok := w.store.NextExpiry(); ok {
		w.eng.at(t.Add(time.Millisecond), func() { w.store.Tick() })
	}
}

// storeFate decides what becomes of a request to the store.
func (w *World) storeFate(n *node) (memory.Fate, time.Duration) {
	delay := w.bounded(200*time.Microsecond, 6*time.Millisecond)
	if n.storeCut || w.storeDown {
		return memory.RequestLost, delay
	}
	if w.lossy {
		switch w.rng.IntN(40) {
		case 0:
			return memory.RequestLost, delay
		case 1:
			return memory.ReplyLost, delay
		case 2:
			return memory.Served, w.bounded(0, 4*time.Second)
		case 3:
			return memory.Refused, delay
		}
	}
	return memory.Served, delay
}

// poll asks another node's agent, at the address that its member key tells.
func (w *World) poll(a *agent, r ha.Request, m dcs.Member, lsn postgres.LSN) {
	name, host := m.Name, hostOf(m)
	there := w.bounded(300*time.Microsecond, 5*time.Millisecond)
	lost := w.lossy && w.rng.IntN(40) == 0
	silent := func() {
		w.eng.at(r.Deadline, func() {
			a.deliver(ha.PeerAnswered{ID: r.ID, Sent: r.Sent, Answer: ha.PeerAnswer{Name: name, Problem: "timeout"}, LSN: lsn})
		})
	}
	var ask func()
	ask = func() {
		to := w.node(host)
		if to == nil || to.agent == nil {
			a.deliver(ha.PeerAnswered{ID: r.ID, Sent: r.Sent, Answer: ha.PeerAnswer{Name: name, Problem: "connection refused"}, LSN: lsn})
			return
		}
		if lost || a.n.cut[host] || to.cut[a.n.name] || w.eng.now.Before(to.pausedUntil) {
			silent()
			return
		}
		answer := to.answer()
		if lsn != 0 && answer.Position.LSN < lsn && w.eng.now.Before(r.Sent.Add(time.Second)) {
			w.eng.after(5*time.Millisecond, ask)
			return
		}
		w.eng.after(there, func() { a.deliver(ha.PeerAnswered{ID: r.ID, Sent: r.Sent, Answer: answer, LSN: lsn}) })
	}
	w.eng.after(there, ask)
}

// hostOf is the host of a member's address.
func hostOf(m dcs.Member) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(m.Data.APIURL, "http://"), ":")
	return host
}

// answer is what GET /patroni would say.
func (n *node) answer() ha.PeerAnswer {
	o := n.server.observe()
	p := ha.PeerAnswer{Name: n.called, Reachable: true, StartID: fmt.Sprintf("%s-%d", n.name, n.agent.id), Role: dcs.RoleReplica, State: dcs.StateRunning}
	v := n.agent.machine.View()
	p.WatchdogFailed = v.NoWatchdog(n.agent.now())
	p.Leads = (v.Lease.State == ha.LeaseHeld || v.Lease.State == ha.LeasePromised) && v.Lease.Auth.Holds(n.agent.now())
	if o.Control != nil {
		p.SystemID = o.Control.SystemID
	}
	switch {
	case o.SQL == nil:
		p.State = dcs.StateStopped
		if v.Local.WasPrimary && v.Lease.State == ha.LeaseHeld && !v.Local.Crashed.IsZero() {
			p.Role = dcs.RolePrimary // it has crashed, and may start again in place
		}
		return p
	case o.Closed:
		p.InRecovery = true
		return p
	}
	p.InRecovery, p.Position = o.SQL.InRecovery, o.SQL.Position()
	p.Writable = !o.SQL.InRecovery
	if p.Writable {
		p.Role = dcs.RolePrimary
	}
	return p
}

// replicate lets the standby n receive, over and over.
func (w *World) replicate(n *node) {
	s := n.server
	if s.pid != 0 && (s.ready || s.awaited != nil) && s.inRecovery && !s.stopping && !n.frozen {
		up := w.node(s.upstream)
		if up == nil || n.cut[up.name] || up.cut[n.name] {
			s.streaming = false
		} else if !up.frozen {
			s.pull(up.server)
			s.proceed()
		}
	}
	w.eng.after(w.bounded(5*time.Millisecond, w.opts.ReplicationDelay), func() { w.replicate(n) })
}

// drain lets the standbys that stream from a server have all that it wrote: it waits for them before its postmaster ends.
func (w *World) drain(s *server) {
	for _, n := range w.nodes {
		if o := n.server; o.streaming && o.upstream == s.n.name && o.pid != 0 && !o.stopping && !n.cut[s.n.name] && !s.n.cut[n.name] && !n.frozen {
			o.pull(s)
		}
	}
}

// write lets a client commit a row on every server that takes it.
func (w *World) write() {
	for _, n := range w.nodes {
		if n.server.writable() {
			row := len(w.rows) + 1
			n.server.write(row)
			w.rows = append(w.rows, ack{row, w.eng.now, n})
		}
	}
	w.eng.after(w.bounded(20*time.Millisecond, 300*time.Millisecond), w.write)
}

// collect keeps the counts of an agent that ends.
func (w *World) collect(a *agent) {
	for r, n := range a.machine.Counts() {
		w.counts[r] += n
	}
}
