package pgstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/examples/custombackend/pgstore"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

func TestMain(m *testing.M) {
	pgtest.Guard(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// TestConformance holds this store to the contract: this is all that a new backend's test needs.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL and waits for sessions to end")
	}
	addr := startServer(t)
	dcstest.Run(t, dcstest.Harness{
		New: func(t testing.TB) dcs.Backend { return open(t, addr) },
		Linked: func(t testing.TB) (dcs.Backend, dcstest.Link) {
			addrs, link := dcstest.Proxy(t, addr)
			return open(t, addrs[0]), link
		},
		Complete: true,
		MinTTL:   time.Second,
	})
}

// TestLayout holds the keys of a cluster to Patroni's: names and values pass through this store unchanged.
func TestLayout(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	b := open(t, startServer(t))
	defer b.Close()
	dcstest.Layout(t, b, nil, func(t testing.TB, folder string) map[string]dcstest.Stored {
		s, err := b.Read(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]dcstest.Stored{}
		for _, e := range s.Entries {
			all[e.Key] = dcstest.Stored{Value: string(e.Value), Bound: e.Session != ""}
		}
		return all
	})
}

func startServer(t *testing.T) (addr string) {
	t.Helper()
	c := pgtest.Init(t, pgtest.BinDir(t))
	c.Configure(t, "max_connections = 300")
	c.Start(t)
	return fmt.Sprintf("127.0.0.1:%d", c.Port)
}

func open(t testing.TB, addr string) *pgstore.Backend {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := pgstore.Open(ctx, "postgres://postgres@"+addr+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	return b
}
