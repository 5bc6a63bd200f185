package postgres

import "time"

// Observation is one bounded look at the local server: the data directory, the process, and one SQL round trip.
// A part that could not be seen is nil (a typed absence), never a zero value that looks like a fact.
type Observation struct {
	DataDir        DataDir
	Unfinished     TaskKind    `json:",omitempty"` // what left the directory unfinished: bootstrap, clone, rewind or wipe
	Problem        string      `json:",omitempty"` // why DataDir is foreign or unreadable, for people
	Control        *Control    `json:",omitempty"` // pg_control; nil: no data directory, or unreadable
	Standby        bool        // standby.signal exists: the next start will not accept writes by itself
	Postmaster     *Postmaster `json:",omitempty"` // nil: no postmaster runs on this data directory
	PromotionAsked bool        `json:",omitempty"` // this postmaster was told to promote, by this run of the agent or by an earlier one
	SQL            *SQLFacts   `json:",omitempty"` // nil: the server did not answer in time
	SQLError       string      `json:",omitempty"` // why SQL is nil although a postmaster runs
	Accepting      Accepting
	Closed         bool                 `json:",omitempty"` // no ordinary client can log in, or could if it ran: the cluster was made and never opened
	PendingRestart map[string][2]string `json:",omitempty"` // setting: running value, wanted value
	History        History              `json:",omitempty"` // of Control's timeline, from its history file; empty on timeline 1

	// NeverConsistent says that the data are a copy, of a base backup or by pg_rewind, whose recovery has not reached consistency yet. Where
	// the end of its log is missing it never does, unless an upstream sends that.
	NeverConsistent bool `json:",omitempty"`
}

// DataDir is the condition of the data directory.
type DataDir string

// Conditions of a data directory.
const (
	DataDirEmpty      DataDir = "empty"      // absent or empty: may be filled
	DataDirReady      DataDir = "ready"      // a cluster that may be started
	DataDirUnfinished DataDir = "unfinished" // a clone, rewind or wipe was interrupted: never start it (safety 13)
	DataDirForeign    DataDir = "foreign"    // not empty and not PostgreSQL's, other major version, or other owner
	DataDirUnreadable DataDir = "unreadable" // the disk does not answer, or permission is missing
)

// Accepting says whether the postmaster lets clients in (what pg_isready tells).
type Accepting string

// Answers of the postmaster to a connection attempt.
const (
	AcceptingNo       Accepting = ""         // no postmaster, or no answer
	AcceptingStarting Accepting = "starting" // it answers that it is starting up or shutting down
	AcceptingYes      Accepting = "yes"
)

// Postmaster identifies one run of the server.
type Postmaster struct {
	PID   int
	Start uint64 // start time of the process in clock ticks since boot: with PID unique on this boot
}

// SQLFacts is what one SQL round trip told.
type SQLFacts struct {
	InRecovery              bool
	Timeline                Timeline   // of the WAL being written (primary) or replayed or received (standby)
	Flush                   LSN        `json:",omitempty"` // primary: flushed WAL
	Received                LSN        `json:",omitempty"` // standby: flushed-received; after a restart it stands at a segment's start
	Replayed                LSN        `json:",omitempty"` // standby
	LatestEnd               LSN        `json:",omitempty"` // standby: the sender's position as last reported to the receiver
	ReplayedAt              *time.Time `json:",omitempty"` // commit time of the last replayed transaction
	ReplayPaused            bool       `json:",omitempty"`
	Receiver                *Receiver  `json:",omitempty"` // nil: no WAL receiver
	Senders                 []Sender   `json:",omitempty"`
	Slots                   []Slot     `json:",omitempty"`
	ServerVersion           int        // as in server_version_num: 150018
	StartedAt               time.Time  // pg_postmaster_start_time()
	SynchronousStandbyNames string     `json:",omitempty"`
}

// Receiver is the standby's WAL receiver.
type Receiver struct {
	Status   string // "streaming", …
	Timeline Timeline
	Host     string
	Port     int
	Slot     string
}

// Sender is one row of pg_stat_replication.
type Sender struct {
	User, Application, ClientAddr, State, SyncState string
	SyncPriority                                    int
	Flush, Replay                                   LSN
}

// Slot is one row of pg_replication_slots.
type Slot struct {
	Name       string
	Physical   bool
	Active     bool
	RestartLSN LSN
}

// Position is how far this server's log reaches: for a standby the larger of received and replayed (safety 3.2).
func (f SQLFacts) Position() Position {
	if !f.InRecovery {
		return Position{f.Timeline, f.Flush}
	}
	return Position{f.Timeline, max(f.Received, f.Replayed)}
}

// Exit is the end of a postmaster.
type Exit struct {
	Postmaster Postmaster
	Status     string // how it ended, if we were its parent: "exit status 1", "signal: killed"
}
