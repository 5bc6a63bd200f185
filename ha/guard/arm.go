package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/guard/internal/warden"
	"github.com/tanist-ha/tanist/postgres"
)

// answerPatience is how long a guard may take to acknowledge, at most: a guard that does not is taken for dead.
const answerPatience = time.Second

// Arm tells the guard until when the server may be writable, and returns when it has acknowledged. A guard that does not acknowledge
// within a second, or half of what is left to o.Fast, is replaced by a new one and killed. The first order for a postmaster that another
// agent's guard guards takes that over: the later deadlines of both count.
//
// It waits, as long as ctx allows, while a guard ends what a dead postmaster left.
func (g *Guard) Arm(ctx context.Context, o ha.FenceOrder) error {
	if err := g.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-g.turn }()
	r := warden.Request{Kind: warden.KindArm, Fast: g.cfg.Boottime(o.Fast), Quit: g.cfg.Boottime(o.Quit), Kill: g.cfg.Boottime(o.Kill)}
	if err := g.name(&r, o.Postmaster); err != nil {
		return err
	}
	if late := boottime() - r.Fast; late >= 0 {
		return fmt.Errorf("arm the guard: the order came %v after the first of its deadlines", late)
	}
	r.SharedMemory = g.sharedMemory(ctx, r)
	old, err := g.foreign(ctx, r)
	if err != nil {
		return err
	}
	for _, f := range old {
		r.Fast, r.Quit, r.Kill = max(r.Fast, f.reply.Fast), max(r.Quit, f.reply.Quit), max(r.Kill, f.reply.Kill)
	}
	if err := g.order(ctx, r); err != nil {
		closeAll(old)
		return err
	}
	if o.Postmaster != nil {
		g.announced = false
	}
	for _, f := range old {
		f.end(g.log)
	}
	return nil
}

// name says which postmaster an order means.
func (g *Guard) name(r *warden.Request, p *postgres.Postmaster) error {
	if p != nil {
		r.PID, r.Start = p.PID, p.Start
		return nil
	}
	if g.target.PID == 0 || !runs(g.target) {
		return nil
	}
	if !g.announced {
		return fmt.Errorf("guard a server that is to be started: postmaster %d, which is guarded, still runs", g.target.PID)
	}
	r.PID, r.Start = g.target.PID, g.target.Start // it is the one
	return nil
}

// order gives the order r to a guard that answers: the one that there is, else the spare, else a new one.
func (g *Guard) order(ctx context.Context, r warden.Request) error {
	p := g.process()
	if p != nil && p.state().State == warden.StateFired {
		return g.refusal(warden.ResultFired, p, r)
	}
	var err error
	fresh, spared := false, p == nil || !p.alive()
	if spared {
		if p, fresh, err = g.another(ctx, p); err != nil {
			return err
		}
	}
	for {
		reply, failed := g.askInTime(ctx, p, r, fresh)
		switch {
		case failed == nil && reply.Result == warden.ResultOK:
			g.adopt(p, r)
			return nil
		case failed == nil && reply.Result == warden.ResultBusy:
			if err := g.awaitChange(ctx, p, reply); err != nil {
				return err
			}
			continue
		case failed == nil:
			g.replace(p)
			return g.refusal(reply.Result, p, r)
		case fresh || ctx.Err() != nil:
			g.discard(p)
			return fmt.Errorf("arm guard %d: %w", p.pid, failed)
		}
		if !errors.Is(failed, errGone) {
			g.log.Warn("the guard does not answer: another takes its place", "guard", p.pid, "error", failed)
		}
		if !spared {
			p, fresh, err = g.another(ctx, p)
			spared = true
		} else {
			g.discard(p)
			p, err = g.start(ctx)
			fresh = true
		}
		if err != nil {
			return err
		}
	}
}

// discard ends a guard that was never armed, unless it is the one that there is.
func (g *Guard) discard(p *process) {
	if p != g.process() {
		p.kill()
	}
}

// askInTime gives the guard as long as the deadlines allow. One that is not fresh gets half of the caller's time: the other half is for the
// one that takes its place.
func (g *Guard) askInTime(ctx context.Context, p *process, r warden.Request, fresh bool) (warden.Reply, error) {
	patience := min(answerPatience, (r.Fast-boottime())/2)
	if until, ok := ctx.Deadline(); ok && !fresh {
		patience = min(patience, time.Until(until)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, max(patience, time.Millisecond))
	defer cancel()
	return p.ask(ctx, r)
}

// adopt makes p, which has acknowledged r, the guard. The one before, which did not answer, is killed: it would fire after a thaw.
func (g *Guard) adopt(p *process, r warden.Request) {
	g.replace(p)
	g.setArmed(p, true)
	g.prepareSpare()
	if r.PID != g.target.PID || r.Start != g.target.Start {
		g.target, g.announced = postgres.Postmaster{PID: r.PID, Start: r.Start}, false
	}
}

// replace makes p the guard in place of the one before.
func (g *Guard) replace(p *process) {
	before := g.process()
	if before == p {
		return
	}
	g.setCurrent(p)
	if before != nil {
		before.kill()
	}
}

// awaitChange waits until the guard says that its state is another than in r, or ends.
func (g *Guard) awaitChange(ctx context.Context, p *process, r warden.Reply) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for p.state().State == r.State && p.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("guard %d still ends what postmaster %d left (%s): %w", p.pid, r.PID, stuck(p.state()), context.Cause(ctx))
		case <-tick.C:
		case <-p.gone:
		}
	}
	return nil
}

// Disarm tells the guard that the server is down (running is nil), which the guard checks, or that it was seen in recovery. It waits, as long
// as ctx allows, while the guard ends what a dead postmaster left. A guard that does not answer within half of that time is killed.
func (g *Guard) Disarm(ctx context.Context, running *postgres.Postmaster) error {
	if err := g.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-g.turn }()
	r := warden.Request{Kind: warden.KindDisarm}
	if running != nil {
		r.PID, r.Start = running.PID, running.Start
	}
	for {
		p := g.process()
		if p == nil || !p.alive() {
			g.target, g.announced = postgres.Postmaster{}, false
			return nil
		}
		patience := answerPatience
		if until, ok := ctx.Deadline(); ok {
			patience = min(patience, time.Until(until)/2)
		}
		bounded, cancel := context.WithTimeout(ctx, patience)
		reply, err := p.ask(bounded, r)
		cancel()
		switch {
		case err == nil && reply.Result == warden.ResultBusy:
			if err := g.awaitChange(ctx, p, reply); err != nil {
				return err
			}
			continue
		case err == nil && reply.Result != warden.ResultOK:
			return g.refusal(reply.Result, p, r)
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !errors.Is(err, errGone):
			g.log.Warn("the guard does not answer: it is killed", "guard", p.pid, "error", err)
			g.setArmed(p, false)
			p.kill()
		}
		g.setArmed(p, false)
		g.target, g.announced = postgres.Postmaster{}, false
		return nil
	}
}

// Attach tells the guard, which is armed for the server that is about to be started, that pid will become it: the start shim, waiting
// for its byte. It returns when the guard holds that process.
func (g *Guard) Attach(ctx context.Context, pid int) error {
	if err := g.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-g.turn }()
	start, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("attach process %d to the guard: %w", pid, err)
	}
	p := g.process()
	if p == nil {
		return fmt.Errorf("attach process %d: there is no guard", pid)
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	r := warden.Request{Kind: warden.KindAttach, PID: pid, Start: start}
	reply, err := p.ask(ctx, r)
	if err != nil {
		return fmt.Errorf("attach process %d to guard %d: %w", pid, p.pid, err)
	}
	if reply.Result != warden.ResultOK {
		return g.refusal(reply.Result, p, r)
	}
	g.target, g.announced, g.memory = postgres.Postmaster{PID: pid, Start: start}, true, nil
	return nil
}

// boottime is CLOCK_BOOTTIME now.
func boottime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail for a clock that Boottime has read
	return time.Duration(ts.Nano())
}
