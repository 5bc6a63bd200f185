package etcd3_test

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// TestConformance holds the backend to the contract, on one real etcd of the distribution and on three, and on one of version 3.6, each
// behind proxies.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	for name, o := range map[string]etcdtest.Options{"one": {}, "three": {Members: 3}, "3.6": {Tool: "etcd36"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoints := etcdtest.Endpoints(etcdtest.Start(t, o))
			dcstest.Run(t, dcstest.Harness{
				New:         func(t testing.TB) dcs.Backend { return fresh(t, endpoints...) },
				Linked:      func(t testing.TB) (dcs.Backend, dcstest.Link) { return linked(t, endpoints) },
				Complete:    true,
				MinTTL:      2 * time.Second,
				NoLeakCheck: true, // runs side by side; TestMain checks when all have ended
			})
		})
	}
}

// linked is a handle with proxies of its own before the servers.
func linked(t testing.TB, endpoints []string) (dcs.Backend, dcstest.Link) {
	t.Helper()
	addrs, link := dcstest.Proxy(t, endpoints...)
	return fresh(t, addrs...), link
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
