package ha

import "log/slog"

// RuleID is the stable name of a rule, for example "vacant.behind".
type RuleID string

// Reason is why a decision was made.
type Reason struct {
	Rule  RuleID
	Text  string
	Attrs []slog.Attr `json:"-"`
}

// Skipped is a rule that was passed over, and why.
type Skipped struct {
	Rule RuleID `json:"rule"`
	Why  string `json:"why"`
}
