package etcd3

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
)

func TestRevokesWhenDeposed(t *testing.T) {
	for version, want := range map[string]bool{
		"3.3.27": true, "3.4.23": true, "3.4.30": true, "3.4.31": false, "3.4.42": false, "3.5.0-rc.1": true, "3.5.12": true, "3.5.13": false, "3.5.16+ds1": false,
		"3.6.0": false, "3.7.0-alpha.0": false, "4.0.0": false, "": false, "not provided": false, "3.4": false,
	} {
		if got := revokesWhenDeposed(version); got != want {
			t.Errorf("%q: %t", version, got)
		}
	}
}

// TestOldVersionIsSaid: a server whose leases may end early (Debian 12's is one) is warned of once, with a way out, and a newer one is not. Either is
// asked once.
func TestOldVersionIsSaid(t *testing.T) {
	servertest.Slow(t)
	for name, c := range map[string]struct {
		tool string
		says []string // the warning; nil: none
	}{
		"3.4.23": {"", []string{"end sessions before their time", "endpoint=http://127.0.0.1:", "version=3.4.23", "use etcd 3.4.31, 3.5.13 or newer"}},
		"3.6":    {"etcd36", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := etcdtest.Start(t, etcdtest.Options{Tool: c.tool})[0]
			var log servertest.Log
			b, err := New(Config{Endpoints: []string{server.Endpoint}, FollowMembers: true, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			x, err := b.OpenSession(ctx, 30*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			asked := func() int {
				n, err := server.Handled(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return n["Status"]
			}
			for asked() == 0 {
				<-time.After(20 * time.Millisecond)
			}
			if _, err := x.KeepAlive(ctx); err != nil {
				t.Fatal(err)
			}
			b.lookAtVersion(ctx)
			if n := asked(); n != 1 {
				t.Errorf("asked %d times", n)
			}
			if err := b.Close(); err != nil { // waits for what goes on
				t.Fatal(err)
			}
			said := log.String()
			if n := strings.Count(said, "\n"); n != min(len(c.says), 1) {
				t.Errorf("%d warnings:\n%s", n, said)
			}
			for _, text := range c.says {
				if !strings.Contains(said, text) {
					t.Errorf("%q is not said:\n%s", text, said)
				}
			}
		})
	}
}
