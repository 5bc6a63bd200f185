package postgres

import "time"

// TaskKind names a piece of work on the local server that takes time. At most one runs at once.
type TaskKind string

// The tasks. Each ends by itself, by failure, or by cancellation of its context where its phase allows that.
const (
	// TaskBootstrap makes a new cluster (initdb, users, post_bootstrap) and leaves it running, closed, as primary.
	TaskBootstrap TaskKind = "bootstrap"
	// TaskOpen lets ordinary clients into a server that runs closed.
	TaskOpen TaskKind = "open"
	// TaskClone fills an empty (or wiped) data directory from Upstream.
	TaskClone TaskKind = "clone"
	// TaskStart starts the server: as a standby of Upstream (nil: of nobody), or with AsPrimary as the writable primary after
	// a crash. It first sweeps what an earlier postmaster left, and ends when clients are let in.
	TaskStart TaskKind = "start"
	// TaskStop ends the server by the ladder fast, immediate, SIGKILL (or begins lower, see Stop).
	TaskStop TaskKind = "stop"
	// TaskPromote makes the running standby writable.
	TaskPromote TaskKind = "promote"
	// TaskFollow points the running standby at Upstream, by reload if that suffices.
	TaskFollow TaskKind = "follow"
	// TaskLineage learns what is needed to judge divergence from Upstream: its timeline and history. Changes nothing.
	TaskLineage TaskKind = "lineage"
	// TaskRecover runs crash recovery in single-user mode, so that pg_control tells where the log ends. Nobody can connect.
	TaskRecover TaskKind = "recover"
	// TaskRewind runs pg_rewind against Upstream, after crash recovery if the control file asks for that.
	TaskRewind TaskKind = "rewind"
	// TaskWipe moves a failed or diverged data directory out of the way, or empties it.
	TaskWipe TaskKind = "wipe"
	// TaskCheckpoint runs CHECKPOINT: after a promotion, so that pg_control shows the new timeline for those who rewind.
	TaskCheckpoint TaskKind = "checkpoint"
)

// Task is one order to the server.
type Task struct {
	Kind       TaskKind
	Upstream   *Upstream `json:",omitempty"`
	AsPrimary  bool      `json:",omitempty"` // start: writable
	Stop       StopMode  `json:",omitempty"`
	Checkpoint bool      `json:",omitempty"` // stop: checkpoint first, while clients still work
	// By is when a stop must have ended the server, whatever it takes: its ladder (fast, immediate, SIGKILL) is spread over
	// the time until then. Zero: the stop may take as long as the server needs.
	By    time.Time `json:",omitzero"`
	Slots []string  `json:",omitempty"` // promote, start as primary: physical slots to have at once
	// Timeline is the number that a promotion must take, 0 for the next one. Numbers between are marked as used.
	Timeline Timeline `json:",omitempty"`
	// End is where the log of a server that is to be promoted is known to end, 0: unknown. If pg_wal holds the history of a timeline that begins
	// beyond it, that server goes for a timeline which it has not reached: PostgreSQL would promote it with a history that contradicts its
	// log. The promotion is refused then, and so is the next one before a restart; the files are removed, so that a restart heals it.
	End    LSN  `json:",omitempty"`
	Rename bool `json:",omitempty"` // wipe: keep the old directory beside, as NAME.failed
}

// Upstream is a server to clone, stream or rewind from.
type Upstream struct {
	Name string // member name
	Host string
	Port int
	Slot string // physical slot on it that is ours, "" for none
	// Primary: stream from it only while it is a primary (target_session_attrs=primary). A former leader that came back as a
	// standby may be on another branch of the same number, and the node that still points at it need not know.
	Primary bool `json:",omitempty"`
}

// StopMode is where the stop ladder begins.
type StopMode string

// Stop modes, as of pg_ctl.
const (
	StopFast      StopMode = "fast"
	StopImmediate StopMode = "immediate"
)

// Phase is a milestone of a running task.
type Phase struct {
	Name PhaseName
	LSN  LSN    `json:",omitempty"` // PhaseShutDown: the end of the shutdown checkpoint record (safety 7.1)
	Text string `json:",omitempty"` // progress for people: "base backup 42%"
}

// PhaseName names a milestone.
type PhaseName string

// Milestones. From those marked (*) on, the task can no longer be cancelled.
const (
	PhaseProgress  PhaseName = "progress"  // Text says how far
	PhaseSignalled PhaseName = "signalled" // (*) stop, promote: the server has been told
	PhaseShutDown  PhaseName = "shut down" // stop: pg_control says shut down; WAL senders may still drain
	PhaseStarting  PhaseName = "starting"  // the postmaster runs and does not accept yet
	PhaseReady     PhaseName = "ready"     // promote, start: clients may write or read
)

// Outcome is what a finished task tells beside success.
type Outcome struct {
	SystemID string   `json:",omitempty"` // bootstrap
	Lineage  *Lineage `json:",omitempty"` // lineage
	Clean    bool     `json:",omitempty"` // stop: the control file says shut down (in recovery), not crashed
	End      LSN      `json:",omitempty"` // stop: end of the shutdown checkpoint record, if Clean and it was a primary
}

// Lineage is what an upstream says of itself over the replication protocol.
type Lineage struct {
	SystemID   string
	Timeline   Timeline
	InRecovery bool
	LSN        LSN
	History    History
}
