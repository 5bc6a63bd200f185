package zktest_test

import (
	"context"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestEnsemble: three members serve, one of them leads, and another takes over when that one is killed.
func TestEnsemble(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	servers := zktest.Start(t, zktest.Options{Members: 3})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	leader := func() *zktest.Server {
		for _, s := range servers {
			if s.Leads(ctx) {
				return s
			}
		}
		return nil
	}
	old := leader()
	if old == nil {
		t.Fatal("nobody leads")
	}
	old.Kill()
	for leader() == nil {
		if ctx.Err() != nil {
			t.Fatal("nobody leads after the leader's death")
		}
	}
	if err := old.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if old.Leads(ctx) {
		t.Error("the former leader leads again, though another was elected")
	}
}
