package ha

import "time"

// Budget divides one term of authority (safety section 4). Rules demote in order at Rule; the fence sends SIGINT at
// Fast, SIGQUIT at Quit, and kills at Kill; nothing may acknowledge after End.
type Budget struct {
	Rule, Fast, Quit, Kill, End time.Time
	Stop                        time.Duration // what a stop may take
	Period                      time.Duration // between two renewals
}

// NewBudget computes the budget of a. At ttl 30 s, Rule is 25.6 s after a.Sent, Kill 29.6 s.
func NewBudget(a Authority, loopWait time.Duration) Budget {
	window := a.TTL
	stop := min(max(window/10, 300*time.Millisecond), 3*time.Second)
	drift := window/100 + 100*time.Millisecond
	b := Budget{End: a.Sent.Add(window), Stop: stop}
	b.Kill = b.End.Add(-drift)
	b.Quit = b.Kill.Add(-stop / 3)
	b.Fast = b.Kill.Add(-stop)
	b.Rule = b.Fast.Add(-stop / 3)
	b.Period = min(loopWait, b.Rule.Sub(a.Sent)*2/5)
	return b
}

// Order is what the fence is told of b.
func (b Budget) Order() FenceOrder { return FenceOrder{Fast: b.Fast, Quit: b.Quit, Kill: b.Kill} }
