package ha_test

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// TestMemberRides: what is new in a leader's member key is written with a renewal, a position before it would cost a request of its own; but
// not with a renewal that has failed once, or after the member key could not be written.
func TestMemberRides(t *testing.T) {
	for name, c := range map[string]struct {
		change func(now time.Time, v *ha.View)
		rides  bool
	}{
		"nothing new":  {func(now time.Time, v *ha.View) { v.Store.MemberAt = now.Add(-time.Hour) }, false},
		"a moment ago": {func(now time.Time, v *ha.View) { v.Store.Member.XLogLocation = 1 }, false},
		"50 s ago": {func(now time.Time, v *ha.View) {
			v.Store.Member.XLogLocation, v.Store.MemberAt = 1, now.Add(-50*time.Second)
		}, true},
		"another state too": {func(now time.Time, v *ha.View) {
			v.Store.Member = dcs.MemberData{}
			v.Store.MemberAt = now.Add(-time.Second)
		}, true},
		"never": {func(now time.Time, v *ha.View) { v.Store.MemberAt = time.Time{} }, true},
		"refused a moment ago": {func(now time.Time, v *ha.View) {
			v.Store.Member, v.Store.MemberFailed = dcs.MemberData{}, now.Add(-100*time.Millisecond)
		}, false},
		"after a failure": {func(now time.Time, v *ha.View) {
			v.Store.Member.XLogLocation, v.Store.MemberAt, v.Lease.RenewFailed = 1, now.Add(-50*time.Second), now.Add(-time.Second)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, "me a\nlocal primary lsn 0/100\nlease held sent -10s\nfence armed kill +19.6s", nil)
			c.change(s.Now, &s.View)
			d := ha.Decide(s.Now, &s.View)
			if len(d.Do) != 1 {
				t.Fatalf("%s: %v", d.Reason, d.Do)
			}
			if r, ok := d.Do[0].(ha.RenewKey); !ok || r.Request.Publish != c.rides {
				t.Errorf("%s: %+v", d.Reason, d.Do[0])
			}
		})
	}
}

// TestLeaderLearnsOfNewMembers: by their word in /news, or by the number that comes with a renewal; it reads at once, as they need slots.
func TestLeaderLearnsOfNewMembers(t *testing.T) {
	const text = "me a\nlocal primary\nlease held\nfence armed\nbusy store\nleader a session s1\nmember b replica running"
	for name, c := range map[string]struct {
		event  ha.Event
		urgent bool
	}{
		"another member's word": {ha.Hinted{Hint: dcs.Hint{Key: "news", Value: []byte("c"), Put: true}}, true},
		"a known one's":         {ha.Hinted{Hint: dcs.Hint{Key: "news", Value: []byte("b"), Put: true}}, false},
		"a number that differs": {ha.Renewed{ID: 9, Held: dcs.Held{Unheard: true}}, true},
		"one that does not":     {ha.Renewed{ID: 9}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := situation(t, text, nil)
			if v := ha.Fold(s.Now, s.View, c.event); v.Store.Urgent != c.urgent {
				t.Errorf("urgent: %t", v.Store.Urgent)
			}
		})
	}
}
