package ha

import (
	"context"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// Status is an immutable snapshot of a node for those who ask: REST, metrics, an embedder's own pages.
// Facts that expire are asked with a time.
type Status struct {
	Name, Scope  string
	StartID      string    // random id of this run of the agent
	At           time.Time // when it was published
	State        dcs.State
	Role         dcs.Role
	Observed     postgres.Observation
	ObservedAt   time.Time
	Cluster      dcs.Cluster // as last read
	ClusterAt    time.Time   // when that was; zero: never
	StoreSeen    time.Time   // last successful answer of the store
	StoreProblem string      // why the store does not answer, "" if it does
	Authority    Authority
	Accepting    bool // the server was last known to accept writes of ordinary clients
	Settings     Settings
	Fence        string   // "unfenced", or what guards the server and until when
	Watchdog     string   // the watchdog, and whether it is armed; "": none is asked for
	NoWatchdog   bool     // a watchdog is required and cannot be armed: this node does not lead
	Reason       Reason   // of the last decision
	Notices      []string // everything an operator should know: settings not honoured, foreign data directory, …
	Task         string   // what runs on the server, "" if nothing
	Busy         []string // actions under way, in the order of their lanes: what the node waits for beside time
	NextLoop     time.Time
	ShuttingDown bool
	Named        bool // no other agent runs under our name
	RuleCounts   map[RuleID]uint64
	FenceFired   uint64         // how often the fence has ended the server; without a fault that explains it, a bug
	Demotions    uint64         // how often the server was stopped because it had no right to write, or nobody guarded it
	Overruns     int            // how often the decisions after one event did not come to an end: a bug in the rules
	Member       dcs.MemberData // as we publish it

	// FailsafeUntil is when failsafe mode ends to be active here if nothing prolongs it: a leader's authority by it, or another member's
	// promise. Zero: it is not.
	FailsafeUntil time.Time
}

// Leads says whether the node holds the leader key with authority at now.
func (s *Status) Leads(now time.Time) bool { return s.Authority.Holds(now) }

// FailsafeActive says whether somebody leads by failsafe mode, as far as this node has to do with it.
func (s *Status) FailsafeActive(now time.Time) bool { return now.Before(s.FailsafeUntil) }

// Writable says whether clients may be sent here to write: authority, and a server known to accept writes (safety 12).
func (s *Status) Writable(now time.Time) bool { return s.Leads(now) && s.Accepting }

// Answer is the reply to a Command.
type Answer struct {
	Observed   postgres.Observation // Look, Await; Failsafe: the last one
	ObservedAt time.Time
	Promise    time.Duration // Failsafe: how long this node does not race; 0: it has refused
	Refused    string        // Failsafe: why
	Off        bool          // Failsafe: because the mode is off
}

// Command is a request to this node. What concerns the cluster is written to the store instead.
type Command interface{ command() }

// Look asks for a fresh observation, shared with everyone who asks at the same time.
type Look struct{}

// Await asks to be answered when the local position has reached LSN.
type Await struct{ LSN postgres.LSN }

// Failsafe asks this node to accept another as leader while the store is away (safety section 10).
type Failsafe struct{ Ask FailsafeAsk }

func (Look) command()     {}
func (Await) command()    {}
func (Failsafe) command() {}

// Asker is what REST sees of a node.
type Asker interface {
	Status() *Status
	Now() time.Time // the node's clock
	Submit(ctx context.Context, c Command) (Answer, error)
	// Wait returns the first published status for which ok is true.
	Wait(ctx context.Context, ok func(*Status) bool) (*Status, error)
	Explain() Explanation
	// Glance asks for a fresh observation and does not wait for it: the next Status shows it.
	Glance()
}

// Explanation answers "why": the last decision, each rule that was passed over and why, and every wait with its end.
type Explanation struct {
	Name     string        `json:"name"`
	At       time.Time     `json:"at"`
	Role     dcs.Role      `json:"role"`
	Rule     RuleID        `json:"rule"`
	Sentence string        `json:"sentence"`
	Passed   []Skipped     `json:"passed"`
	Until    *time.Time    `json:"until,omitempty"` // when the wait of the rule ends at the latest
	Fence    string        `json:"fence"`
	Watchdog string        `json:"watchdog,omitempty"`
	Notices  []string      `json:"notices,omitempty"`
	Events   []HistoryItem `json:"events"` // the last changed decisions, newest last
}

// HistoryItem is one changed decision.
type HistoryItem struct {
	At       time.Time `json:"at"`
	Rule     RuleID    `json:"rule"`
	Sentence string    `json:"sentence"`
}
