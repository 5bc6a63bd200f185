package ha

import (
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// MaxSteps bounds the chain of decisions that one event may cause. Reaching it is a bug in a rule; a simulator run fails, a node in
// production pauses for a moment and goes on (safety 14.4).
const MaxSteps = 32

// Machine is a node without threads, clock, disk or network: events go in, requests come out. A Node runs one over real ports, the
// simulator runs many over simulated ones.
type Machine struct {
	view       View
	rules      *Rulebook
	nextID     uint64
	last       Decision
	counts     map[RuleID]uint64
	history    []HistoryItem
	overruns   int
	chain      []RuleID // which rules decided in the last Step
	remembered int      // decisions ever put into history
}

// NewMachine makes the machine of a node that has just started and knows nothing but its settings. configRaw is the dynamic
// configuration that they were made of, nil if there was none.
func NewMachine(self Self, settings Settings, configRaw []byte, rules *Rulebook) *Machine {
	if rules == nil {
		rules = StandardRules()
	}
	m := &Machine{rules: rules, counts: map[RuleID]uint64{}}
	m.view = View{Self: self, Settings: settings, ConfigRaw: configRaw}
	m.view.Configured.Version = 1
	m.view.Asked = Timeouts{settings.TTL, settings.LoopWait, settings.RetryTimeout}
	return m
}

// View is what the node knows now.
func (m *Machine) View() *View { return &m.view }

// Decision is the one that the node rests on.
func (m *Machine) Decision() Decision { return m.last }

// Counts says how often each rule has fired.
func (m *Machine) Counts() map[RuleID]uint64 { return m.counts }

// Overruns counts the events whose chain of decisions did not come to rest.
func (m *Machine) Overruns() int { return m.overruns }

// Chain lists the rules that decided in the last Step, in order. It is valid until the next one.
func (m *Machine) Chain() []RuleID { return m.chain }

// History lists the last changed decisions, oldest first.
func (m *Machine) History() []HistoryItem { return m.history }

// Step folds e and decides until there is nothing to begin. The requests are in the order in which they were decided; each must end
// in exactly one event that carries its id. next is when to step again (with a Tick) if nothing happens.
func (m *Machine) Step(now time.Time, e Event) (requests []Request, next time.Time) {
	m.view = Fold(now, m.view, e)
	m.chain = m.chain[:0]
	for range MaxSteps {
		if m.view.Done {
			return requests, time.Time{}
		}
		m.last = m.rules.Decide(now, &m.view)
		m.counts[m.last.Reason.Rule]++
		m.chain = append(m.chain, m.last.Reason.Rule)
		if len(m.last.Do) == 0 {
			if !m.view.askedJustNow() {
				m.remember(now)
			}
			return requests, m.last.Next
		}
		if weighty(m.last.Do) {
			m.remember(now)
		}
		for _, a := range m.last.Do {
			if r, ok := m.begin(now, a); ok {
				requests = append(requests, r)
			}
		}
	}
	m.overruns++
	return requests, now.Add(retry)
}

// begin gives an action its id and deadline. An action on a lane that is taken is refused: its rule will ask again.
func (m *Machine) begin(now time.Time, a Action) (Request, bool) {
	lane := a.lane()
	if lane != LaneNow && lane != LanePeer && !m.view.free(lane) {
		return Request{}, false
	}
	m.nextID++
	r := Request{ID: m.nextID, Action: a, Sent: now, Deadline: m.view.deadline(now, a)}
	m.view = Fold(now, m.view, Begun{ID: r.ID, Sent: now, Action: a})
	switch a.(type) {
	case EndHandover, ForgetClaim:
		return Request{}, false // they concern the view alone
	}
	return r, true
}

// askedJustNow says whether a question is under way whose answer comes in a moment: what is decided meanwhile is not worth a line.
func (v *View) askedJustNow() bool {
	if !v.free(LaneStore) && v.Store.Problem == "" { // a store that is away is asked again and again: that is worth a line
		return true
	}
	if !v.free(LaneObserve) || !v.free(LaneFence) || !v.free(LaneWatchdog) {
		return true
	}
	for _, p := range v.Peers {
		if p.Asking != 0 {
			return true
		}
	}
	return false
}

// weighty says whether a decision changes something that people want to read about.
func weighty(do []Action) bool {
	for _, a := range do {
		switch a.(type) {
		case RunTask, CancelTask, KillServer, AcquireKey, ReleaseKey, ClaimInitialize, DropInitialize, ClearFailover, EndHandover, Quit:
			return true
		}
	}
	return false
}

// remember keeps a decision in the history if it is another than the last one there.
func (m *Machine) remember(now time.Time) {
	r := m.last.Reason
	if n := len(m.history); n > 0 && m.history[n-1].Rule == r.Rule && m.history[n-1].Sentence == r.Text {
		return
	}
	m.remembered++
	if len(m.history) >= maxHistory {
		m.history = append(m.history[:0:0], m.history[maxHistory/2:]...)
	}
	m.history = append(m.history, HistoryItem{At: now, Rule: r.Rule, Sentence: r.Text})
}

// maxHistory bounds the list of changed decisions.
const maxHistory = 200

// Bounds of single requests (safety section 4: a renewal gets a third of what is left, so that there is time for another).
const (
	observeTimeout = 2 * time.Second
	primaryTimeout = time.Second
	pollTimeout    = 2 * time.Second
	awaitTimeout   = 1500 * time.Millisecond
	fenceTimeout   = time.Second
	slotsTimeout   = 5 * time.Second
)

// deadline bounds an action.
func (v *View) deadline(now time.Time, a Action) time.Time {
	switch a := a.(type) {
	case Observe:
		if len(v.Commands) > 0 {
			return now.Add(observeTimeout / 4) // somebody waits for it
		}
		if v.mayWrite() {
			return now.Add(primaryTimeout) // a hung server has to be told from a working one (safety section 12)
		}
		return now.Add(observeTimeout)
	case PollPeer:
		return now.Add(pollTimeout)
	case AwaitPeer:
		return now.Add(awaitTimeout)
	case AskFailsafe:
		return now.Add(min(pollTimeout, max(v.budget().Rule.Sub(now)/2, 2*retry)))
	case ArmFence:
		return now.Add(v.armTimeout(now))
	case DisarmFence, ArmWatchdog, DisarmWatchdog, CheckWatchdog:
		return now.Add(fenceTimeout)
	case EnsureSlots:
		return now.Add(slotsTimeout)
	case RunTask:
		if a.Task.Kind == postgres.TaskLineage {
			return now.Add(slotsTimeout)
		}
		return time.Time{}
	case Configure:
		return now.Add(6 * slotsTimeout)
	}
	if a.lane() == LaneStore {
		return now.Add(v.storeTimeout(now, a))
	}
	return time.Time{}
}

// storeTimeout bounds one request to the store. One that takes its time by nature, as a renewal does on ZooKeeper (a tick, two seconds by default), is
// given that while there is so much left. Once the authority is over, haste saves nothing: the longer it has been over, the longer a request
// may take, up to 3 s.
func (v *View) storeTimeout(now time.Time, a Action) time.Duration {
	var need time.Duration
	switch a.(type) {
	case RenewKey, AcquireKey:
		need = attempt(v.Session.Pace)
	}
	limit := max(min(v.Settings.RetryTimeout, 5*time.Second), need)
	if !v.leads() {
		return limit
	}
	left := v.budget().Rule.Sub(now)
	if left > 0 {
		need = min(left, need)
	}
	return min(limit, max(left/3, min(-left, 3*time.Second), 2*retry, need))
}
