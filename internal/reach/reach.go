// Package reach says, in the same words for each store, how a request's time was spent in vain when nobody has said a word, and what an operator can
// look at then. Hints that differ between stores stay with them.
package reach

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoConnection says that there was nobody to send the request to.
	ErrNoConnection = errors.New("no connection came about in time")
	// ErrSilent says that it was sent and not answered.
	ErrSilent = errors.New("no answer in time")
)

// Unreachable is the hint where no connection comes about. A server that hangs may look like that as well.
const Unreachable = "is the host up and its address right, does a firewall drop what is sent to it, or does the server hang?"

// NoConnection is the error of who has waited for a connection until cause. Only a deadline says something of the other side.
func NoConnection(cause error) error { return late(ErrNoConnection, cause) }

// NoAnswer is the error of who has waited for an answer until cause.
func NoAnswer(cause error) error { return late(ErrSilent, cause) }

func late(what, cause error) error {
	if !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return fmt.Errorf("%w (%w)", what, cause)
}

// Hint is what an operator can look at, found by what is in the text of err; "" where the network is not to blame.
func Hint(err error) string {
	if strings.Contains(err.Error(), "lookup ") {
		return "the name cannot be resolved: does the name server answer?"
	}
	for _, text := range []string{ErrNoConnection.Error(), "i/o timeout", "connection timed out", "no route to host", "network is unreachable"} {
		if strings.Contains(err.Error(), text) {
			return Unreachable
		}
	}
	return ""
}
