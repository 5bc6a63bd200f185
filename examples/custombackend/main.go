// Custombackend shows two nodes that agree through a store of a stranger's making: package pgstore, which keeps a cluster's keys in a PostgreSQL server.
// How to write a store of your own stands in the documentation of that package.
//
//	go run ./examples/custombackend 'postgres://user@host/database'
//
// Node a leads, dies without a word, and node b takes over when a's session has ended.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/examples/custombackend/pgstore"
)

// ttl is short, so that nobody has to wait for long: a cluster's is 20 to 30 s.
const ttl = 2 * time.Second

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: custombackend ADDRESS-OF-A-POSTGRESQL-SERVER")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], "main", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "custombackend:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dsn, scope string, out io.Writer) error {
	a, closeA, err := node(ctx, dsn, scope, "a")
	if err != nil {
		return err
	}
	b, closeB, err := node(ctx, dsn, scope, "b")
	if err != nil {
		closeA()
		return err
	}
	defer closeB()
	race := dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}}
	sent := time.Now() // authority is counted from before the request
	if _, err := a.Acquire(ctx, race); err != nil {
		closeA()
		return err
	}
	fmt.Fprintln(out, "a leads")
	if _, err := b.Acquire(ctx, race); !errors.Is(err, dcs.ErrConflict) {
		closeA()
		return fmt.Errorf("two leaders: %v", err)
	}
	fmt.Fprintln(out, "b is told no")
	closeA() // and its session is left to end
	return takeOver(ctx, b, race, sent, out)
}

// node is one node's client, and what ends it as a crash would: without a word to the store.
func node(ctx context.Context, dsn, scope, name string) (*dcs.Client, func(), error) {
	store, err := pgstore.Open(ctx, dsn)
	if err != nil {
		return nil, nil, err
	}
	c := dcs.NewClient(store, dcs.Options{Scope: scope, Name: name})
	if _, err := c.KeepAlive(ctx, dcs.KeepAlive{TTL: ttl}); err != nil {
		_ = store.Close()
		return nil, nil, err
	}
	return c, func() { _ = store.Close() }, nil
}

// takeOver waits for hints, and keeps its own session alive meanwhile; what it decides on is always read.
func takeOver(ctx context.Context, c *dcs.Client, race dcs.Acquire, sent time.Time, out io.Writer) error {
	hints, beat := c.Hints(), time.NewTicker(ttl/4)
	defer beat.Stop()
	defer c.Close(ctx)
	for {
		select {
		case <-hints:
		case <-beat.C:
			if _, err := c.KeepAlive(ctx, dcs.KeepAlive{TTL: ttl}); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		cluster, err := c.Load(ctx)
		if err != nil {
			return err
		}
		if cluster.Leader != nil {
			continue
		}
		if time.Since(sent) < ttl {
			return fmt.Errorf("a's session ended after %s", time.Since(sent))
		}
		fmt.Fprintln(out, "a's session has ended, not before its time")
		switch held, err := c.Acquire(ctx, race); {
		case err == nil:
			fmt.Fprintln(out, "b leads, for", held.TTL, "from before it asked")
			return nil
		case !errors.Is(err, dcs.ErrConflict) && !errors.Is(err, dcs.ErrUnknown):
			return err
		}
	}
}
