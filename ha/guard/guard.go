package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
	"github.com/tanist-ha/tanist/postgres"
)

// Config is what New needs.
type Config struct {
	Executable string                        // program whose main calls Main; "": this one, also after its file was replaced
	Boottime   func(time.Time) time.Duration // a time of the node's clock in CLOCK_BOOTTIME: bootclock.Clock.Boottime
	Logger     *slog.Logger                  // nil: discard
}

// Guard is the agent's side of a guard process. It implements ha.Fence. It is made by New and is safe for concurrent use; orders are
// carried out one after the other.
type Guard struct {
	cfg  Config
	log  *slog.Logger
	lost chan ha.FenceLoss

	turn       chan struct{} // held by whoever gives orders to processes, and by Close
	closed     bool          // under turn
	target     postgres.Postmaster
	announced  bool // target was attached, and orders still call it "the one that is about to be started"
	memory     *memoryLook
	goroutines sync.WaitGroup
	life       context.Context // ends with Close
	end        context.CancelFunc

	mu       sync.Mutex
	current  *process      // the guard that is idle or armed; nil: none could be started
	armed    bool          // current has acknowledged an order and was not disarmed
	trouble  string        // why there is none
	spare    *process      // idle, and ready to take the place of one that dies or does not answer; nil: there is none yet
	starting chan struct{} // is closed when the spare that is being started is there, or is not; nil: none is being started
}

var _ ha.Fence = (*Guard)(nil)

// New starts an idle guard process, so that it is ready when it is needed, and begins to start a spare one: to start a program takes ten
// milliseconds of the processor, and many times that where others want it, too.
func New(c Config) (*Guard, error) {
	if c.Boottime == nil {
		return nil, errors.New("guard: Boottime is nil: pass bootclock.Clock.Boottime of the node's clock")
	}
	if c.Executable == "" {
		c.Executable = self
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guard{cfg: c, log: c.Logger, lost: make(chan ha.FenceLoss, 16), turn: make(chan struct{}, 1)}
	g.life, g.end = context.WithCancel(context.Background())
	p, err := g.start(g.life)
	if err != nil {
		g.end()
		g.goroutines.Wait()
		return nil, err
	}
	g.setCurrent(p)
	g.prepareSpare()
	return g, nil
}

// start starts an idle guard process.
func (g *Guard) start(ctx context.Context) (*process, error) {
	p, err := startProcess(ctx, g.cfg.Executable, g.told, func(f func()) { g.goroutines.Go(f) })
	if err != nil {
		return nil, err
	}
	g.goroutines.Go(func() { g.watch(p) })
	return p, nil
}

// watch tells the end of an armed guard, and puts another in its place.
func (g *Guard) watch(p *process) {
	<-p.gone
	g.mu.Lock()
	mine, armed := g.current == p, g.armed
	switch {
	case mine:
		g.current, g.spare, g.armed = g.spare, nil, false
		g.trouble = "the guard process has ended: " + p.ended()
	case g.spare == p:
		g.spare = nil
	}
	g.mu.Unlock()
	if !mine || p.ended() == "" { // it was replaced, or let go
		return
	}
	if armed && p.state().State != warden.StateFired {
		g.tellLost(ha.FenceLoss{Cause: fmt.Sprintf("guard %d has died (%s)", p.pid, p.ended())})
	}
	if g.process() != nil {
		return // the next order prepares another spare: it has the processor to itself
	}
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.closed || g.process() != nil {
		return
	}
	fresh, err := g.start(g.life)
	if err != nil {
		g.log.Error("start a guard in place of one that ended", "error", err)
		return
	}
	g.setCurrent(fresh)
}

// prepareSpare begins to start a spare guard if there is none.
func (g *Guard) prepareSpare() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spare != nil || g.starting != nil || g.life.Err() != nil {
		return
	}
	g.starting = make(chan struct{})
	g.goroutines.Go(func() {
		p, err := g.start(g.life)
		g.mu.Lock()
		wanted := err == nil && g.life.Err() == nil && p.alive()
		if wanted {
			g.spare = p
		}
		close(g.starting)
		g.starting = nil
		g.mu.Unlock()
		switch {
		case err != nil && g.life.Err() == nil:
			g.log.Warn("start a spare guard", "error", err)
		case err == nil && !wanted:
			p.kill()
		}
	})
}

// another is a guard to take the place of p: the one that has taken it already, else the spare, else, fresh, a new one.
func (g *Guard) another(ctx context.Context, p *process) (other *process, fresh bool, err error) {
	g.mu.Lock()
	other = g.current
	if other == nil || other == p || !other.alive() {
		other, g.spare = g.spare, nil
	}
	g.mu.Unlock()
	if other != nil && other.alive() {
		return other, false, nil
	}
	other, err = g.start(ctx)
	return other, true, err
}

// told hears what a guard says unasked. It must not block.
func (g *Guard) told(p *process, r warden.Reply) {
	g.mu.Lock()
	mine, armed := g.current == p, g.armed
	if mine && (r.State == warden.StateFired || r.State == warden.StateIdle) {
		g.armed = false
	}
	g.mu.Unlock()
	switch {
	case r.State == warden.StateFired && mine && armed:
		cause := fmt.Sprintf("guard %d ends postmaster %d: its time has come", p.pid, r.PID)
		g.log.Error("the guard has fired", "guard", p.pid, "pid", r.PID)
		g.tellLost(ha.FenceLoss{Cause: cause, Fired: true})
	case r.State == warden.StateSweeping:
		g.log.Info("the postmaster has ended; its guard sees to it that nothing is left of it", "guard", p.pid, "pid", r.PID)
	}
}

// tellLost never blocks: of more losses than anybody reads, the oldest is dropped.
func (g *Guard) tellLost(l ha.FenceLoss) {
	for {
		select {
		case g.lost <- l:
			return
		default:
		}
		select {
		case <-g.lost:
		default:
		}
	}
}

// Lost tells the death of an armed guard process, and that it has fired.
func (g *Guard) Lost() <-chan ha.FenceLoss { return g.lost }

// Describe says which process guards, and what it lacks: "guard 4711", "guard 4711, not locked in memory".
func (g *Guard) Describe() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current == nil {
		return "no guard: " + g.trouble
	}
	text := fmt.Sprintf("guard %d", g.current.pid)
	r := g.current.state()
	if !r.Locked {
		text += ", not locked in memory"
	}
	if r.NoPidfd {
		text += ", without pidfd"
	}
	return text
}

// closePatience bounds how long Close waits for a guard process that is being started: where the disk of its program hangs, nothing cuts that short.
const closePatience = 5 * time.Second

// Close lets go of the guard process: an idle one ends, an armed one goes on guarding its server. It must be the last call. It fails where a guard
// process is being started on a disk that hangs, in the place of one that ended.
func (g *Guard) Close() error {
	g.end()
	ctx, cancel := context.WithTimeoutCause(context.Background(), closePatience, errors.New("a guard process that is being started does not run"))
	defer cancel()
	if err := g.takeTurn(ctx); err != nil {
		return fmt.Errorf("close the guard: %w", err)
	}
	g.closed = true
	g.mu.Lock()
	p, spare := g.current, g.spare
	g.current, g.spare = nil, nil
	g.trouble = "closed"
	g.mu.Unlock()
	if spare != nil {
		spare.kill()
	}
	if p != nil {
		if p.state().State == warden.StateIdle {
			p.kill()
		} else {
			p.letGo()
		}
	}
	<-g.turn
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.goroutines.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done(): // it goes, or ends, when the disk is back: nobody has armed it
	}
	return nil
}

// takeTurn waits until no other order is under way.
func (g *Guard) takeTurn(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if g.closed {
		<-g.turn
		return errors.New("the guard is closed")
	}
	return nil
}

func (g *Guard) process() *process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current
}

func (g *Guard) setCurrent(p *process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current, g.armed, g.trouble = p, false, ""
}

func (g *Guard) setArmed(p *process, armed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current == p {
		g.armed = armed
	}
}
