package ha

import "time"

// RecordEntry is one line of the flight record: an event as it was folded, and the decision that followed.
type RecordEntry struct {
	At    time.Time
	Event Event
	Rule  RuleID
	Text  string
}
