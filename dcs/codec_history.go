package dcs

import (
	"encoding/json"
	"fmt"
)

// MarshalJSON writes [timeline, lsn, reason], with the time and the leader's name behind them where they are known.
func (l HistoryLine) MarshalJSON() ([]byte, error) {
	line := []any{l.Timeline, l.LSN, l.Reason}
	if l.Timestamp != "" || l.Leader != "" {
		line = append(line, l.Timestamp)
	}
	if l.Leader != "" {
		line = append(line, l.Leader)
	}
	return Marshal(line)
}

// UnmarshalJSON reads a line of three, four or five fields; longer ones may come from later versions.
func (l *HistoryLine) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil || raw == nil {
		return errNotArray
	}
	if len(raw) < 3 {
		return fmt.Errorf("has %d fields instead of 3 to 5", len(raw))
	}
	tl, err := natural(raw[0])
	if err != nil || tl == 0 || tl > 0xffffffff {
		return fmt.Errorf("has no timeline in its first field")
	}
	lsn, err := natural(raw[1])
	if err != nil {
		return fmt.Errorf("has no position in its second field")
	}
	*l = HistoryLine{Timeline: uint32(tl), LSN: lsn, Reason: scalar(raw[2])}
	if len(raw) > 3 {
		l.Timestamp = scalar(raw[3])
	}
	if len(raw) > 4 {
		l.Leader = scalar(raw[4])
	}
	return nil
}

// MarshalJSON writes an array of arrays; no history is an empty array.
func (h History) MarshalJSON() ([]byte, error) {
	if h == nil {
		return []byte("[]"), nil
	}
	return Marshal([]HistoryLine(h))
}

// Timeline is the cluster's timeline as the key tells it: one more than the last switch, 1 for an empty history, and 0
// for a key that is absent or garbage (a nil History).
func (h History) Timeline() uint32 {
	switch {
	case h == nil:
		return 0
	case len(h) == 0:
		return 1
	}
	return h[len(h)-1].Timeline + 1
}

// decodeHistory leaves out the lines that cannot be understood. It is nil for garbage, and empty for [].
func decodeHistory(value []byte) (History, []string) {
	var raw []json.RawMessage
	if json.Unmarshal(value, &raw) != nil || raw == nil {
		return nil, []string{"its value " + errNotArray.Error() + "; it is ignored"}
	}
	h, bad := make(History, 0, len(raw)), ""
	for i, r := range raw {
		var l HistoryLine
		if err := l.UnmarshalJSON(r); err != nil {
			if bad == "" {
				bad = fmt.Sprintf("its line %d %v; such lines are ignored", i+1, err)
			}
			continue
		}
		h = append(h, l)
	}
	if bad == "" {
		return h, nil
	}
	return h, []string{bad}
}
