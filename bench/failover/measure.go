//go:build linux

package main

import (
	"cmp"
	"slices"
	"time"
)

// ack is one commit that a client was told of. Times count from the start of the run. The server answered at some moment
// between Sent and Got.
type ack struct {
	Writer    int
	N         int64
	Server    int // index of the node, -1: unknown (through a proxy)
	Sent, Got time.Duration
}

// health is one answer to GET /primary.
type health struct {
	Server    int
	Up        bool // 200
	Sent, Got time.Duration
}

// span is a stretch of time.
type span struct{ From, To time.Duration }

func (s span) length() time.Duration { return max(0, s.To-s.From) }

// noise is the longest silence that is nothing: half a dozen ticks of the slower writers.
const noise = 100 * time.Millisecond

// outages lists the silences between consecutive answers that are longer than atLeast, from the fault to the end.
func outages(acks []ack, fault, end, atLeast time.Duration) []span {
	got := make([]time.Duration, 0, len(acks))
	for _, a := range acks {
		got = append(got, a.Got)
	}
	slices.Sort(got)
	var found []span
	last := fault
	for _, t := range got {
		if t <= fault {
			last = t // the silence that the fault begins is counted from the last answer before it
			continue
		}
		if t > end {
			break
		}
		if t-last > atLeast {
			found = append(found, span{last, t})
		}
		last = t
	}
	if end-last > atLeast {
		found = append(found, span{last, end})
	}
	return found
}

// longest is the write outage: the longest silence.
func longest(spans []span) time.Duration {
	var most time.Duration
	for _, s := range spans {
		most = max(most, s.length())
	}
	return most
}

// activity lists when a server was certainly acknowledging: from an answer that was received to a later commit that had
// not been sent yet, without a silence of a second between.
func activity(acks []ack, server int) []span {
	own := of(acks, server)
	slices.SortFunc(own, func(a, b ack) int { return cmp.Compare(a.Got, b.Got) })
	var spans []span
	for _, a := range own {
		if n := len(spans); n > 0 && a.Got-spans[n-1].To < time.Second {
			spans[n-1].To = max(spans[n-1].To, a.Sent)
			continue
		}
		spans = append(spans, span{a.Got, a.Sent}) // empty, until a later commit proves more
	}
	return spans
}

// twoServers is the time during which two servers were certainly acknowledging.
func twoServers(acks []ack, servers int) time.Duration {
	var total time.Duration
	for i := range servers {
		for j := i + 1; j < servers; j++ {
			for _, a := range activity(acks, i) {
				for _, b := range activity(acks, j) {
					total += span{max(a.From, b.From), min(a.To, b.To)}.length()
				}
			}
		}
	}
	return total
}

// falseHealth is the time during which a node certainly answered /primary with 200 while its server acknowledged nothing
// for longer than the noise.
func falseHealth(checks []health, acks []ack, servers int, end time.Duration) time.Duration {
	var total time.Duration
	for s := range servers {
		silent := silences(acks, s, end)
		for _, up := range upSpans(checks, s) {
			for _, quiet := range silent {
				total += span{max(up.From, quiet.From), min(up.To, quiet.To)}.length()
			}
		}
	}
	return total
}

// silences of one server, from the start to the end.
func silences(acks []ack, server int, end time.Duration) []span {
	return outages(of(acks, server), 0, end, noise)
}

// upSpans lists the stretches between consecutive answers that are both 200.
func upSpans(checks []health, server int) []span {
	var spans []span
	up := false
	for _, c := range checks { // in order of time per server
		if c.Server != server {
			continue
		}
		switch {
		case c.Up && up:
			spans[len(spans)-1].To = max(spans[len(spans)-1].To, c.Sent)
		case c.Up:
			spans = append(spans, span{c.Got, c.Got})
		}
		up = c.Up
	}
	return spans
}

// lost lists the acknowledged rows that are not present at the end.
func lost(acks []ack, present map[row]bool) []ack {
	var missing []ack
	for _, a := range acks {
		if !present[row{a.Writer, a.N}] {
			missing = append(missing, a)
		}
	}
	return missing
}

// row is the identity of a written row.
type row struct {
	Writer int
	N      int64
}

// summary of some durations.
type summary struct{ Median, Min, Max time.Duration }

func summarize(all []time.Duration) summary {
	if len(all) == 0 {
		return summary{}
	}
	s := slices.Sorted(slices.Values(all))
	mid := s[len(s)/2]
	if len(s)%2 == 0 {
		mid = (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return summary{mid, s[0], s[len(s)-1]}
}
