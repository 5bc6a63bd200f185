package etcd3_test

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/faultproxy"
)

// TestConformance holds the backend to the contract, on one real etcd behind a proxy and on three.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	t.Run("one", func(t *testing.T) {
		p := proxy(t, etcdtest.Start(t, etcdtest.Options{})[0])
		dcstest.Run(t, dcstest.Harness{
			New:    func(t testing.TB) dcs.Backend { return fresh(t, "http://"+p.Addr()) },
			MinTTL: 2 * time.Second,
			Faults: &dcstest.Faults{
				Cut:       func(testing.TB) { p.Set(faultproxy.Cut) },
				Restore:   func(testing.TB) { p.Set(faultproxy.Pass) },
				DropReply: func(testing.TB) { p.DropRepliesOfOpen() },
			},
		})
	})
	t.Run("three", func(t *testing.T) {
		servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
		dcstest.Run(t, dcstest.Harness{
			New:    func(t testing.TB) dcs.Backend { return fresh(t, etcdtest.Endpoints(servers)...) },
			MinTTL: 2 * time.Second,
		})
	})
}

// fresh is a handle that the suite closes.
func fresh(t testing.TB, endpoints ...string) dcs.Backend {
	t.Helper()
	b, err := etcd3.New(etcd3.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
