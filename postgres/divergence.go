package postgres

import "fmt"

// Divergence is the answer to: may this server stream from that one?
type Divergence string

// The answers.
const (
	// DivergenceNone: the local log is a part of the upstream's: it may follow as it is.
	DivergenceNone Divergence = "none"
	// DivergenceRewind: the local log holds what the upstream's does not: pg_rewind, or a new clone.
	DivergenceRewind Divergence = "rewind"
	// DivergenceClone: as Rewind, but both call their branch by the same number, where pg_rewind sees no difference: only a
	// new clone helps.
	DivergenceClone Divergence = "clone"
	// DivergenceUnrelated: the upstream is another cluster. Nothing local may be touched.
	DivergenceUnrelated Divergence = "unrelated"
	// DivergenceUnknown: it cannot be told yet; the sentence says what is missing.
	DivergenceUnknown Divergence = "unknown"
)

// Verdict is a Divergence with its reason, a sentence for people.
type Verdict struct {
	Divergence Divergence
	Reason     string
}

// Standing is where the local server's log stands, for Diverged.
type Standing struct {
	SystemID string
	Position Position
	// Wrote says that the server wrote the last of its log itself, as a primary that was shut down. Position.LSN is then
	// the start of its shutdown checkpoint record, and End that record's end (0: could not be found out).
	Wrote bool
	End   LSN
	// History is that of Position.Timeline. Nil is "unknown" beyond timeline 1: then a branch that has the number of one of
	// the upstream's ancestors is taken for that ancestor.
	History History
}

// StandingOf tells where the observed server stands; false, with a reason, if that can only be told after it was stopped
// or has recovered. On a running standby only what it replayed counts: WAL that it received beyond a switch point is
// passed over when it replays the new timeline instead.
func StandingOf(o Observation) (Standing, string, bool) {
	if o.Control == nil {
		return Standing{}, "the control file cannot be read", false
	}
	s := Standing{SystemID: o.Control.SystemID}
	if o.Postmaster != nil && o.SQL != nil {
		if !o.SQL.InRecovery {
			return Standing{}, "it runs as a primary", false
		}
		s.Position = Position{o.SQL.Timeline, o.SQL.Replayed}
	} else {
		pos, wrote, ok := o.Control.stopped()
		if !ok {
			return Standing{}, fmt.Sprintf("the control file says %q: it has to recover first", o.Control.State), false
		}
		s.Position, s.Wrote = pos, wrote
		if wrote {
			s.End = o.Control.CheckpointEnd
		}
	}
	if s.Position.Timeline == 0 {
		return Standing{}, "its timeline is unknown", false
	}
	if s.Position.Timeline == o.Control.Timeline {
		s.History = o.History
	}
	return s, "", true
}

// stopped is where the log of a server that is down ends, as far as its control file tells.
func (c Control) stopped() (p Position, wrote, ok bool) {
	switch c.State {
	case ControlShutDownInRecovery, ControlArchiveRecovery:
		// Without a minimum recovery point nothing was replayed yet: it stands where a primary was shut down.
		if c.MinRecoveryEnd != 0 && c.MinRecoveryTimeline != 0 {
			return Position{c.MinRecoveryTimeline, c.MinRecoveryEnd}, false, true
		}
		return Position{c.Timeline, c.Checkpoint}, true, true
	case ControlShutDown:
		return Position{c.Timeline, c.Checkpoint}, true, true
	}
	return Position{}, false, false
}

// Diverged judges whether a server that stands at local may stream from the one that told lineage of itself. It follows
// the rules by which PostgreSQL decides the same, and is stricter where a number alone would deceive: two servers that
// were promoted apart call different branches by one number.
func Diverged(local Standing, up Lineage) Verdict {
	tl := local.Position.Timeline
	switch {
	case local.SystemID != up.SystemID:
		return verdict(DivergenceUnrelated, "system identifier %s here, %s there", local.SystemID, up.SystemID)
	case up.InRecovery:
		return verdict(DivergenceUnknown, "the upstream is still in recovery on timeline %d", up.Timeline)
	case tl == 0 || up.Timeline == 0:
		return verdict(DivergenceUnknown, "timeline %d here, %d there; zero is unknown", tl, up.Timeline)
	case tl > up.Timeline:
		return verdict(DivergenceRewind, "timeline %d here is newer than %d there", tl, up.Timeline)
	case up.Timeline > 1 && len(up.History) == 0:
		return verdict(DivergenceUnknown, "the history of the upstream's timeline %d is missing", up.Timeline)
	case tl == up.Timeline:
		return sameNumber(local, up)
	}
	return olderTimeline(local, up)
}

// sameNumber judges two servers on timelines of the same number.
func sameNumber(local Standing, up Lineage) Verdict {
	tl := local.Position.Timeline
	if point, ok := contradiction(local, up.History); ok {
		return verdict(DivergenceClone, "both are on a timeline %d, but these branched apart at %s", tl, point)
	}
	if end := max(local.Position.LSN, local.End); local.Wrote && up.LSN != 0 && end > up.LSN {
		return verdict(DivergenceClone, "it wrote timeline %d up to %s, the upstream has it up to %s only", tl, end, up.LSN)
	}
	return verdict(DivergenceNone, "both are on timeline %d", tl)
}

// olderTimeline judges a server on a timeline that should be an ancestor of the upstream's.
func olderTimeline(local Standing, up Lineage) Verdict {
	tl, lsn := local.Position.Timeline, local.Position.LSN
	point, passed := up.History.SwitchPoint(tl)
	if !passed {
		return verdict(DivergenceRewind, "timeline %d here is no ancestor of %d there", tl, up.Timeline)
	}
	if fork, ok := contradiction(local, up.History); ok {
		return verdict(DivergenceRewind, "timeline %d here and the upstream's timeline %d branched apart at %s", tl, tl, fork)
	}
	left := fmt.Sprintf("the upstream left timeline %d at %s", tl, point)
	switch {
	case !local.Wrote && lsn > point:
		return verdict(DivergenceRewind, "%s, it replayed up to %s", left, lsn)
	case !local.Wrote:
		return verdict(DivergenceNone, "%s, it replayed up to %s", left, lsn)
	case lsn >= point:
		return verdict(DivergenceRewind, "%s, its shutdown checkpoint is at %s", left, lsn)
	case local.End == 0:
		return verdict(DivergenceRewind, "%s, and where its shutdown checkpoint at %s ends is unknown", left, lsn)
	case local.End != point:
		return verdict(DivergenceRewind, "%s, its shutdown checkpoint ends at %s", left, local.End)
	}
	return verdict(DivergenceNone, "%s, exactly where its shutdown checkpoint ends", left)
}

// contradiction finds the first switch before local's timeline in which the two histories differ, and tells the earlier
// of its two positions. An unknown local history contradicts nothing.
func contradiction(local Standing, up History) (LSN, bool) {
	var before History // the upstream's history up to local's timeline
	for _, s := range up {
		if s.Parent < local.Position.Timeline {
			before = append(before, s)
		}
	}
	if len(local.History) == 0 {
		return 0, false
	}
	for i := range max(len(local.History), len(before)) {
		switch {
		case i >= len(before):
			return local.History[i].LSN, true
		case i >= len(local.History):
			return before[i].LSN, true
		case local.History[i].Parent != before[i].Parent || local.History[i].LSN != before[i].LSN:
			return min(local.History[i].LSN, before[i].LSN), true
		}
	}
	return 0, false
}

func verdict(d Divergence, format string, args ...any) Verdict {
	return Verdict{d, fmt.Sprintf(format, args...)}
}
