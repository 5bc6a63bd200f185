//go:build linux

package writers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// steady makes acks of a server: one each 10 ms, answered 2 ms after it was sent.
func steady(server int, from, to time.Duration) []Ack {
	var all []Ack
	for t := from; t < to; t += 10 * ms {
		all = append(all, Ack{Writer: server, N: int64(t), Server: server, Sent: t, Got: t + 2*ms})
	}
	return all
}

func TestOutages(t *testing.T) {
	acks := append(steady(0, 0, 1000*ms), steady(1, 1500*ms, 2000*ms)...)
	got := Outages(acks, 1000*ms, 2000*ms, Noise)
	if diff := cmp.Diff([]Span{{992 * ms, 1502 * ms}}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if got := Longest(got); got != 510*ms {
		t.Errorf("outage: %v", got)
	}
	if got := Outages(acks, 1000*ms, 3000*ms, Noise); len(got) != 2 || got[1].To != 3000*ms {
		t.Errorf("an outage that has not ended is missing: %v", got)
	}
	if got := Outages(acks, 100*ms, 900*ms, Noise); len(got) != 0 {
		t.Errorf("steady writes have outages: %v", got)
	}
}

func TestTwoServers(t *testing.T) {
	for name, tc := range map[string]struct {
		acks []Ack
		want time.Duration
	}{
		"hand-over":    {append(steady(0, 0, 1000*ms), steady(1, 1001*ms, 2000*ms)...), 0},
		"back again":   {append(append(steady(0, 0, 1000*ms), steady(1, 1010*ms, 2500*ms)...), steady(0, 2600*ms, 3000*ms)...), 0},
		"split":        {append(steady(0, 0, 2000*ms), steady(1, 1000*ms, 3000*ms)...), 988 * ms},
		"late answer":  {append(append(steady(0, 0, 1000*ms), Ack{Server: 0, Sent: 995 * ms, Got: 1900 * ms}), steady(1, 1001*ms, 2000*ms)...), 0},
		"one is alone": {steady(0, 0, 2000*ms), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := TwoServers(tc.acks, 3); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestFalseHealth(t *testing.T) {
	acks := append(steady(0, 0, 1000*ms), steady(1, 1500*ms, 2000*ms)...)
	checks := func(server int, from, to time.Duration) []Health {
		var all []Health
		for at := time.Duration(0); at < 2000*ms; at += 20 * ms {
			all = append(all, Health{server, at >= from && at < to, at, at + ms})
		}
		return all
	}
	for name, tc := range map[string]struct {
		checks []Health
		want   time.Duration
	}{
		"true":             {append(checks(0, 0, 1000*ms), checks(1, 1510*ms, 2000*ms)...), 0},
		"dead, still 200":  {checks(0, 0, 1300*ms), 288 * ms},
		"200 before ready": {checks(1, 1400*ms, 2000*ms), 101 * ms},
		"never 200":        {checks(0, 0, 0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := FalseHealth(tc.checks, acks, 3, 2000*ms); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestLost(t *testing.T) {
	acks := []Ack{{Writer: 1, N: 1}, {Writer: 1, N: 2}, {Writer: 2, N: 1}}
	missing := Lost(acks, map[Row]bool{{1, 1}: true, {2, 1}: true, {2, 2}: true})
	if len(missing) != 1 || missing[0].N != 2 {
		t.Errorf("lost: %v", missing)
	}
}

func TestSummarize(t *testing.T) {
	if got := Summarize([]time.Duration{4, 1, 2, 10}); got != (Summary{3, 1, 10}) {
		t.Errorf("even: %v", got)
	}
	if got := Summarize([]time.Duration{4, 1, 2}); got != (Summary{2, 1, 4}) {
		t.Errorf("odd: %v", got)
	}
}
