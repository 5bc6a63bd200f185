//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/internal/wire"
)

// wakeup says how soon a change of a key is known to a loop, as a line of JSON. Times are in milliseconds.
type wakeup struct {
	Store   testcluster.Kind `json:"store"`
	Changes int              `json:"changes"`
	P50     float64          `json:"wakeup_p50_ms"`
	P99     float64          `json:"wakeup_p99_ms"`
	Max     float64          `json:"wakeup_max_ms"`
	Write   float64          `json:"write_p50_ms"` // until the change was answered, to whom asked for it
}

// wakeups changes a key of a cluster that has no members, as the leader's agent reaches the store, and waits for the hints as a standby's
// agent does.
func (b *bench) wakeups(ctx context.Context, c *testcluster.Cluster) (wakeup, error) {
	w := wakeup{Store: b.kind, Changes: b.wakes}
	writer, err := backend(c.Nodes[0])
	if err != nil {
		return w, err
	}
	defer writer.Close()
	reader, err := backend(c.Nodes[1])
	if err != nil {
		return w, err
	}
	defer reader.Close()
	client := dcs.NewClient(reader, dcs.Options{Scope: nobody})
	defer client.Close(context.WithoutCancel(ctx))
	var wakes, writes []time.Duration
	for i := range b.wakes + 1 {
		wake, write, err := once(ctx, writer, client, i)
		if err != nil {
			return w, fmt.Errorf("change %d: %w", i, err)
		}
		if i > 0 { // the first makes connections
			wakes, writes = append(wakes, wake), append(writes, write)
		}
	}
	slices.Sort(wakes)
	slices.Sort(writes)
	w.P50, w.P99, w.Max, w.Write = at(wakes, 0.5), at(wakes, 0.99), at(wakes, 1), at(writes, 0.5)
	return w, nil
}

// nobody is the scope of the cluster without members.
const nobody = "wakeups"

// backend reaches the store as the node's agent does, for the keys of that cluster.
func backend(n *testcluster.Node) (dcs.Backend, error) {
	cfg, _, err := config.Load(config.Options{Path: n.ConfigFile})
	if err != nil {
		return nil, err
	}
	cfg.Scope = nobody
	return wire.Backend(cfg, nil)
}

// once makes one change, at a random moment of a loop of the store's own.
func once(ctx context.Context, writer dcs.Backend, reader *dcs.Client, i int) (wake, write time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("a minute"))
	defer cancel()
	if i == 0 { // the watch is there
		select {
		case <-reader.Hints():
		case <-ctx.Done():
			return 0, 0, fmt.Errorf("wait for the watch: %w", context.Cause(ctx))
		}
	}
	if err := pause(ctx, 5*time.Millisecond+rand.N(20*time.Millisecond)); err != nil {
		return 0, 0, err
	}
	for len(reader.Hints()) > 0 { // more than one hint for the last change
		<-reader.Hints()
	}
	woken := make(chan time.Time, 1)
	go func() {
		select {
		case <-reader.Hints():
			woken <- time.Now()
		case <-ctx.Done():
		}
	}()
	began := time.Now()
	if _, err := writer.Apply(ctx, dcs.Txn{Do: []dcs.Write{{Key: reader.Prefix() + "config", Value: fmt.Append(nil, i)}}}); err != nil {
		return 0, 0, err
	}
	write = time.Since(began)
	select {
	case at := <-woken:
		return at.Sub(began), write, nil
	case <-ctx.Done():
		return 0, 0, fmt.Errorf("wait for the hint: %w", context.Cause(ctx))
	}
}

// at is the quantile q of sorted durations, in milliseconds.
func at(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i]) / float64(time.Millisecond)
}
