package main

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/postgres/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Guard(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// TestStory runs the example on a real server.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	c := pgtest.Init(t, pgtest.BinDir(t))
	c.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.Port), "main", &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	const want = "a leads\nb is told no\na's session has ended, not before its time\nb leads, for 2s from before it asked\n"
	if out.String() != want {
		t.Fatalf("told\n%s\nwant\n%s", &out, want)
	}
}
