package dcs

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// MarshalJSON writes the request as Patroni does: only the fields that are set, and time with its offset.
func (f Failover) MarshalJSON() ([]byte, error) {
	var out struct {
		Leader      string `json:"leader,omitempty"`
		Candidate   string `json:"member,omitempty"`
		ScheduledAt string `json:"scheduled_at,omitempty"`
	}
	out.Leader, out.Candidate = f.Leader, f.Candidate
	if f.ScheduledAt != nil {
		layout := "2006-01-02T15:04:05-07:00"
		if f.ScheduledAt.Nanosecond() >= 1000 {
			layout = "2006-01-02T15:04:05.000000-07:00"
		}
		out.ScheduledAt = f.ScheduledAt.Format(layout)
	}
	return Marshal(out)
}

// decodeFailover returns nil for "no request". A request of which any part cannot be understood is none: without its
// leader it would be a failover instead of a switchover, and without its time it would happen now.
func decodeFailover(value []byte) (*Failover, []string) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return nil, nil
	}
	if !json.Valid(value) {
		return legacyFailover(string(value))
	}
	f, err := parseFields(value)
	if err != nil {
		return nil, []string{"its value " + err.Error() + "; no failover is carried out"}
	}
	r := &Failover{Leader: f.str("leader"), Candidate: f.str("member")}
	if at := f.str("scheduled_at"); at != "" {
		if t, ok := parseTime(at); ok {
			r.ScheduledAt = &t
		} else {
			f.bad = append(f.bad, "scheduled_at")
		}
	}
	if len(f.bad) > 0 {
		return nil, []string{strings.Replace(f.problems()[0], "ignored", "not guessed: no failover is carried out", 1)}
	}
	if r.Leader == "" && r.Candidate == "" {
		return nil, nil
	}
	return r, nil
}

// legacyFailover reads "leader:candidate", either of them optional.
func legacyFailover(text string) (*Failover, []string) {
	leader, candidate, _ := strings.Cut(text, ":")
	leader, candidate = strings.TrimSpace(leader), strings.TrimSpace(candidate)
	if len(text) > 512 || !plainName(leader) || !plainName(candidate) {
		return nil, []string{"its value is neither a JSON object nor leader:candidate; no failover is carried out"}
	}
	if leader == "" && candidate == "" {
		return nil, nil
	}
	return &Failover{Leader: leader, Candidate: candidate}, nil
}

// plainName tells a member's name from garbage.
func plainName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`{}[]"'\:,/`, r)
	})
}

// parseTime reads ISO 8601 with a time zone, in the spellings that Patroni and its users write.
func parseTime(s string) (time.Time, bool) {
	for _, date := range []string{"2006-01-02T15:04", "2006-01-02 15:04"} {
		for _, rest := range []string{":05Z07:00", ":05-0700", ":05-07", "Z07:00", "-0700", "-07"} {
			if t, err := time.Parse(date+rest, s); err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// MarshalJSON writes the key in Patroni's order; empty texts are null.
func (s Sync) MarshalJSON() ([]byte, error) {
	out := struct {
		Leader  *string `json:"leader"`
		Quorum  int     `json:"quorum"`
		Standby *string `json:"sync_standby"`
	}{Quorum: s.Quorum}
	if s.Leader != "" {
		out.Leader = &s.Leader
	}
	if s.Standby != "" {
		out.Standby = &s.Standby
	}
	return Marshal(out)
}

// decodeSync returns nil for a key without a leader: synchronous mode is not active.
func decodeSync(value []byte) (*Sync, []string) {
	if len(bytes.TrimSpace(value)) == 0 {
		return nil, nil
	}
	f, err := parseFields(value)
	if err != nil {
		return nil, []string{"its value " + err.Error() + "; it is treated as empty"}
	}
	s := &Sync{Leader: f.str("leader"), Standby: f.str("sync_standby")}
	if n := f.number("quorum"); n <= 1<<20 {
		s.Quorum = int(n)
	} else {
		f.bad = append(f.bad, "quorum")
	}
	if s.Leader == "" {
		return nil, f.problems()
	}
	return s, f.problems()
}
