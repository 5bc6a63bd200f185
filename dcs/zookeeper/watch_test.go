package zookeeper_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// laden is a context that tells how many functions wait for its end.
type laden struct {
	context.Context
	waiting atomic.Int64
}

// Value hides from package context that it made the context within.
func (l *laden) Value(any) any { return nil }

// AfterFunc is what package context asks a foreign context for.
func (l *laden) AfterFunc(f func()) (stop func() bool) {
	l.waiting.Add(1)
	unhook := context.AfterFunc(l.Context, func() { l.waiting.Add(-1); f() })
	return func() bool {
		stopped := unhook()
		if stopped {
			l.waiting.Add(-1)
		}
		return stopped
	}
}

// TestLostWatchIsForgotten: the context of a watch lives as long as an agent, a connection until it breaks. What waited for the end of the context goes
// with the connection, or each reconnect would leave a dead one behind.
func TestLostWatchIsForgotten(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	s := zktest.Start(t, zktest.Options{})[0]
	p := proxy(t, s)
	b := open(t, zookeeper.Config{Hosts: []string{p.Addr()}})
	ctx := &laden{Context: within(t, limit)}
	for range 3 {
		hints, err := b.Watch(ctx, folder)
		if err != nil {
			t.Fatal(err)
		}
		if n := ctx.waiting.Load(); n != 1 {
			t.Fatalf("%d functions wait for the end of the context of one watch", n)
		}
		p.Set(faultproxy.Cut)
		p.Set(faultproxy.Pass)
		for range hints {
		}
	}
	if n := ctx.waiting.Load(); n != 0 {
		t.Errorf("%d functions wait for the end of a context whose watches are over", n)
	}
}
