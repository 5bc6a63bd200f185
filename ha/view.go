package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// View is what a node knows: facts with their times, no policy. Fold makes a new one of each event; what it points to is
// never changed afterwards, so that views can be kept and compared.
type View struct {
	Self     Self
	Settings Settings
	Asked    Timeouts // the times of Settings before Mixed is thought of
	Mixed    bool     // a member lives that is not tanist
	// LastTTL is the largest ttl in force before the present one, until it is that long ago (safety: W).
	LastTTL         time.Duration
	LeastTTL        time.Duration // the smallest such; a promise may be as short
	TTLChanged      time.Time
	Store           StoreView
	Session         SessionView
	Lease           Lease
	Initialize      ClaimView
	Local           LocalView
	Task            *TaskView // nil: the server's lane is free
	LastTask        *TaskResult
	Handover        *Handover   // a stop that hands the leader key over; nil: none
	FailedRequest   dcs.Version // of /failover: it could not be done
	FailedWhy       string
	RequestSeen     time.Time // when the present /failover was read first
	ConfigRaw       []byte    // the dynamic configuration in force; nil: none known
	PromoteFailures int       // under the present lease
	Vacancy         Vacancy
	Newest          postgres.Timeline // the highest number that was ever heard of: a store may forget, or be cut off from us, meanwhile
	Changed         StoreChange       // another store answers than the one in which we knew the cluster
	Peers           map[string]PeerView
	Fence           FenceView
	Failsafe        FailsafeView
	Watchdog        WatchdogView
	Rejoin          Rejoin
	Lanes           [numLanes]Flight
	Configured      ConfiguredView
	Commands        []PendingCommand
	Shutdown        time.Time     // when the end of the agent was asked for; zero: not
	Adopted         bool          // the server was found writable when the agent started, and has no authority yet
	TookOver        bool          // the leader key of our earlier run was asked for
	AskedTTL        time.Duration // the ttl that our session was last asked with
	Problem         string        // why founding the cluster failed
	Demotions       uint64        // how often the server was stopped because it had no right to write, or nobody guarded it
	ClockJump       ClockJump     // the last one
	Killed          time.Time     // last time the server was killed from outside of a task
	Fatal           string        // why the node cannot go on
	Done            bool          // the node has ended
}

// Self is what never changes while the node runs.
type Self struct {
	Name, Scope, Version, Release string
	StartID                       string
	ConnURL, APIURL, ProxyURL     string
	Started                       time.Time
	CanFound                      bool   // a bootstrap section exists
	FoundConfig                   []byte // what is written to /config after founding
	Fence                         string // what Fence.Describe said
	Fenced                        bool   // there is a fence
	Watchdog                      string // what Watchdog.Describe said; "": there is none
}

// Flight is an action under way on a lane.
type Flight struct {
	ID    uint64 // 0: the lane is free
	Since time.Time
	Name  string
	Given bool // up: its answer is not waited for any more
}

// StoreView is the cluster as last read, and how the store has answered.
type StoreView struct {
	Known        bool
	Cluster      dcs.Cluster
	Sent         time.Time      // when the read began: it shows everything that finished before
	At           time.Time      // when its answer came
	Tried        time.Time      // last time a read began
	Stale        bool           // something has changed since
	Urgent       bool           // and it is of a kind that cannot wait for the next loop
	Drifted      bool           // members have written their keys since, most likely their positions
	Seen         dcs.Version    // newest version that hints or writes have shown
	Answered     time.Time      // last answer of any kind
	Away         time.Time      // when we noticed last that we had not heard of the store: a request failed, or none was made for two loops
	FailedAt     time.Time      // last request that failed for want of the store; zero after an answer
	Refused      time.Time      // last such request
	LeaderHint   time.Time      // last news of the leader key, or that news may have been missed
	WriteFailed  time.Time      // last write, but for the member key, that the store refused or lost; zero after one that it took
	Problem      string         // and how
	Member       dcs.MemberData // as last published
	MemberAt     time.Time      // zero: never
	MemberFailed time.Time
	MemberRides  bool // it was written with the last renewal
}

// SessionView is the session that our keys live with.
type SessionView struct {
	ID     string // "": none known
	TTL    time.Duration
	Kept   time.Time // when the last keepalive was sent that certainly prolonged it
	Sent   time.Time // when the last keepalive was sent that was answered: the same, but in a store where an answer is no proof yet
	Proven time.Time // the part of Kept that authority may be dated from: its opening, or a confirmation together with the leader key (safety 2.1)
	Failed time.Time
	Pace   dcs.Pace `json:",omitzero"` // of its renewals
}

// LeaseState says what we know of the leader key.
type LeaseState string

// States of the lease. There is no "expired": that is a function of now.
const (
	LeaseNone  LeaseState = ""      // we do not hold it, as far as we know
	LeaseHeld  LeaseState = "held"  // the store said so; Auth says until when that may be believed
	LeaseDoubt LeaseState = "doubt" // an acquire or release of unknown fate: read before anything else
	LeaseLost  LeaseState = "lost"  // the store said that it is not ours any more
	// LeasePromised: the key expired while the store was away, and the promises of all members stand in for it until the authority by
	// failsafe ends. Nobody else can have taken it; it is to be acquired again.
	LeasePromised LeaseState = "promised"
)

// Lease is our hold on the leader key.
type Lease struct {
	State        LeaseState
	Leader       dcs.Meta
	Auth         Authority
	Since        time.Time         // when it was acquired
	Timeline     postgres.Timeline // reserved with it, for the promotion
	Decided      time.Time         // when the decision to acquire it was made
	Unconfirmed  bool              // a read showed it: a leader of the store that was deposed may have answered the last keepalive (safety 2.1)
	Late         bool              // the acquire took so long that its grounds have to be looked at again (safety 3.6)
	Looked       time.Time         // when Late was set: facts older than this do not count
	Cause        string            // why it was lost
	Giving       bool              // it was given up, by a request that may still reach the store: it is not ours to use any more
	RenewFailed  time.Time         // last renewal that was not confirmed; zero after a confirmed one
	RenewProblem string
}

// ClaimView is the right to found the cluster.
type ClaimView struct {
	Mine    *dcs.Initialize // the life of /initialize that we created; nil: none
	Failed  time.Time
	Founded bool // the server in our data directory was made under that right
	Opened  bool // clients may have been let in since: nothing of it is thrown away any more
}

// LocalView is the server as last observed, corrected by what has happened since.
type LocalView struct {
	Known          bool
	Obs            postgres.Observation
	Sent           time.Time
	At             time.Time
	Before         postgres.Position // position at the observation before
	BeforeSent     time.Time
	Stale          bool                // look again
	PromotionAsked postgres.Postmaster // the postmaster that was told to promote: it may do so minutes later (safety 5.5)
	Dead           postgres.Postmaster // the postmaster that was last told to have ended
	Upstream       *postgres.Upstream  // that the server was last configured with by us; nil: unknown or nobody
	UpstreamSet    bool
	Crashed        time.Time // a writable server ended without having been told, and none has run since; zero: no
	Unswept        bool      // what such a server has left was not ended yet, as far as we know
	WasPrimary     bool      // it ran writable when last seen alive
	Cloned         bool      // a clone filled the data directory, and the server was not started since: nothing of its own is in it
	Closed         bool      // told by bootstrap: ordinary clients cannot log in yet
	StartFailures  int       // in a row
	StartFailed    time.Time
	StartProblem   string
	LastAlive      time.Time
	NotStreaming   time.Time // since when a running standby has had no receiver that streams; zero: it streams, or is none
	Silent         time.Time // since when a running server has answered no SQL; zero: it answers, or is down
	Demoted        bool      // the last stop was a demotion
}

// TaskView is the task under way.
type TaskView struct {
	ID          uint64
	Task        postgres.Task
	Why         Why
	Since       time.Time
	Phase       postgres.PhaseName
	Text        string
	Cancelled   string
	CancelledAt time.Time
}

// TaskResult is how the last task ended.
type TaskResult struct {
	Task    postgres.Task
	Why     Why
	At      time.Time
	Fault   *Fault
	Outcome postgres.Outcome
}

// Handover is a stop after which another shall lead.
type Handover struct {
	Why       Why
	Candidate string            // "": whoever has everything
	Request   dcs.Version       // of /failover, 0: none
	Timeline  postgres.Timeline // that the log ends on; 0: unknown
	End       postgres.LSN      // end of the shutdown checkpoint; 0: not there yet
	EndAt     time.Time
	Best      postgres.LSN // furthest position that an asked peer has told since
	Reached   string       // who has everything
	Released  bool
	Failed    string // why it was given up: start again here
}

// Vacancy is what we remember about the absence of a leader.
type Vacancy struct {
	Since    time.Time    // when we saw it first; zero: there is a leader
	Known    []dcs.Member // the members when somebody led last
	Last     *dcs.Member  // the last leader, as its member key was when we saw it last; nil: none known
	LastSeen time.Time
	LastName string
	Ended    bool      // the last leader's server was stopped in order, as it said when it released its key
	Moved    time.Time // when our own position was last seen to grow during the vacancy
}

// guarded says whether the last leader has a guard: as it has said itself, or as it may have, if it is not known who that was.
func (l *Vacancy) guarded() bool {
	if l.Last == nil {
		return l.LastName == ""
	}
	return l.Last.Data.Tanist != "" && !l.Last.Data.TanistUnfenced
}

// PeerView is one member as it answered last.
type PeerView struct {
	Asking      uint64 // id of the request under way
	Sent        time.Time
	At          time.Time // of the answer below
	AskedAt     time.Time // when that was asked, or, if it was observed before, when that was
	Old         bool      // it was observed before it was asked: its server does not answer
	Answer      PeerAnswer
	SilentSince time.Time // first of the unanswered polls in a row
	CloneFailed time.Time
}

// FenceView is the guard as it has acknowledged.
type FenceView struct {
	Armed     bool
	Order     FenceOrder
	Until     time.Time // the latest end that it may have been told of, acknowledged or not; zero: it is not armed
	Dismissed bool      // it is being dismissed: it guards nobody any more
	Lost      string    // why it is gone; "": it is there
	Suspect   uint64    // an order that was under way when it was lost: its acknowledgement counts for nothing
	Failed    time.Time
	Problem   string
	Failures  int       // orders in a row that were not acknowledged
	Unguarded time.Time // since when the server may write and nobody guards it; zero: it is guarded, or cannot write
	Fired     uint64    // how often it has ended the server
}

// WatchdogView is the watchdog as it has answered.
type WatchdogView struct {
	State      WatchdogState
	Order      WatchdogOrder // the last one that was acknowledged; zero: it is not armed
	End        time.Time     // the machine is not reset before; zero: the device does not run
	Failed     time.Time     // last order that was refused; zero after one that was taken
	Problem    string        // and why
	Checked    time.Time     // last look whether it could be armed
	Lacks      string        // what such a look has found missing
	Used       time.Time     // the newest renewal that an acknowledged order has rested on
	Tried      time.Duration // what a device that runs was told last to count
	StopFailed time.Time     // last order to stop in vain
}

// ClockJump is a jump of the machine's wall clock against the node's own. Nothing is decided by the wall clock, but a machine that was frozen
// may show it in this way only.
type ClockJump struct {
	At time.Time     // zero: there was none
	By time.Duration // negative: back
}

// Rejoin is what we know about our log against the leader's.
type Rejoin struct {
	Leader    dcs.Version // incarnation of the leader key that the facts below belong to
	Since     time.Time   // when we saw that incarnation first
	Lineage   *postgres.Lineage
	LocalAt   time.Time // when the local side was seen
	At        time.Time // when the leader was last asked, or the attempt ended
	Tries     int       // in vain, in a row
	First     time.Time // when it was asked first in vain
	Failed    time.Time
	Problem   string
	Recovered bool // crash recovery was tried
	Restarts  int  // because nothing streamed although the logs fit
	Rewinds   int  // failed rewinds in a row
	Rewound   int  // rewinds against this leader that succeeded
}

// ConfiguredView is what the server was told of the settings.
type ConfiguredView struct {
	Version uint64 // counts Settings values
	Sent    uint64 // the version under way
	Done    uint64
	Failed  time.Time
	Problem string
	SlotsAt time.Time
	Slots   string // the wanted slots that were ensured last
}

// PendingCommand waits for an answer.
type PendingCommand struct {
	ID      uint64
	Command Command
	At      time.Time
}
