package ha

import (
	"context"
	"errors"

	"github.com/tanist-ha/tanist/dcs"
)

// FaultKind says what is known after a request that did not succeed.
type FaultKind string

// Kinds of faults. Only FaultUnknown leaves open whether the request had its effect.
const (
	FaultConflict    FaultKind = "conflict"     // the store answered: a condition does not hold; nothing was written
	FaultUnknown     FaultKind = "unknown"      // it may have happened
	FaultUnavailable FaultKind = "unavailable"  // it certainly did not happen
	FaultSessionLost FaultKind = "session lost" // and with it the keys that lived with it
	FaultOther       FaultKind = "error"
)

// Fault is an error as a value that a flight record can hold. A nil *Fault is success.
type Fault struct {
	Kind FaultKind
	Text string
}

// Is says whether f is a fault of that kind; a nil f is none.
func (f *Fault) Is(k FaultKind) bool { return f != nil && f.Kind == k }

func (f *Fault) String() string {
	if f == nil {
		return "ok"
	}
	return f.Text
}

// faultOf classifies err by the errors of package dcs. A context that ended leaves the outcome unknown.
func faultOf(err error) *Fault {
	if err == nil {
		return nil
	}
	f := &Fault{Kind: FaultOther, Text: err.Error()}
	switch {
	case errors.Is(err, dcs.ErrSessionLost):
		f.Kind = FaultSessionLost
	case errors.Is(err, dcs.ErrConflict):
		f.Kind = FaultConflict
	case errors.Is(err, dcs.ErrUnknown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f.Kind = FaultUnknown
	case errors.Is(err, dcs.ErrUnavailable):
		f.Kind = FaultUnavailable
	}
	return f
}
