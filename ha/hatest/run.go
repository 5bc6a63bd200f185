package hatest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// Profile says what kinds of faults a run has.
type Profile string

// Profiles.
const (
	Everything Profile = ""        // all faults
	Planned    Profile = "planned" // operators' requests and orderly stops only: no row may be lost
)

// Mutant is a defect on purpose: a simulator that does not find it proves nothing.
type Mutant struct {
	Name  string
	Event func(now time.Time, e ha.Event) ha.Event // changes what a machine is told
	// View changes what a machine knows, before each of its steps.
	View func(v *ha.View)
	// Believe changes what a machine is told, knowing what it knows.
	Believe func(v *ha.View, e ha.Event) ha.Event
	// Clock is how far the agents' clocks are wrong after a time.
	Clock func(elapsed time.Duration) time.Duration
	// Store breaks what stands between the agents and the store.
	Store StoreMutant
	// Guard breaks the guards.
	Guard GuardMutant
}

// Options are the parameters of a run. The zero value of each but Seed means the default.
type Options struct {
	Seed             uint64
	Nodes            int           // default 3
	Faults           time.Duration // default 8 minutes
	Calm             time.Duration // default 3 minutes
	ReplicationDelay time.Duration // longest pause between two receptions; default 60 ms
	Config           string        // dynamic configuration; default drawn from the seed
	Tick             time.Duration // of a store that keeps sessions as ZooKeeper does (see Touches); 0: of one that does not
	Profile          Profile
	Rules            *ha.Rulebook // default: the standard rules
	Mutant           Mutant
	NoFence          bool // guards do nothing
	SlowAnswers      bool // members answer a leader's question of failsafe mode after one to two seconds
	Strict           bool // an agent that ends by itself is a violation
	// Record, if set, is given the flight record of every agent; run tells the runs of agents apart.
	Record func(run string, e ha.RecordEntry)
}

// Result is what a run has shown.
type Result struct {
	Violation          string // "": none
	Log                string // the whole history
	Hash               string // of Log
	Rules              map[ha.RuleID]uint64
	Steps, Ops, Fenced int
	Resets             int // of machines, by their watchdogs
	Rows               int
}

// Run plays one history.
func Run(o Options) Result {
	if o.Nodes == 0 && o.Profile == Namesakes {
		o.Nodes = 4
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Faults == 0 && o.Profile == Founding {
		o.Faults = foundingTime
	}
	if o.Faults == 0 {
		o.Faults = 8 * time.Minute
	}
	if o.Calm == 0 {
		o.Calm = 3 * time.Minute // a standby that cannot be served is restarted twice before it is cloned
	}
	if o.ReplicationDelay == 0 {
		o.ReplicationDelay = 60 * time.Millisecond
	}
	configs := []string{`{"ttl":30,"loop_wait":10,"retry_timeout":10}`, `{"ttl":20,"loop_wait":3,"retry_timeout":5}`,
		`{"ttl":5,"loop_wait":1,"retry_timeout":2}`, `{"ttl":30,"loop_wait":10,"retry_timeout":10,"primary_start_timeout":0}`}
	if o.Config == "" && (o.Profile == Stale || o.Profile == Elections || o.Profile == Cached) {
		o.Config = configs[0]
	}
	if o.Config == "" && o.Profile == Touches {
		o.setTouches()
	}
	if o.Config == "" && o.Profile == Failsafe {
		o.Config = failsafeConfig(o.Seed)
	}
	if o.Config == "" {
		o.Config = configs[o.Seed%uint64(len(configs))]
		if o.Profile == Everything && o.Seed/uint64(len(configs))%3 == 2 {
			o.Config = strings.Replace(o.Config, "}", `,"failsafe_mode":true}`, 1)
		}
	}
	w := newWorld(o)
	w.play()
	for _, n := range w.nodes {
		if n.agent != nil {
			w.collect(n.agent)
		}
	}
	sum := sha256.Sum256([]byte(w.lines.String()))
	return Result{Violation: w.violation, Log: w.lines.String(), Hash: hex.EncodeToString(sum[:8]), Rules: w.counts,
		Steps: w.steps, Ops: w.ops, Fenced: w.fenced, Resets: w.resets, Rows: len(w.rows)}
}

// play starts everybody, lets things go wrong, and then lets them heal.
func (w *World) play() {
	for _, n := range w.nodes {
		w.eng.after(w.bounded(0, 2*time.Second), n.startAgent)
		w.eng.after(w.bounded(0, time.Second), func() { w.replicate(n) })
	}
	w.eng.after(time.Second, w.write)
	end := epoch.Add(w.opts.Faults)
	w.faulty = true
	first := w.bounded(10*time.Second, 30*time.Second)
	if w.opts.Profile == Founding {
		first /= 10
	}
	w.eng.after(first, w.nextFault)
	w.until(end)
	w.faulty = false
	w.heal()
	w.until(end.Add(w.opts.Calm))
	if w.violation == "" {
		w.checkEnd()
	}
}

// until lets events happen up to a time, or to the first violation.
func (w *World) until(end time.Time) {
	for w.violation == "" && w.eng.step(end) {
		w.check()
	}
}

// cluster reads the store behind everybody's back.
func (w *World) cluster() (dcs.Cluster, error) { return w.admin.Load(context.Background()) }
