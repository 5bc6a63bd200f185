//go:build linux

package writers

import (
	"cmp"
	"slices"
	"time"
)

// Ack is one commit that a client was told of. Times count from the start of the run. The server answered at some moment
// between Sent and Got.
type Ack struct {
	Writer    int
	N         int64
	Server    int // index of the node, -1: unknown (through a proxy)
	Sent, Got time.Duration
}

// Health is one answer to GET /primary.
type Health struct {
	Server    int
	Up        bool // 200
	Sent, Got time.Duration
}

// Span is a stretch of time.
type Span struct{ From, To time.Duration }

func (s Span) Length() time.Duration { return max(0, s.To-s.From) }

// Noise is the longest silence that is nothing: half a dozen ticks of the slower writers.
const Noise = 100 * time.Millisecond

// Outages lists the silences between consecutive answers that are longer than atLeast, from the fault to the end.
func Outages(acks []Ack, fault, end, atLeast time.Duration) []Span {
	got := make([]time.Duration, 0, len(acks))
	for _, a := range acks {
		got = append(got, a.Got)
	}
	slices.Sort(got)
	var found []Span
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
			found = append(found, Span{last, t})
		}
		last = t
	}
	if end-last > atLeast {
		found = append(found, Span{last, end})
	}
	return found
}

// Longest is the write outage: the longest silence.
func Longest(spans []Span) time.Duration {
	var most time.Duration
	for _, s := range spans {
		most = max(most, s.Length())
	}
	return most
}

// activity lists when a server was certainly acknowledging: from an answer that was received to a later commit that had
// not been sent yet, without a silence of a second between.
func activity(acks []Ack, server int) []Span {
	own := Of(acks, server)
	slices.SortFunc(own, func(a, b Ack) int { return cmp.Compare(a.Got, b.Got) })
	var spans []Span
	for _, a := range own {
		if n := len(spans); n > 0 && a.Got-spans[n-1].To < time.Second {
			spans[n-1].To = max(spans[n-1].To, a.Sent)
			continue
		}
		spans = append(spans, Span{a.Got, a.Sent}) // empty, until a later commit proves more
	}
	return spans
}

// TwoServers is the time during which two servers were certainly acknowledging.
func TwoServers(acks []Ack, servers int) time.Duration {
	var total time.Duration
	for i := range servers {
		for j := i + 1; j < servers; j++ {
			for _, a := range activity(acks, i) {
				for _, b := range activity(acks, j) {
					total += Span{max(a.From, b.From), min(a.To, b.To)}.Length()
				}
			}
		}
	}
	return total
}

// FalseHealth is the time during which a node certainly answered /primary with 200 while its server acknowledged nothing
// for longer than the Noise.
func FalseHealth(checks []Health, acks []Ack, servers int, end time.Duration) time.Duration {
	var total time.Duration
	for s := range servers {
		silent := silences(acks, s, end)
		for _, up := range upSpans(checks, s) {
			for _, quiet := range silent {
				total += Span{max(up.From, quiet.From), min(up.To, quiet.To)}.Length()
			}
		}
	}
	return total
}

// silences of one server, from the start to the end.
func silences(acks []Ack, server int, end time.Duration) []Span {
	return Outages(Of(acks, server), 0, end, Noise)
}

// upSpans lists the stretches between consecutive answers that are both 200.
func upSpans(checks []Health, server int) []Span {
	var spans []Span
	up := false
	for _, c := range checks { // in order of time per server
		if c.Server != server {
			continue
		}
		switch {
		case c.Up && up:
			spans[len(spans)-1].To = max(spans[len(spans)-1].To, c.Sent)
		case c.Up:
			spans = append(spans, Span{c.Got, c.Got})
		}
		up = c.Up
	}
	return spans
}

// Lost lists the acknowledged rows that are not present at the end.
func Lost(acks []Ack, present map[Row]bool) []Ack {
	var missing []Ack
	for _, a := range acks {
		if !present[Row{a.Writer, a.N}] {
			missing = append(missing, a)
		}
	}
	return missing
}

// Row is the identity of a written row.
type Row struct {
	Writer int
	N      int64
}

// Summary of some durations.
type Summary struct{ Median, Min, Max time.Duration }

func Summarize(all []time.Duration) Summary {
	if len(all) == 0 {
		return Summary{}
	}
	s := slices.Sorted(slices.Values(all))
	mid := s[len(s)/2]
	if len(s)%2 == 0 {
		mid = (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return Summary{mid, s[0], s[len(s)-1]}
}

// Of lists what one server acknowledged.
func Of(acks []Ack, server int) []Ack {
	var own []Ack
	for _, a := range acks {
		if a.Server == server {
			own = append(own, a)
		}
	}
	return own
}
