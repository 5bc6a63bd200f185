package ha

// Rulebook is the ordered list of rules.
type Rulebook struct{}
