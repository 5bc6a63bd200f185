package bootclock

import "time"

// Skew is how far the machine's wall clock is ahead of Now: zero until somebody sets it, slewed by time synchronisation, and moved at once by
// an operator or by a hypervisor that has frozen the machine. ha.Node tells of its jumps.
func (c *Clock) Skew() time.Duration { return time.Now().Round(0).Sub(c.Now()) }
