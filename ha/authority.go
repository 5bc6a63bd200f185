package ha

import "time"

// Authority is the right to let the local server acknowledge commits (safety section 1). The zero value is none.
type Authority struct {
	Sent time.Time     // the moment before the confirming request was first sent
	TTL  time.Duration // of the session that the leader key is bound to
}

// End is when the authority is over if nothing renews it.
func (a Authority) End() time.Time { return a.Sent.Add(a.TTL) }

// Holds says whether it is in force at now.
func (a Authority) Holds(now time.Time) bool { return !a.Sent.IsZero() && now.Before(a.End()) }
