package zookeeper

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestComplaintDecidesNothing: what one session has met at the door is told to those who wait for another's connection, in words alone: that a session
// has ended, or that credentials were refused, must not end theirs.
func TestComplaintDecidesNothing(t *testing.T) {
	p := newPool(Config{Hosts: []string{"127.0.0.1:2181"}})
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, met := range []error{errExpired, codeAuthFailed, errHungUp} {
		p.failed("127.0.0.1:2181", met)
		at, err := p.complaint(over)
		if at == "" || !strings.Contains(err.Error(), met.Error()) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is told as %v, at %q", met, err, at)
		}
		if final(err) || definite(err) || errors.Is(err, met) {
			t.Errorf("%v decides about another session", met)
		}
	}
}
