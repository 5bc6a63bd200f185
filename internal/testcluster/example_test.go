//go:build linux

package testcluster_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// A cluster of three hosts loses the one that leads. (Not run with the tests of this package: the end-to-end tests do it.)
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	programs, err := testcluster.Build(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer programs.Remove()
	pgBin, err := testcluster.FindPostgres()
	if err != nil {
		log.Fatal(err)
	}
	c, err := testcluster.New(ctx, testcluster.Options{Programs: programs, PGBin: pgBin})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.StartAll(); err != nil {
		log.Fatal(err)
	}
	old, err := c.WaitHealthy(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := old.KillHost(ctx); err != nil {
		log.Fatal(err)
	}
	leader, err := c.WaitLeader(ctx, old)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(leader.Name, "leads now")
}

func ExampleSet() {
	cfg := map[string]any{"postgresql": map[string]any{"listen": "0.0.0.0:5432"}}
	testcluster.Set(cfg, "postgresql.listen", "127.0.0.1:5432")
	testcluster.Set(cfg, "postgresql.parameters.shared_buffers", "32MB")
	fmt.Println(cfg)
	// Output:
	// map[postgresql:map[listen:127.0.0.1:5432 parameters:map[shared_buffers:32MB]]]
}
