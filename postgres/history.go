package postgres

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// History lists the switches that led to a timeline, oldest first (PostgreSQL documentation, "Timelines").
type History []Switch

// Switch is one line of a history file: Parent was left at LSN.
type Switch struct {
	Parent Timeline
	LSN    LSN
	Reason string
}

// ParseHistory reads the text of a history file, as it lies in pg_wal and as TIMELINE_HISTORY sends it: lines of parent
// timeline, switch point and reason, separated by white space, parents ascending; blank lines and lines that begin with
// "#" are comments.
func ParseHistory(text string) (History, error) {
	var h History
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parent, rest := cutField(line)
		point, reason := cutField(rest)
		tl, err := strconv.ParseUint(parent, 10, 32)
		if err != nil || tl == 0 {
			return nil, fmt.Errorf("parse history: line %d: %q is not a timeline", number, parent)
		}
		lsn, err := ParseLSN(point)
		if err != nil {
			return nil, fmt.Errorf("parse history: line %d: %w", number, err)
		}
		if n := len(h); n > 0 && h[n-1].Parent >= Timeline(tl) {
			return nil, fmt.Errorf("parse history: line %d: timeline %d after %d; they must ascend", number, tl, h[n-1].Parent)
		}
		h = append(h, Switch{Parent: Timeline(tl), LSN: lsn, Reason: reason})
	}
	return h, nil
}

func cutField(s string) (field, rest string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

// String is the text of the history file.
func (h History) String() string {
	var b strings.Builder
	for _, s := range h {
		fmt.Fprintf(&b, "%d\t%s\t%s\n", s.Parent, s.LSN, s.Reason)
	}
	return b.String()
}

// HistoryFileName is the name of the history file of a timeline. Timeline 1 has none.
func HistoryFileName(t Timeline) string { return fmt.Sprintf("%08X.history", uint32(t)) }

// SwitchPoint is where parent was left on the way to the timeline that h belongs to; false if it was not passed.
func (h History) SwitchPoint(parent Timeline) (LSN, bool) {
	for _, s := range h {
		if s.Parent == parent {
			return s.LSN, true
		}
	}
	return 0, false
}

// Effective tells how much of p belongs to the log of timeline newest, whose history is h: all of it on newest itself;
// on an ancestor only what lies before its switch point, as what was written there later is lost to newest. It is false
// if p's timeline is no ancestor: then p cannot be compared.
func Effective(p Position, newest Timeline, h History) (LSN, bool) {
	if p.Timeline == newest {
		return p.LSN, true
	}
	if p.Timeline == 0 || p.Timeline > newest {
		return 0, false
	}
	point, ok := h.SwitchPoint(p.Timeline)
	return min(p.LSN, point), ok
}

// Compare orders two positions by how much they hold of the log of timeline newest, whose history is h: negative if a
// holds less than b. A position of a timeline that is no ancestor of newest is behind all others, and false says that
// there was one.
func Compare(a, b Position, newest Timeline, h History) (order int, comparable bool) {
	x, okX := Effective(a, newest, h)
	y, okY := Effective(b, newest, h)
	switch {
	case okX && okY:
		return cmp.Compare(x, y), true
	case okX:
		return 1, false
	case okY:
		return -1, false
	}
	return 0, false
}
