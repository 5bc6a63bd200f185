package consul

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/reach"
)

const (
	// hintBuffer is how many hints may wait for the reader before they are merged.
	hintBuffer = 64
	// waitFor is how long Consul holds a blocking query back when nothing changes; it adds up to a sixteenth.
	waitFor = time.Minute
	// earlyAnswer is when an answer without news comes too early.
	earlyAnswer = 200 * time.Millisecond
	// waitLimit is when such a query counts as lost.
	waitLimit = waitFor + waitFor/8 + 10*time.Second
)

// Watch follows the folder with blocking queries: each returns the whole folder as soon as something in it has changed, and the
// difference to the answer before tells which keys. The channel is closed when a query fails.
func (b *Backend) Watch(ctx context.Context, prefix string) (<-chan dcs.Hint, error) {
	ctx, end, err := b.begin(ctx, "watch")
	if err != nil {
		return nil, err
	}
	entries, index, err := b.list(ctx, request{op: "watch", query: url.Values{"consistent": {""}}}, prefix)
	if err != nil {
		end()
		return nil, err
	}
	hints := make(chan dcs.Hint, hintBuffer)
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		defer end()
		defer close(hints)
		b.follow(ctx, prefix, versionsOf(entries), index, hints)
	}()
	return hints, nil
}

// follow asks again and again, from index on, until a query fails.
func (b *Backend) follow(ctx context.Context, prefix string, was map[string]dcs.Version, index dcs.Version, hints chan dcs.Hint) {
	for {
		began := time.Now()
		query, cancel := context.WithTimeoutCause(ctx, waitLimit, reach.ErrSilent)
		q := url.Values{"index": {strconv.FormatInt(int64(index), 10)}, "wait": {waitFor.String()}}
		if c := b.cfg.Consistency; c == Stale || c == Consistent {
			q.Set(string(c), "")
		}
		entries, now, err := b.list(query, request{op: "watch", query: q, waits: true}, prefix)
		cancel()
		if err != nil {
			return
		}
		is := versionsOf(entries)
		if now < index { // Consul dropped marks of deleted keys, or another store answers
			push(hints, dcs.Hint{})
		} else if now != index {
			differences(was, is, now, hints)
		}
		if now == index && time.Since(began) < earlyAnswer {
			select { // it should have waited: a bounded pace
			case <-time.After(earlyAnswer):
			case <-ctx.Done():
			}
		}
		was, index = is, now
	}
}

func versionsOf(entries []dcs.Entry) map[string]dcs.Version {
	m := make(map[string]dcs.Version, len(entries))
	for _, e := range entries {
		m[e.Key] = e.Version
	}
	return m
}

// differences sends a hint for each key that was written or deleted. A key that came and went between two answers leaves a hint of nothing
// in particular, but in an empty folder, whose index is that of all keys.
func differences(was, is map[string]dcs.Version, now dcs.Version, hints chan dcs.Hint) {
	found := false
	for key, v := range is {
		if was[key] != v {
			push(hints, dcs.Hint{Key: key, Version: v})
			found = true
		}
	}
	for key := range was {
		if _, there := is[key]; !there {
			push(hints, dcs.Hint{Key: key, Version: now})
			found = true
		}
	}
	if !found && len(is) > 0 {
		push(hints, dcs.Hint{Version: now})
	}
}

// push never waits: when the reader is behind, hints are merged into "anything may have changed". There is one writer.
func push(hints chan dcs.Hint, h dcs.Hint) {
	for {
		select {
		case hints <- h:
			return
		default:
		}
		select {
		case old := <-hints:
			h = dcs.Hint{Version: max(old.Version, h.Version)}
		default: // the reader was faster
		}
	}
}
