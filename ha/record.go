package ha

import "time"

// RecordEntry is one line of the flight record: an event as it was folded, and what followed from it. It is a value that nobody
// changes afterwards. Package flight keeps entries and writes them to files; Replay recomputes them.
type RecordEntry struct {
	At    time.Time
	Event Event
	Rule  RuleID // of the decision that the node rests on after the event
	Text  string
	Began []Request // what the event made the node ask for, in order
	// Start, where it is set, is what the machine was before the event: a replay can begin here. The first entry of a run has one, and
	// then one in every checkpointEvery, so that a record may lose its oldest part.
	Start *Checkpoint
}

// Checkpoint is a machine at rest between two events.
type Checkpoint struct {
	View   View
	NextID uint64 // the id of the last request
}

// checkpointEvery is the number of entries from one checkpoint to the next.
const checkpointEvery = 256

// Checkpoint is the machine as it is now.
func (m *Machine) Checkpoint() *Checkpoint { return &Checkpoint{View: m.view, NextID: m.nextID} }

// Entry describes the last Step, which was given at and e and has returned began. start is the Checkpoint from before that step, or nil.
func (m *Machine) Entry(at time.Time, e Event, began []Request, start *Checkpoint) RecordEntry {
	return RecordEntry{At: at, Event: e, Rule: m.last.Reason.Rule, Text: m.last.Reason.Text, Began: began, Start: start}
}
