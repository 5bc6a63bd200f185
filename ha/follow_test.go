package ha_test

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// A leader's agent may die when the promotion is done and before it could say so. Its server acknowledges until the guard ends it: a standby
// that runs does not wait for the word of the agent, but asks that server.
func TestStandbyOfALeaderWhoseAgentIsSilent(t *testing.T) {
	for _, tc := range []struct {
		since time.Duration
		rule  ha.RuleID
	}{
		{-500 * time.Millisecond, "follow.leader-unready"},
		{-1100 * time.Millisecond, "follow.lineage"},
	} {
		s := situation(t, "me a\nlocal standby lsn 0/90\nupstream none\nleader b\nmember b replica running",
			func(now time.Time, v *ha.View) { v.Rejoin.Since = now.Add(tc.since) })
		d := ha.Decide(s.Now, &s.View)
		if d.Reason.Rule != tc.rule {
			t.Errorf("%v after the leader key was seen: %s: %s", -tc.since, d.Reason.Rule, d.Reason.Text)
		}
		if tc.rule == "follow.leader-unready" && d.Next.Sub(s.Now) > 600*time.Millisecond {
			t.Errorf("it looks again only after %v", d.Next.Sub(s.Now))
		}
	}
}
