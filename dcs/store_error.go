package dcs

import "strings"

// StoreError is what a failed request to a store returns. errors.Is finds both the class that callers branch on and the cause.
type StoreError struct {
	Store  string // "etcd", "consul" or "zookeeper"
	Op     string // the request: "read", "apply", "keepalive", ...
	Server string // who answered or failed to; "" if none was asked or could be reached
	Class  error  // ErrConflict, ErrUnknown, ErrSettled, ErrUnavailable or ErrSessionLost
	Err    error  // what the store, the network or the context said; may be nil
	Hint   string // what an operator can do about it; may be ""
}

// Error tells it in one line.
func (e *StoreError) Error() string {
	var b strings.Builder
	b.WriteString(e.Store + " " + e.Op)
	if e.Server != "" {
		b.WriteString(" at " + e.Server)
	}
	b.WriteString(": " + e.Class.Error())
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap makes class and cause known to errors.Is and errors.As.
func (e *StoreError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}
