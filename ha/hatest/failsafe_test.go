package hatest

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// failsafeMutants are defects of failsafe mode (safety section 10).
var failsafeMutants = []mutant{
	{"failsafe accepts with a member missing", func(*testing.T) Options {
		return Options{Profile: Failsafe, Mutant: Mutant{Event: silenceIsConsent}}
	}},
	{"failsafe promise forgotten at restart", func(t *testing.T) Options {
		return Options{Profile: Failsafe, Rules: replaced(t, map[ha.RuleID]check{"vacant.failsafe-start": passing})}
	}},
	{"failsafe promise not kept", func(t *testing.T) Options {
		return Options{Profile: Failsafe, Rules: replaced(t, map[ha.RuleID]check{"vacant.promised": passing})}
	}},
	{"failsafe authority dated from the last reply", func(*testing.T) Options { // a ttl that leaves time for such answers
		return Options{Profile: Failsafe, SlowAnswers: true, Config: failsafeConfig(0), Mutant: Mutant{Event: failsafeFromReply}}
	}},
	{"failsafe believed after a no", func(*testing.T) Options {
		return Options{Profile: Failsafe, Mutant: Mutant{Believe: noIsUnknown}}
	}},
	{"failsafe never asked", func(t *testing.T) Options {
		return Options{Profile: Failsafe, Rules: replaced(t, map[ha.RuleID]check{"pulse.failsafe": passing})}
	}},
}

// silenceIsConsent takes a member that does not answer, or refuses, for one that accepts.
func silenceIsConsent(_ time.Time, e ha.Event) ha.Event {
	x, ok := e.(ha.FailsafeAnswered)
	if !ok {
		return e
	}
	x.Answers = append([]ha.FailsafeAnswer(nil), x.Answers...)
	for i := range x.Answers {
		x.Answers[i].Accepted = true
	}
	return x
}

// failsafeFromReply dates authority by failsafe mode from the last answer.
func failsafeFromReply(now time.Time, e ha.Event) ha.Event {
	if x, ok := e.(ha.FailsafeAnswered); ok {
		x.Sent = now
		return x
	}
	return e
}

// noIsUnknown takes the store's word that the leader key is gone, or another's, for a failure of the store, so that the members are asked.
func noIsUnknown(v *ha.View, e ha.Event) ha.Event {
	if v.Lease.State != ha.LeaseHeld {
		return e
	}
	unknown := &ha.Fault{Kind: ha.FaultUnknown, Text: "mutant: the answer was not understood"}
	switch x := e.(type) {
	case ha.Renewed:
		if x.Fault.Is(ha.FaultConflict) || x.Fault.Is(ha.FaultSessionLost) {
			x.Fault = unknown
		}
		return x
	case ha.Loaded:
		if l := x.Cluster.Leader; l == nil || l.Meta.Session != v.Session.ID {
			x.Fault = unknown
		}
		return x
	case ha.Wrote:
		if x.Fault.Is(ha.FaultSessionLost) {
			x.Fault = unknown
		}
		return x
	}
	return e
}
