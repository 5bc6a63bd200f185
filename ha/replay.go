package ha

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Difference is a place where a replay comes to another result than the record.
type Difference struct {
	Entry   int // index in the record
	At      time.Time
	Event   string // what was folded: "Loaded"
	What    string // what differs: "rule", "sentence" or "requests"
	Was, Is string // as recorded, as recomputed
}

func (d Difference) String() string {
	return fmt.Sprintf("entry %d, %s, %s: %s was %q and is %q", d.Entry, d.At.Format(time.RFC3339Nano), d.Event, d.What, d.Was, d.Is)
}

// Replay feeds the events of a flight record to a fresh machine with the rules of this release and returns where its decisions differ from
// the recorded ones. None means: given what the node was told, this release decides the same.
//
// A replay begins at an entry with a Start, and begins anew at each following one. What comes before the first is passed over, and so
// is the rest of a stretch that has come to a difference: a machine that has asked for something else is told of what it never asked.
func Replay(entries []RecordEntry) []Difference { return ReplayWith(StandardRules(), entries) }

// ReplayWith is Replay with another rulebook: what would that have decided?
func ReplayWith(rules *Rulebook, entries []RecordEntry) []Difference {
	var differences []Difference
	var m *Machine // nil: waiting for an entry with a Start
	for i, e := range entries {
		if e.Start != nil {
			m = &Machine{rules: rules, counts: map[RuleID]uint64{}, view: e.Start.View, nextID: e.Start.NextID}
		}
		if m == nil {
			continue
		}
		began, _ := m.Step(e.At, e.Event)
		if what, was, is := compareEntries(e, m.Entry(e.At, e.Event, began, nil)); what != "" {
			differences = append(differences, Difference{Entry: i, At: e.At, Event: typeName(e.Event), What: what, Was: was, Is: is})
			m = nil
		}
	}
	return differences
}

func compareEntries(was, is RecordEntry) (what, a, b string) {
	switch {
	case was.Rule != is.Rule:
		return "rule", string(was.Rule) + ": " + was.Text, string(is.Rule) + ": " + is.Text
	case was.Text != is.Text:
		return "sentence", was.Text, is.Text
	}
	if a, b := requestNames(was.Began), requestNames(is.Began); a != b {
		return "requests", a, b
	}
	for i := range was.Began {
		if a, b := requestText(was.Began[i]), requestText(is.Began[i]); a != b {
			return "requests", a, b
		}
	}
	return "", "", ""
}

// requestNames lists requests, for a first comparison that people can read.
func requestNames(requests []Request) string {
	var names []string
	for _, r := range requests {
		names = append(names, fmt.Sprintf("%d %s", r.ID, r.Action.Name()))
	}
	return strings.Join(names, ", ")
}

// requestText is a request in full. As JSON, numbers of tags compare equal whether they came from a file, the store or a record.
func requestText(r Request) string {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Sprintf("%d %s (%v)", r.ID, r.Action.Name(), err)
	}
	return string(raw)
}

func typeName(e Event) string { return strings.TrimPrefix(fmt.Sprintf("%T", e), "ha.") }
