package ha

import "time"

// Authority is the right to let the local server acknowledge commits (safety section 1). The zero value is none.
type Authority struct {
	Sent time.Time     // the moment before the confirming request was first sent
	TTL  time.Duration // of the session that the leader key is bound to; by failsafe mode, what every member has promised
	// ByFailsafe says that it rests on the promises of all members of /failsafe, and not on the leader key (safety section 10).
	ByFailsafe bool `json:",omitempty"`
}

// End is when the authority is over if nothing renews it.
func (a Authority) End() time.Time { return a.Sent.Add(a.TTL) }

// Holds says whether it is in force at now.
func (a Authority) Holds(now time.Time) bool { return !a.Sent.IsZero() && now.Before(a.End()) }
