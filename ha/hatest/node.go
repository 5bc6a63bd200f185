package hatest

import (
	"context"
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// node is one simulated host: an agent, which may be dead or paused, a server, and a guard.
type node struct {
	w      *World
	name   string // of the host
	called string // its agent's name
	server *server
	guards []*guard // the processes, of this agent and of earlier ones
	agent  *agent   // nil: killed

	watchdog *watchdog

	pausedUntil  time.Time
	frozen       bool            // the whole host
	thawed       []func()        // what its server does when it goes on
	hitArming    bool            // its next agent dies when it tells its guard about a key that it took over
	ended        string          // the session that the store has ended early: its agent must be able to notice (safety 1.7)
	weak         bool            // its guard has been killed or frozen, and none was armed since
	deposed      time.Time       // until then, a leader of the store that was deposed answers its keepalives
	storeCut     bool            // no message to or from the store
	reachedStore time.Time       // the end of the last cut
	cut          map[string]bool // no message to that node
	badStarts    int             // so many of the next starts fail
	badStops     int
	badPromotes  int
	badRewinds   int
	slow         time.Duration // added to each start, stop and clone
	touched      time.Time     // the last fault that concerned it
	checkpoint   time.Duration // what a checkpoint takes
	noFailover   bool
	gone         bool          // for good
	latePromote  time.Duration // how long the startup process takes to obey
	from         string        // whom it shall stream from; "": the leader
}

// agent is one run of the agent: it starts with an empty view.
type agent struct {
	n       *node
	id      int
	machine *ha.Machine
	backend *memory.Backend
	client  *dcs.Client
	lane    ha.StoreLane
	wake    time.Time
	inbox   []ha.Event // came while it was paused
	fence   *fence
	// puppet: its tasks go on although it decides nothing.
	puppet bool
	// afterArm happens when the guard has been told something.
	afterArm func()
	cache    *dcs.Cluster // for the mutant that believes it

	waits    map[ha.RuleID]waiting
	decided  time.Time // when it decided to ask for the leader key last
	electors []elector // whom it had to hear then
	hangs    struct {  // the request to the store that is not answered
		id  uint64
		end func()
	}
	task   uint64 // the request id of the running task; 0: none
	cancel func()

	asked map[uint64]func(ha.Reply) // who waits for the answer to a command

	recorded bool           // the flight record has its beginning
	told     ha.HistoryItem // what a story has told of it last
}

// startAgent starts the agent with nothing in memory.
func (n *node) startAgent() {
	w := n.w
	w.agents++
	a := &agent{n: n, id: w.agents, waits: map[ha.RuleID]waiting{}, backend: w.store.Backend()}
	a.client = dcs.NewClient(a.backend, dcs.Options{Scope: "sim", Name: n.called})
	a.lane = ha.StoreLane{Store: a.client, Parse: n.parse}
	self := ha.Self{Name: n.called, Scope: "sim", Version: "4.1.4", Release: "sim", StartID: fmt.Sprintf("%s-%d", n.name, a.id),
		ConnURL: "postgres://" + n.name + ":5432/postgres", APIURL: "http://" + n.name + ":8008/patroni",
		Started: a.now(), CanFound: w.mayFound(n), Fence: "guard", Fenced: true, Watchdog: n.watchdog.name()}
	settings, _ := n.parse(w.config)
	a.fence = &fence{a: a, spareAt: w.eng.now.Add(w.bounded(20*time.Millisecond, 80*time.Millisecond))}
	a.machine = ha.NewMachine(self, settings, w.config, w.opts.Rules)
	n.agent = a
	w.logf("%s agent %d starts", n.name, a.id)
	a.deliver(ha.Tick{})
}

// killAgent ends the agent; its server and its guard live on.
func (n *node) killAgent() {
	if n.agent == nil {
		return
	}
	n.w.collect(n.agent)
	n.w.logf("%s agent killed", n.name)
	n.orphanGuards(n.agent)
	n.agent = nil
	n.pausedUntil = time.Time{}
}

// killHost ends everything on the node.
func (n *node) killHost() {
	n.killAgent()
	for _, g := range n.guards {
		g.dead = true
	}
	n.frozen, n.thawed, n.server.orphans = false, nil, false
	n.watchdog.off()
	if n.server.pid != 0 {
		n.w.logf("%s host killed", n.name)
		n.server.die()
	}
}

// exited tells the agent that a postmaster has ended.
func (n *node) exited(pid int) {
	if a := n.agent; a != nil {
		n.w.eng.after(time.Millisecond, func() {
			a.deliver(ha.Exited{Exit: postgres.Exit{Postmaster: postgres.Postmaster{PID: pid, Start: uint64(pid)}}})
		})
	}
}

// alive says whether a is the agent that runs on its node now.
func (a *agent) alive() bool { return a.n.agent == a }

// deliver hands an event to the machine, now or when the pause is over.
func (a *agent) deliver(e ha.Event) {
	if !a.alive() {
		return
	}
	w := a.n.w
	if w.eng.now.Before(a.n.pausedUntil) {
		a.inbox = append(a.inbox, e)
		return
	}
	for len(a.inbox) > 0 {
		first := a.inbox[0]
		a.inbox = a.inbox[1:]
		a.step(first)
		if !a.alive() {
			return
		}
	}
	a.step(e)
}

// step is one step of the machine, and the begin of what it asks for.
func (a *agent) step(e ha.Event) {
	w := a.n.w
	if w.opts.Mutant.Event != nil {
		e = w.opts.Mutant.Event(w.eng.now, e)
	}
	before := a.machine.Decision().Reason
	overruns := a.machine.Overruns()
	start := a.checkpoint()
	if f := w.opts.Mutant.View; f != nil {
		f(a.machine.View())
	}
	if f := w.opts.Mutant.Believe; f != nil {
		e = f(a.machine.View(), e)
	}
	requests, next := a.machine.Step(a.now(), e)
	if w.opts.Record != nil {
		w.opts.Record(fmt.Sprintf("%s-%d", a.n.name, a.id), a.machine.Entry(w.eng.now, e, requests, start))
	}
	w.steps++
	w.countSecond()
	if _, tick := e.(ha.Tick); tick {
		w.countNow(a)
	}
	w.decided(a, before)
	w.checkWait(a)
	if a.machine.Overruns() != overruns {
		w.violate("%s does not come to rest after %T: %v: %s", a.n.name, e, a.machine.Chain(), a.machine.Decision().Reason.Text)
	}
	for _, r := range requests {
		if x, ok := r.Action.(ha.AcquireKey); ok && x.Request.Takeover == nil {
			w.decides(a)
		}
		r.Deadline = a.machineTime(r.Deadline)
		w.sharpFault(a, r)
		if !a.alive() {
			return
		}
		a.begin(r)
		if !a.alive() {
			return
		}
	}
	a.sleepUntil(a.machineTime(next))
}

// checkpoint is the beginning of the agent's flight record, before its first step.
func (a *agent) checkpoint() *ha.Checkpoint {
	if a.n.w.opts.Record == nil || a.recorded {
		return nil
	}
	a.recorded = true
	return a.machine.Checkpoint()
}

// sleepUntil asks for a Tick.
func (a *agent) sleepUntil(t time.Time) {
	if t.IsZero() || (!a.wake.IsZero() && !a.wake.After(t) && a.wake.After(a.n.w.eng.now)) {
		return
	}
	a.wake = t
	a.n.w.eng.at(t, func() {
		if a.alive() && a.wake.Equal(t) {
			a.wake = time.Time{}
			a.deliver(ha.Tick{})
		}
	})
}

// begin carries out a request on the simulated world.
func (a *agent) begin(r ha.Request) {
	w := a.n.w
	if w.eng.now.Before(a.n.pausedUntil) { // it was frozen between the decision and the deed
		from := w.eng.now
		a.at(a.n.pausedUntil, func() {
			if !r.Deadline.IsZero() {
				r.Deadline = r.Deadline.Add(w.eng.now.Sub(from)) // its timer starts with the deed
			}
			a.begin(r)
		})
		return
	}
	switch x := r.Action.(type) {
	case ha.Observe:
		w.eng.after(w.bounded(200*time.Microsecond, 3*time.Millisecond), func() {
			a.deliver(ha.Observed{ID: r.ID, Sent: r.Sent, Observation: a.n.server.observe()})
		})
	case ha.Configure:
		w.eng.after(time.Millisecond, func() { a.deliver(ha.Configured{ID: r.ID}) })
	case ha.EnsureSlots:
		w.eng.after(time.Millisecond, func() { a.deliver(ha.SlotsEnsured{ID: r.ID}) })
	case ha.PollPeer:
		w.poll(a, r, x.Member, 0)
	case ha.AwaitPeer:
		w.poll(a, r, x.Member, x.LSN)
	case ha.ArmFence:
		a.fence.arm(r, x.Order)
	case ha.DisarmFence:
		a.fence.disarm(r)
	case ha.CheckWatchdog, ha.ArmWatchdog, ha.DisarmWatchdog:
		a.n.watchdog.do(a, r)
	case ha.KillServer:
		w.eng.after(time.Millisecond, a.n.server.die)
	case ha.CancelTask:
		if a.task == x.Task && a.cancel != nil {
			a.cancel()
		}
	case ha.GiveUpRequest:
		if a.hangs.id == x.Request {
			a.hangs.end()
		}
	case ha.RunTask:
		a.run(r, x.Task)
	case ha.Quit:
		a.quit(x)
	case ha.Reply:
		a.replied(x)
	case ha.AskFailsafe:
		w.askFailsafe(a, r, x)
	default:
		w.storeRequest(a, r)
	}
}

// quit ends the agent by its own decision.
func (a *agent) quit(x ha.Quit) {
	n := a.n
	n.w.collect(a)
	n.w.logf("%s agent ends %s", n.name, x.Problem)
	n.orphanGuards(a)
	n.watchdog.left(a)
	n.agent = nil
	if x.Problem != "" && n.w.opts.Strict {
		n.w.violate("%s ended by itself: %s", n.name, x.Problem)
	}
	if n.w.opts.Profile == scripted {
		return // a story says when it starts again
	}
	n.w.eng.after(n.w.bounded(time.Second, 20*time.Second), func() {
		if n.agent == nil && !n.gone {
			n.startAgent()
		}
	})
}

// storeRequest sends one operation to the store: lost, late or served.
func (w *World) storeRequest(a *agent, r ha.Request) {
	fate, delay := w.storeFate(a.n)
	there, back := delay+w.held(a, r), w.replyDelay(r)
	w.eng.after(there, func() {
		r := w.onNewGrounds(r)
		once := func(r ha.Request) ha.Event {
			if fate == memory.Served && (a.n.storeCut || w.storeDown) {
				fate = memory.RequestLost
			}
			first := true
			a.backend.Inject(func(op memory.Op) memory.Fate {
				if fate == memory.ReplyLost && !first && w.rng.IntN(2) == 0 {
					return memory.Served
				}
				first = false
				if fate == memory.Served && w.eng.now.Before(a.n.deposed) {
					return w.refusal(op, memory.Deposed)
				}
				return w.refusal(op, fate)
			})
			ev := w.cached(a, a.lane.Do(context.Background(), r))
			w.checkRelease(a, ev)
			w.released(a.n, ev)
			w.store.Tick()
			w.scheduleExpiry()
			w.ops++
			return ev
		}
		answer := func(ev ha.Event) {
			at := w.eng.now.Add(back)
			if fate != memory.Served && fate != memory.Refused && r.Deadline.After(at) {
				at = r.Deadline
				a.hangs.id, a.hangs.end = r.ID, func() { w.eng.after(0, func() { a.deliver(ev) }) }
			}
			w.eng.at(at, func() { a.deliver(ev) })
		}
		if w.prolongs(r) {
			w.prolong(a, r, once, answer)
			return
		}
		answer(once(r))
	})
}

// countNow finds decisions that go round and round without any time passing.
func (w *World) countNow(a *agent) {
	if !w.instant.Equal(w.eng.now) {
		w.instant, w.stepsNow = w.eng.now, 0
	}
	if w.stepsNow++; w.stepsNow > 500 {
		d := a.machine.Decision()
		w.violate("%s decides over and over at one moment: %s: %s (next %s)", a.n.name, d.Reason.Rule, d.Reason.Text, d.Next)
	}
}

// maxStepsInSecond is a budget of decisions that no quiet or busy second comes near.
const maxStepsInSecond = 3000

// countSecond finds nodes that keep each other busy for nothing.
func (w *World) countSecond() {
	if s := w.eng.now.Unix(); s != w.second {
		w.second, w.stepsInSecond = s, 0
	}
	if w.stepsInSecond++; w.stepsInSecond > maxStepsInSecond {
		w.violate("more than %d steps within one second", maxStepsInSecond)
	}
}
