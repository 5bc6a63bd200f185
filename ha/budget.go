package ha

import (
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

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

// paced lets renewals follow each other as the store of our session wants it: no later than it asks for, and with room for two of them before
// Rule where each takes its time by nature; but other requests have to come between them (touches seed 29: under a watchdog that left half of the ttl
// a leader did nothing but renew).
func (b Budget) paced(a Authority, p dcs.Pace) Budget {
	if p.Every > 0 {
		b.Period = min(b.Period, p.Every)
	}
	if p.Takes > 0 {
		b.Period = min(b.Period, max(b.Rule.Sub(a.Sent)-2*(attempt(p)+retry), attempt(p)))
	}
	return b
}

// attempt is what a renewal must be given to succeed: what it takes by nature, and a quarter more for the ways to the store and back.
func attempt(p dcs.Pace) time.Duration { return p.Takes + p.Takes/4 }

// Order is what the fence is told of b.
func (b Budget) Order() FenceOrder { return FenceOrder{Fast: b.Fast, Quit: b.Quit, Kill: b.Kill} }
