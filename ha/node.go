package ha

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// Node runs one member of a cluster: a Machine, and the goroutines that carry out its requests.
type Node struct {
	cfg      Config
	machine  *Machine // owned by Run
	store    StoreLane
	events   chan Event
	acks     chan Event // answers of the fence
	status   atomic.Pointer[Status]
	explain  atomic.Pointer[Explanation]
	changed  atomic.Pointer[chan struct{}] // closed at the next publication
	commands struct {
		sync.Mutex
		next    uint64
		waiting map[uint64]chan Answer
	}
	tasks struct { // cancels the running task; owned by Run
		id     uint64
		cancel context.CancelCauseFunc
	}
	request struct { // cancels the request to the store; owned by Run
		id     uint64
		cancel context.CancelCauseFunc
	}
	work   sync.WaitGroup // requests under way, but for the task
	task   sync.WaitGroup // the task under way: from its point of no return on it takes as long as the server does
	runs   atomic.Bool    // Run was called
	ended  chan struct{}  // closed when the last decision is made: nothing is taken or answered any more
	known  callbackState
	logged int // decisions of the machine's history that have a line in the log
	cached []byte

	recorded uint64        // entries given to the Recorder
	skew     time.Duration // of the wall clock, at the last event
	skewed   bool          // skew is known
}

// ErrStopped is returned to those who ask a node that has ended.
var ErrStopped = errors.New("the node has stopped")

// NewNode checks cfg and returns a node that does nothing until Run.
func NewNode(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.StartID == "" {
		cfg.StartID = rand.Text()
	}
	cfg.Version = cmp.Or(cfg.Version, PatroniVersion)
	raw := cfg.BootstrapConfig
	if cfg.Cache != nil {
		if c := cfg.Cache.Load(); c != nil {
			raw = c
		}
	}
	settings, err := cfg.Parse(raw)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, events: make(chan Event, 256), acks: make(chan Event, 1), cached: raw, ended: make(chan struct{})}
	n.commands.waiting = map[uint64]chan Answer{}
	n.machine = NewMachine(cfg.self(), settings, raw, cfg.Rules)
	n.store = StoreLane{Store: cfg.Store, Parse: cfg.Parse, Raw: raw}
	c := make(chan struct{})
	n.changed.Store(&c)
	n.publish(cfg.Clock.Now(), time.Time{})
	return n, nil
}

// self is what never changes about the node.
func (c *Config) self() Self {
	watchdog := ""
	if c.Watchdog != nil {
		watchdog = c.Watchdog.Describe()
	}
	return Self{Watchdog: watchdog, Name: c.Name, Scope: c.Scope, Version: c.Version, Release: c.Release, StartID: c.StartID,
		ConnURL: c.ConnURL, APIURL: c.APIURL, ProxyURL: c.ProxyURL, Started: c.Clock.Now(),
		CanFound: c.BootstrapConfig != nil, Fence: c.Fence.Describe(), Fenced: c.Fence != Fence(Unfenced{})}
}

// Run keeps the node's part of the cluster until ctx ends, then stops the server in order, hands over, and returns. It
// returns an error only where going on would be wrong (another cluster's data, a name that is taken), or when the orderly stop takes
// longer than ShutdownTimeout; PostgreSQL is then left as it was. A node runs once.
func (n *Node) Run(ctx context.Context) error {
	if n.runs.Swap(true) {
		return errors.New("run the node: it runs already, or has run; make another one")
	}
	root, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(ErrStopped)
	err := n.loop(ctx, root)
	close(n.ended)
	if errors.Is(err, errGaveUp) {
		stop(ErrStopped)
		n.work.Wait()
		n.waitTask(giveUpGrace)
		return err
	}
	n.work.Wait() // the last decision may have begun a request to the store
	stop(ErrStopped)
	n.task.Wait()
	return err
}

// errGaveUp ends a shutdown that takes too long.
var errGaveUp = errors.New("the server did not stop in time; it was left as it is")

// giveUpGrace is how long a cancelled task is waited for when the shutdown is given up. One that is past its point of no return ends with
// what it waits for; nobody learns of it.
const giveUpGrace = time.Second

// loop takes events one by one until the machine is done.
func (n *Node) loop(ctx, root context.Context) error {
	exits, disturbed, hints, lost := n.cfg.Postgres.Exits(), n.cfg.Postgres.Disturbed(), n.cfg.Store.Hints(), n.cfg.Fence.Lost()
	done := ctx.Done()
	var giveUp <-chan struct{}
	next := n.step(root, Tick{})
	for !n.machine.View().Done {
		timer, release := n.cfg.Clock.At(next)
		var e Event
		select {
		case e = <-n.acks: // before the time is looked at: an agent that had no processor for a moment stops no server that is guarded
		default:
			select {
			case <-timer:
				e = Tick{}
			case e = <-n.acks:
			case e = <-n.events:
			case x := <-exits:
				e = Exited{x}
			case p := <-disturbed:
				e = Disturbed{p}
			case h := <-hints:
				e = Hinted{h}
			case loss := <-lost:
				e = FenceLost{loss}
			case <-done:
				done, e = nil, ShutdownAsked{}
				if t := n.cfg.ShutdownTimeout; t > 0 {
					fired, free := n.cfg.Clock.At(n.cfg.Clock.Now().Add(t))
					defer free()
					giveUp = fired
				}
			case <-giveUp:
				release()
				return errGaveUp
			}
		}
		release()
		next = n.step(root, e)
		if id, found := n.abandoned(); found {
			next = n.step(root, CommandDropped{ID: id})
		}
	}
	if p := n.machine.View().Fatal; p != "" {
		return errors.New(p)
	}
	return nil
}

// waitTask waits for the task under way, at most for d.
func (n *Node) waitTask(d time.Duration) {
	idle := make(chan struct{})
	go func() { n.task.Wait(); close(idle) }()
	late, release := n.cfg.Clock.At(n.cfg.Clock.Now().Add(d))
	defer release()
	select {
	case <-idle:
	case <-late:
	}
}

// step lets the machine take one event and begins what it asks for.
func (n *Node) step(root context.Context, e Event) time.Time {
	if jump, ok := n.jumped(); ok {
		n.take(root, jump)
		n.cfg.Logger.Warn(n.machine.View().ClockJump.String())
	}
	return n.take(root, e)
}

// take lets the machine take e.
func (n *Node) take(root context.Context, e Event) time.Time {
	now := n.cfg.Clock.Now()
	var start *Checkpoint
	if n.cfg.Recorder != nil && n.recorded%checkpointEvery == 0 {
		start = n.machine.Checkpoint()
	}
	overruns := n.machine.Overruns()
	requests, next := n.machine.Step(now, e)
	if n.machine.Overruns() != overruns {
		n.logOverrun(e, next.Sub(now))
	}
	if n.cfg.Recorder != nil {
		n.recorded++
		n.cfg.Recorder.Record(n.machine.Entry(now, e, requests, start))
	}
	n.log(requests)
	n.publish(now, next)
	for _, r := range requests {
		n.begin(root, r)
	}
	n.saveConfig()
	return next
}

// begin carries out r, on a goroutine that ends with it.
func (n *Node) begin(root context.Context, r Request) {
	switch a := r.Action.(type) {
	case Reply:
		n.reply(r.Sent, a)
		return
	case CancelTask:
		if n.tasks.id == a.Task {
			n.tasks.cancel(errors.New(a.Cause))
		}
		return
	case GiveUpRequest:
		if n.request.id == a.Request {
			n.request.cancel(errors.New(a.Cause))
		}
		return
	case Quit:
		return
	case KillServer:
		n.work.Go(func() {
			if err := n.cfg.Postgres.Kill(a.Cause); err != nil {
				n.cfg.Logger.Error("the server could not be killed", "error", err)
			}
		})
		return
	}
	ctx, cancel := context.WithCancelCause(root)
	group := &n.work
	if _, ok := r.Action.(RunTask); ok {
		n.tasks.id, n.tasks.cancel = r.ID, cancel
		group = &n.task
	}
	if r.Action.lane() == LaneStore {
		n.request.id, n.request.cancel = r.ID, cancel
	}
	group.Go(func() {
		defer cancel(nil)
		if !r.Deadline.IsZero() {
			var end context.CancelFunc
			ctx, end = context.WithTimeout(ctx, r.Deadline.Sub(r.Sent))
			defer end()
		}
		e, to := n.perform(ctx, r), n.events
		if r.Action.lane() == LaneFence {
			to = n.acks
		}
		n.send(to, e)
	})
}

// send hands an event to Run, as long as that takes any.
func (n *Node) send(to chan<- Event, e Event) {
	select {
	case to <- e:
	case <-n.ended:
	}
}

// poll asks one member.
func (n *Node) poll(ctx context.Context, a PollPeer) PeerAnswer {
	answers := n.cfg.Peers.Poll(ctx, []dcs.Member{a.Member})
	if len(answers) != 1 {
		return PeerAnswer{Name: a.Member.Name, Problem: "no answer"}
	}
	answers[0].Name = a.Member.Name
	return answers[0]
}

// log writes one line for each changed decision.
func (n *Node) log(requests []Request) {
	for _, r := range requests {
		n.cfg.Logger.Debug("begin", "action", r.Action.Name())
	}
	h := n.machine.History()
	for fresh := min(n.machine.remembered-n.logged, len(h)); fresh > 0; fresh-- {
		item := h[len(h)-fresh]
		n.cfg.Logger.Info(item.Sentence, "rule", string(item.Rule))
	}
	n.logged = n.machine.remembered
}

// logOverrun tells of rules that ask for one thing after another: a bug in them, and the only trace of it.
func (n *Node) logOverrun(e Event, pause time.Duration) {
	rules := make([]string, 0, MaxSteps)
	for _, id := range n.machine.Chain() {
		rules = append(rules, string(id))
	}
	n.cfg.Logger.Error("the decisions after one event do not come to an end: a bug in the rules; going on after a pause",
		"event", fmt.Sprintf("%T", e), "pause", pause, "rules", strings.Join(rules, " "))
}

// saveConfig keeps the dynamic configuration for the next start, once there is a data directory to keep it in.
func (n *Node) saveConfig() {
	v := n.machine.View()
	if n.cfg.Cache == nil || !v.running() || string(v.ConfigRaw) == string(n.cached) {
		return
	}
	raw := v.ConfigRaw
	n.cached = raw
	n.work.Go(func() {
		if err := n.cfg.Cache.Save(raw); err != nil {
			n.cfg.Logger.Warn("the dynamic configuration could not be cached", "error", err)
		}
	})
}
