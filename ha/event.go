package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// Event is a fact for Fold. Events that end an action carry its id; one that belongs to an earlier action of the
// same lane is dropped.
type Event interface{ event() }

// Events from outside.
type (
	// Tick says that time has passed.
	Tick struct{}
	// Hinted says that the store changed below a key; "" means anything may have changed.
	Hinted struct{ Hint dcs.Hint }
	// Exited says that a postmaster has ended.
	Exited struct{ Exit postgres.Exit }
	// Disturbed says that something happened to the server of a postmaster that lives.
	Disturbed struct{ Postmaster postgres.Postmaster }
	// FenceLost says that the guard has died, does not answer, or has fired.
	FenceLost struct{ Loss FenceLoss }
	// ClockJumped says that the machine's wall clock has jumped against the node's own.
	ClockJumped struct{ By time.Duration }
	// ShutdownAsked says that the agent shall end.
	ShutdownAsked struct{}
	// SettingsChanged brings settings that were read again from the local file.
	SettingsChanged struct{ Settings Settings }
	// Commanded brings a command of REST or of an embedder.
	Commanded struct {
		ID      uint64
		Command Command
	}
	// CommandDropped says that nobody waits for the answer any more.
	CommandDropped struct{ ID uint64 }
)

// Events that end or accompany actions. Sent is when the action began.
type (
	// Begun is folded by the machine itself when it hands out an action.
	Begun struct {
		ID     uint64
		Sent   time.Time
		Action Action
	}
	// Loaded ends LoadCluster. Settings is set when the dynamic configuration differs from the last one seen.
	Loaded struct {
		ID       uint64
		Sent     time.Time
		Cluster  dcs.Cluster
		Settings *Settings `json:",omitempty"`
		Fault    *Fault    `json:",omitempty"`
	}
	// SessionKept ends KeepSession.
	SessionKept struct {
		ID    uint64
		Sent  time.Time
		Alive dcs.Alive
		Fault *Fault `json:",omitempty"`
	}
	// Acquired ends AcquireKey.
	Acquired struct {
		ID    uint64
		Sent  time.Time
		Held  dcs.Held
		Fault *Fault `json:",omitempty"`
	}
	// Renewed ends RenewKey.
	Renewed struct {
		ID    uint64
		Sent  time.Time
		Held  dcs.Held
		Fault *Fault `json:",omitempty"`
	}
	// Released ends ReleaseKey.
	Released struct {
		ID    uint64
		Fault *Fault `json:",omitempty"`
	}
	// Claimed ends ClaimInitialize.
	Claimed struct {
		ID         uint64
		Initialize dcs.Initialize
		Fault      *Fault `json:",omitempty"`
	}
	// Wrote ends every other write to the store; What is the action's name.
	Wrote struct {
		ID    uint64
		What  string
		Fault *Fault `json:",omitempty"`
	}
	// Observed ends Observe.
	Observed struct {
		ID          uint64
		Sent        time.Time
		Observation postgres.Observation
	}
	// TaskPhase is a milestone of the running task.
	TaskPhase struct {
		ID    uint64
		Phase postgres.Phase
	}
	// TaskDone ends RunTask.
	TaskDone struct {
		ID      uint64
		Outcome postgres.Outcome
		Fault   *Fault `json:",omitempty"`
	}
	// Configured ends Configure.
	Configured struct {
		ID    uint64
		Fault *Fault `json:",omitempty"`
	}
	// SlotsEnsured ends EnsureSlots.
	SlotsEnsured struct {
		ID    uint64
		Fault *Fault `json:",omitempty"`
	}
	// PeerAnswered ends PollPeer and AwaitPeer.
	PeerAnswered struct {
		ID     uint64
		Sent   time.Time
		Answer PeerAnswer
		LSN    postgres.LSN `json:",omitempty"` // AwaitPeer: what was awaited
	}
	// FailsafeAnswered ends AskFailsafe.
	FailsafeAnswered struct {
		ID      uint64
		Sent    time.Time // before the first request of the round
		Answers []FailsafeAnswer
	}
	// FenceArmed ends ArmFence. Fence is what the fence is now: another process may have taken the place of the one that was armed before.
	FenceArmed struct {
		ID    uint64
		Order FenceOrder
		Fence string `json:",omitempty"` // what the fence says of itself now
		Fault *Fault `json:",omitempty"`
	}
	// WatchdogChecked ends CheckWatchdog.
	WatchdogChecked struct {
		ID    uint64
		Fault *Fault `json:",omitempty"`
	}
	// WatchdogArmed ends ArmWatchdog.
	WatchdogArmed struct {
		ID    uint64
		Order WatchdogOrder
		State WatchdogState
		Fault *Fault `json:",omitempty"`
	}
	// WatchdogDisarmed ends DisarmWatchdog.
	WatchdogDisarmed struct {
		ID    uint64
		State WatchdogState
		Fault *Fault `json:",omitempty"`
	}
	// FenceDisarmed ends DisarmFence.
	FenceDisarmed struct {
		ID    uint64
		Fault *Fault `json:",omitempty"`
	}
)

func (Tick) event()             {}
func (Hinted) event()           {}
func (Exited) event()           {}
func (Disturbed) event()        {}
func (FenceLost) event()        {}
func (ClockJumped) event()      {}
func (ShutdownAsked) event()    {}
func (SettingsChanged) event()  {}
func (Commanded) event()        {}
func (CommandDropped) event()   {}
func (Begun) event()            {}
func (Loaded) event()           {}
func (SessionKept) event()      {}
func (Acquired) event()         {}
func (Renewed) event()          {}
func (Released) event()         {}
func (Claimed) event()          {}
func (Wrote) event()            {}
func (Observed) event()         {}
func (TaskPhase) event()        {}
func (TaskDone) event()         {}
func (Configured) event()       {}
func (SlotsEnsured) event()     {}
func (PeerAnswered) event()     {}
func (FailsafeAnswered) event() {}
func (FenceArmed) event()       {}
func (FenceDisarmed) event()    {}
func (WatchdogChecked) event()  {}
func (WatchdogArmed) event()    {}
func (WatchdogDisarmed) event() {}
