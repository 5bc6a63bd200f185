package ha

import (
	"bytes"
	"context"

	"github.com/tanist-ha/tanist/postgres"
)

// StoreLane carries out the actions of LaneStore, one at a time.
type StoreLane struct {
	Store Store
	Parse Parse
	// Raw is the dynamic configuration that the present settings were made of.
	Raw []byte
}

// Do carries out r and returns the event that ends it.
func (l *StoreLane) Do(ctx context.Context, r Request) Event {
	switch a := r.Action.(type) {
	case LoadCluster:
		return l.load(ctx, r)
	case KeepSession:
		alive, err := l.Store.KeepAlive(ctx, a.Request)
		return SessionKept{ID: r.ID, Sent: r.Sent, Alive: alive, Fault: faultOf(err)}
	case AcquireKey:
		held, err := l.Store.Acquire(ctx, a.Request)
		return Acquired{ID: r.ID, Sent: r.Sent, Held: held, Fault: faultOf(err)}
	case RenewKey:
		held, err := l.Store.Renew(ctx, a.Request)
		return Renewed{ID: r.ID, Sent: r.Sent, Held: held, Fault: faultOf(err)}
	case ReleaseKey:
		return Released{ID: r.ID, Fault: faultOf(l.Store.Release(ctx, a.Request))}
	case ClaimInitialize:
		i, err := l.Store.Initialize(ctx)
		return Claimed{ID: r.ID, Initialize: i, Fault: faultOf(err)}
	}
	return Wrote{ID: r.ID, What: r.Action.Name(), Fault: faultOf(l.write(ctx, r.Action))}
}

func (l *StoreLane) write(ctx context.Context, a Action) error {
	switch a := a.(type) {
	case Publish:
		return l.Store.PutMember(ctx, a.Member)
	case WriteInitialize:
		return l.Store.SetInitialize(ctx, a.Prev, a.SystemID)
	case DropInitialize:
		return l.Store.CancelInitialize(ctx, a.Mine)
	case WriteConfig:
		return l.Store.PutConfig(ctx, a.Prev, a.Raw)
	case ClearFailover:
		return l.Store.ClearFailover(ctx, a.Version)
	case WriteHistory:
		return l.Store.PutHistory(ctx, a.Leader, a.History)
	}
	panic("no action of the store: " + a.Name())
}

// load reads the cluster, and parses its dynamic configuration if that has changed. What cannot be parsed leaves the settings
// as they are; Parse has a notice for that.
func (l *StoreLane) load(ctx context.Context, r Request) Event {
	c, err := l.Store.Load(ctx)
	e := Loaded{ID: r.ID, Sent: r.Sent, Cluster: c, Fault: faultOf(err)}
	if err != nil || c.Config == nil || bytes.Equal(c.Config.Raw, l.Raw) {
		return e
	}
	s, err := l.Parse(c.Config.Raw)
	if err == nil {
		e.Settings = &s
	}
	l.Raw = c.Config.Raw
	return e
}

// perform carries out a request on the node's ports and returns the event that ends it; nil for those that end at once.
func (n *Node) perform(ctx context.Context, r Request) Event {
	switch a := r.Action.(type) {
	case Observe:
		return Observed{ID: r.ID, Sent: r.Sent, Observation: n.cfg.Postgres.Observe(ctx)}
	case Configure:
		return Configured{ID: r.ID, Fault: faultOf(n.cfg.Postgres.Configure(ctx, a.Settings))}
	case EnsureSlots:
		return SlotsEnsured{ID: r.ID, Fault: faultOf(n.cfg.Postgres.EnsureSlots(ctx, a.Want))}
	case RunTask:
		out, err := n.cfg.Postgres.Run(ctx, a.Task, func(p postgres.Phase) { n.send(n.events, TaskPhase{ID: r.ID, Phase: p}) })
		return TaskDone{ID: r.ID, Outcome: out, Fault: faultOf(err)}
	case PollPeer:
		return PeerAnswered{ID: r.ID, Sent: r.Sent, Answer: n.poll(ctx, a)}
	case AwaitPeer:
		answer, err := n.cfg.Peers.Await(ctx, a.Member, a.LSN)
		if err != nil {
			answer = PeerAnswer{Problem: err.Error()}
		}
		answer.Name = a.Member.Name
		return PeerAnswered{ID: r.ID, Sent: r.Sent, Answer: answer, LSN: a.LSN}
	case AskFailsafe:
		return FailsafeAnswered{ID: r.ID, Sent: r.Sent, Answers: n.cfg.Peers.Failsafe(ctx, a.Members, a.Ask)}
	case ArmFence:
		err := n.cfg.Fence.Arm(ctx, a.Order)
		return FenceArmed{ID: r.ID, Order: a.Order, Fence: n.cfg.Fence.Describe(), Fault: faultOf(err)}
	case CheckWatchdog:
		return WatchdogChecked{ID: r.ID, Fault: faultOf(n.cfg.Watchdog.Check(ctx))}
	case ArmWatchdog:
		state, err := n.cfg.Watchdog.Arm(ctx, a.Order)
		return WatchdogArmed{ID: r.ID, Order: a.Order, State: state, Fault: faultOf(err)}
	case DisarmWatchdog:
		state, err := n.cfg.Watchdog.Disarm(ctx)
		return WatchdogDisarmed{ID: r.ID, State: state, Fault: faultOf(err)}
	case DisarmFence:
		return FenceDisarmed{ID: r.ID, Fault: faultOf(n.cfg.Fence.Disarm(ctx, a.Running))}
	}
	return n.store.Do(ctx, r)
}
