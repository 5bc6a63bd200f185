package ha

import (
	"context"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// Store is the consistent store. dcs.Client implements it over any dcs.Backend. Errors wrap dcs.ErrConflict, ErrUnknown,
// ErrUnavailable or ErrSessionLost; each method honours its context's deadline.
type Store interface {
	// Load reads the whole cluster, linearizably.
	Load(ctx context.Context) (dcs.Cluster, error)
	// KeepAlive prolongs this node's session and keeps its member key with it.
	KeepAlive(ctx context.Context, r dcs.KeepAlive) (dcs.Alive, error)
	// Acquire creates the leader key under this node's session.
	Acquire(ctx context.Context, r dcs.Acquire) (dcs.Held, error)
	// Renew proves that the leader key is still ours and prolongs its session.
	Renew(ctx context.Context, r dcs.Renew) (dcs.Held, error)
	// Release gives the leader key up.
	Release(ctx context.Context, r dcs.Release) error
	// PutMember publishes this node's member key; equal data is not written again.
	PutMember(ctx context.Context, m dcs.MemberData) error
	// Initialize creates /initialize, empty: the right to bootstrap.
	Initialize(ctx context.Context) (dcs.Initialize, error)
	// SetInitialize writes the system identifier over prev (nil: absent).
	SetInitialize(ctx context.Context, prev *dcs.Initialize, systemID string) error
	// CancelInitialize deletes exactly this life of /initialize.
	CancelInitialize(ctx context.Context, mine dcs.Initialize) error
	// PutConfig writes the dynamic configuration; prev is the version it replaces, 0 for "absent".
	PutConfig(ctx context.Context, prev dcs.Version, raw []byte) error
	// ClearFailover empties /failover if it is still at version prev.
	ClearFailover(ctx context.Context, prev dcs.Version) error
	// PutHistory writes /history, only while leader is still our incarnation of the leader key.
	PutHistory(ctx context.Context, leader dcs.Meta, h dcs.History) error
	// Hints tells of changes. A closed channel never happens: a lost watch is re-made by the client and shows as Hint{}.
	Hints() <-chan dcs.Hint
	// Close closes the session, so that the member key disappears.
	Close(ctx context.Context) error
}

// Postgres is the local server. postgres/instance implements it.
type Postgres interface {
	// Observe looks once, within the context's deadline. It never fails: what could not be seen is absent.
	Observe(ctx context.Context) postgres.Observation
	// Run carries out one task; phase is called as it goes. At most one task runs at a time.
	Run(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) (postgres.Outcome, error)
	// Configure makes s the settings; files are written and the server is reloaded where that is needed and possible.
	Configure(ctx context.Context, s postgres.Settings) error
	// EnsureSlots creates and drops physical member slots so that exactly want exist among those that nobody uses.
	EnsureSlots(ctx context.Context, want []string) error
	// Exits tells the end of each postmaster, whoever started it, as it happens.
	Exits() <-chan postgres.Exit
	// Disturbed tells that something happened to the server of a postmaster that lives: it starts anew, most likely, as a backend was killed.
	// It is worth a look at once. A server that cannot tell returns nil.
	Disturbed() <-chan postgres.Postmaster
	// Kill ends the server now (SIGKILL), without SQL, locks or waiting for a running task.
	Kill(cause string) error
}

// Peers asks the other members over REST.
type Peers interface {
	// Poll asks GET /patroni of each in parallel, once, until ctx ends at the latest. The answers are in the order asked.
	Poll(ctx context.Context, members []dcs.Member) []PeerAnswer
	// Await asks m to answer when its position has reached lsn (long poll), until ctx ends.
	Await(ctx context.Context, m dcs.Member, lsn postgres.LSN) (PeerAnswer, error)
	// Failsafe asks POST /failsafe of each in parallel, until ctx ends. members are names and their api_url. Who does not answer, or
	// answers anything but "Accepted", has not accepted.
	Failsafe(ctx context.Context, members map[string]string, ask FailsafeAsk) []FailsafeAnswer
}

// PeerAnswer is what one member said, or that it did not.
type PeerAnswer struct {
	Name           string
	Reachable      bool   // it answered, and the answer could be read
	Problem        string `json:",omitempty"` // why not
	StartID        string `json:",omitempty"` // random id of that agent's run; ours means that we asked ourselves
	Role           dcs.Role
	State          dcs.State
	InRecovery     bool
	Writable       bool              // it is running and not in recovery
	Leads          bool              `json:",omitempty"` // its agent has the right to let it write, also while it is down: it may be about to start
	Scope          string            `json:",omitempty"` // the cluster and the name that the agent gives itself; "": it did not say
	SelfName       string            `json:",omitempty"`
	Position       postgres.Position // zero: it told none, which counts as unreachable in a race
	Tags           Tags
	WatchdogFailed bool          `json:",omitempty"`
	SystemID       string        `json:",omitempty"`
	Age            time.Duration `json:",omitempty"` // of the observation that the answer rests on
}

// writesNoMore says whether the member has answered, neither writes, nor is about to: a leader that was stopped for a hand-over starts again
// if nobody takes over.
func (a *PeerAnswer) writesNoMore() bool { return a.Reachable && !a.Writable && !a.Leads }

// Fence ends the server at a set time, whatever happens to the agent (safety section 5). ha/guard implements it by a process of its own.
type Fence interface {
	// Arm tells the fence: this postmaster may be writable until o.Kill. It returns when the fence has acknowledged. The deadlines of an
	// armed fence only ever grow; an order for a postmaster that another agent's fence guards takes that fence over. Once the fence has
	// fired, every order for the same postmaster is refused.
	Arm(ctx context.Context, o FenceOrder) error
	// Disarm tells it that the server is down (running is nil), or was seen in recovery with no promotion asked of it (safety 5.5). It is
	// refused while another server than running lives.
	Disarm(ctx context.Context, running *postgres.Postmaster) error
	// Lost tells that the fence is gone: it has died, does not answer, or has fired.
	Lost() <-chan FenceLoss
	// Describe says what the fence is, for status: "unfenced", "guard 4711", "guard 4711, not locked in memory".
	Describe() string
}

// FenceLoss is the end of a fence.
type FenceLoss struct {
	Cause string
	Fired bool // it has ended the server, because its time had come
}

// FenceOrder is what a fence is told.
type FenceOrder struct {
	Postmaster       *postgres.Postmaster // nil: the one that is about to be started
	Fast, Quit, Kill time.Time            // when to end the server, gently first (Budget)
	At               time.Time            // when the order was made
}

// Watchdog is a device that resets the whole machine unless it is kept alive: the last ring, for an agent that is frozen together with its
// fence (safety section 6). ha/watchdog implements it. Its methods are called one at a time.
type Watchdog interface {
	// Check says whether the device could be armed, as far as that can be seen without opening it: opening may start it.
	Check(ctx context.Context) error
	// Arm begins the device's time anew. It opens and starts a device that does not run, and sets the timeout where that is another one. It
	// does nothing, and fails, after o.Before. A device that does not take o.Timeout, and counts less than o.Least or more than o.Most
	// instead, is stopped again, and that is an error. The answer says what the device does, also beside an error.
	Arm(ctx context.Context, o WatchdogOrder) (WatchdogState, error)
	// Disarm stops the device. One that cannot be stopped goes on: that is an error, and the answer says so.
	Disarm(ctx context.Context) (WatchdogState, error)
	// Describe names the device, for status.
	Describe() string
}

// WatchdogOrder is what a watchdog is told.
type WatchdogOrder struct {
	Timeout     time.Duration // what the device shall count: whole seconds
	Least, Most time.Duration // what it may count instead; Most 0: whatever it likes, as it cannot be stopped
	Before      time.Time     // a later start would let the device outlive our authority; zero: any time
	At          time.Time     // when the order was made: the machine is not reset before At plus what the device counts
	Renewal     time.Time     // the renewal that the order rests on: when it was sent; zero: none, as nothing can write
}

// WatchdogState is what a watchdog does.
type WatchdogState struct {
	Running bool          // the machine is reset unless the device is kept alive
	Timeout time.Duration `json:",omitempty"` // what it counts
	Endless bool          `json:",omitempty"` // it cannot be stopped
}

// Hooks runs the user's commands. Notify must return at once; a newer notification ends a running one.
type Hooks interface {
	Notify(n Notification)
}

// Notification is one callback: on_start, on_stop, on_restart, on_reload, on_role_change, with Patroni's role argument.
type Notification struct {
	Action  string
	Role    dcs.Role
	Command string
}

// Clock is the node's time: wall clock at start plus elapsed time that counts suspend (CLOCK_BOOTTIME), so it never steps.
// Two readings of which one follows from the other must differ: the rules order facts by their times.
type Clock interface {
	Now() time.Time
	// At sends once when Now has reached t. stop releases the timer.
	At(t time.Time) (fired <-chan struct{}, stop func())
}

// Recorder keeps the flight record. Record must not block.
type Recorder interface {
	Record(e RecordEntry)
}

// Parse turns the dynamic configuration (raw JSON of /config, nil if absent) and the local file into Settings. A value that
// cannot be used gives way to its default and is reported in Settings.Notices; an error keeps everything that was in force.
type Parse func(raw []byte) (Settings, error)
