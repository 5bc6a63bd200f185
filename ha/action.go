package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// Action is one step that a decision asks for. Each belongs to a lane, and a lane does one thing at a time; every action
// that was begun ends in exactly one event that carries its id.
type Action interface {
	lane() Lane
	// Name is a short verb for logs: "renew", "start task".
	Name() string
}

// Lane is a queue of one: what runs on it never waits for what runs on another.
type Lane uint8

// The lanes. Peers have a lane each, by name, and are not listed; laneNow is for what is done at once.
const (
	LaneNow Lane = iota
	LaneStore
	LanePostgres
	LaneObserve
	LaneFence
	LaneConfigure
	LaneSlots
	LaneFailsafe
	LaneWatchdog
	LanePeer
	numLanes
)

// Actions on the store. What they send is taken from the view when they begin, so that it cannot be older than the decision.
type (
	// LoadCluster reads everything, linearizably.
	LoadCluster struct{}
	// KeepSession prolongs the session of the member key.
	KeepSession struct{ Request dcs.KeepAlive }
	// AcquireKey asks for the leader key.
	AcquireKey struct{ Request dcs.Acquire }
	// RenewKey asks for proof that the leader key is ours.
	RenewKey struct{ Request dcs.Renew }
	// ReleaseKey gives it up; from the moment it begins there is no authority.
	ReleaseKey struct{ Request dcs.Release }
	// Publish writes the member key.
	Publish struct{ Member dcs.MemberData }
	// ClaimInitialize takes the right to found the cluster.
	ClaimInitialize struct{}
	// WriteInitialize writes the system identifier over what was read.
	WriteInitialize struct {
		Prev     *dcs.Initialize
		SystemID string
	}
	// DropInitialize gives up the right to found the cluster.
	DropInitialize struct{ Mine dcs.Initialize }
	// WriteConfig writes the dynamic configuration where there is none.
	WriteConfig struct {
		Prev dcs.Version
		Raw  []byte
	}
	// ClearFailover empties a request that is done or cannot be done.
	ClearFailover struct {
		Version dcs.Version
		Why     string
	}
	// WriteHistory publishes the list of timeline switches.
	WriteHistory struct {
		Leader  dcs.Meta
		History dcs.History
	}
)

// Actions on the server.
type (
	// RunTask begins work on the server.
	RunTask struct {
		Task postgres.Task
		Why  Why // what it is part of
	}
	// CancelTask asks the running task to end; it still ends by its own event.
	CancelTask struct {
		Task  uint64
		Cause string
	}
	// GiveUpRequest ends the request to the store that is under way; its own event follows, with an unknown outcome.
	GiveUpRequest struct {
		Request uint64
		Cause   string
	}
	// KillServer ends the server at once, past all courtesy.
	KillServer struct{ Cause string }
	// Observe looks at the server.
	Observe struct{}
	// Configure hands the settings to the server.
	Configure struct{ Settings postgres.Settings }
	// EnsureSlots creates and drops member slots.
	EnsureSlots struct{ Want []string }
)

// Actions on others.
type (
	// PollPeer asks a member how it is.
	PollPeer struct{ Member dcs.Member }
	// AwaitPeer asks a member to say when it has received the log up to LSN.
	AwaitPeer struct {
		Member dcs.Member
		LSN    postgres.LSN
	}
	// AskFailsafe asks each member of /failsafe, but for us, to accept us as leader while the store is away: POST /failsafe.
	AskFailsafe struct {
		Members map[string]string // names and their api_url
		Ask     FailsafeAsk
	}
	// ArmFence tells the guard until when the server may be writable.
	ArmFence struct{ Order FenceOrder }
	// DisarmFence tells it that the server is down or in recovery.
	DisarmFence struct{ Running *postgres.Postmaster }
	// CheckWatchdog looks whether the watchdog could be armed.
	CheckWatchdog struct{}
	// ArmWatchdog starts the watchdog, or keeps it alive.
	ArmWatchdog struct{ Order WatchdogOrder }
	// DisarmWatchdog stops it.
	DisarmWatchdog struct{}
	// EndHandover forgets the hand-over: it is done, or (with Why) it has failed and its request is to be cleared.
	EndHandover struct{ Why string }
	// ForgetClaim forgets the right to found the cluster.
	ForgetClaim struct{}
	// Reply answers a command.
	Reply struct {
		Command uint64
		Promise *Promise `json:",omitempty"` // Failsafe: it is accepted
		Refused string   `json:",omitempty"` // Failsafe: why it is not
		Off     bool     `json:",omitempty"` // Failsafe: because the mode is off
	}
	// Quit ends the node: with Problem, because going on would be wrong.
	Quit struct{ Problem string }
)

// Why says what a task is part of, where that matters for what follows it.
type Why string

// Reasons for tasks.
const (
	WhyDemote     Why = "demote"     // authority lost or ending: no hand-over
	WhySwitchover Why = "switchover" // hand over on request
	WhyShutdown   Why = "shutdown"   // the agent stops; hand over if we lead
	WhyCrash      Why = "crash"      // the server ended by itself
	WhyRejoin     Why = "rejoin"
	WhyFound      Why = "found" // found a new cluster
)

func (LoadCluster) lane() Lane     { return LaneStore }
func (KeepSession) lane() Lane     { return LaneStore }
func (AcquireKey) lane() Lane      { return LaneStore }
func (RenewKey) lane() Lane        { return LaneStore }
func (ReleaseKey) lane() Lane      { return LaneStore }
func (Publish) lane() Lane         { return LaneStore }
func (ClaimInitialize) lane() Lane { return LaneStore }
func (WriteInitialize) lane() Lane { return LaneStore }
func (DropInitialize) lane() Lane  { return LaneStore }
func (WriteConfig) lane() Lane     { return LaneStore }
func (ClearFailover) lane() Lane   { return LaneStore }
func (WriteHistory) lane() Lane    { return LaneStore }
func (RunTask) lane() Lane         { return LanePostgres }
func (CancelTask) lane() Lane      { return LaneNow }
func (GiveUpRequest) lane() Lane   { return LaneNow }
func (KillServer) lane() Lane      { return LaneNow }
func (Observe) lane() Lane         { return LaneObserve }
func (Configure) lane() Lane       { return LaneConfigure }
func (EnsureSlots) lane() Lane     { return LaneSlots }
func (PollPeer) lane() Lane        { return LanePeer }
func (AskFailsafe) lane() Lane     { return LaneFailsafe }
func (AwaitPeer) lane() Lane       { return LanePeer }
func (ArmFence) lane() Lane        { return LaneFence }
func (DisarmFence) lane() Lane     { return LaneFence }
func (CheckWatchdog) lane() Lane   { return LaneWatchdog }
func (ArmWatchdog) lane() Lane     { return LaneWatchdog }
func (DisarmWatchdog) lane() Lane  { return LaneWatchdog }
func (Reply) lane() Lane           { return LaneNow }
func (Quit) lane() Lane            { return LaneNow }
func (EndHandover) lane() Lane     { return LaneNow }
func (ForgetClaim) lane() Lane     { return LaneNow }

// Name implements Action.
func (LoadCluster) Name() string     { return "load" }
func (KeepSession) Name() string     { return "keep session" }
func (AcquireKey) Name() string      { return "acquire" }
func (RenewKey) Name() string        { return "renew" }
func (ReleaseKey) Name() string      { return "release" }
func (Publish) Name() string         { return "publish" }
func (ClaimInitialize) Name() string { return "claim initialize" }
func (WriteInitialize) Name() string { return "write initialize" }
func (DropInitialize) Name() string  { return "drop initialize" }
func (WriteConfig) Name() string     { return "write config" }
func (ClearFailover) Name() string   { return "clear failover" }
func (WriteHistory) Name() string    { return "write history" }
func (a RunTask) Name() string       { return string(a.Task.Kind) }
func (CancelTask) Name() string      { return "cancel task" }
func (GiveUpRequest) Name() string   { return "give up request" }
func (KillServer) Name() string      { return "kill" }
func (Observe) Name() string         { return "observe" }
func (Configure) Name() string       { return "configure" }
func (EnsureSlots) Name() string     { return "slots" }
func (a PollPeer) Name() string      { return "poll " + a.Member.Name }
func (a AwaitPeer) Name() string     { return "await " + a.Member.Name }
func (AskFailsafe) Name() string     { return "ask failsafe" }
func (ArmFence) Name() string        { return "arm fence" }
func (DisarmFence) Name() string     { return "disarm fence" }
func (CheckWatchdog) Name() string   { return "check watchdog" }
func (ArmWatchdog) Name() string     { return "arm watchdog" }
func (DisarmWatchdog) Name() string  { return "disarm watchdog" }
func (Reply) Name() string           { return "reply" }
func (Quit) Name() string            { return "quit" }
func (EndHandover) Name() string     { return "end hand-over" }
func (ForgetClaim) Name() string     { return "forget claim" }

// Request is an action that the machine has begun.
type Request struct {
	ID       uint64
	Action   Action
	Sent     time.Time // what a confirmed authority is dated from (safety 1.2)
	Deadline time.Time // zero: none
}
