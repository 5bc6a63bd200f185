package zookeeper_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestConformance holds the backend to the contract, on one real ZooKeeper behind a proxy and on three.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for sessions to end")
	}
	t.Run("one", func(t *testing.T) {
		p := proxy(t, zktest.Start(t, zktest.Options{Config: []string{"maxSessionTimeout=120000"}})[0])
		dcstest.Run(t, dcstest.Harness{
			New:    func(t testing.TB) dcs.Backend { return fresh(t, p.Addr()) },
			MinTTL: time.Second,
			Faults: &dcstest.Faults{
				Cut:       func(testing.TB) { p.Set(faultproxy.Cut) },
				Restore:   func(testing.TB) { p.Set(faultproxy.Pass) },
				DropReply: func(testing.TB) { onWrite(p, p.DropRepliesOfOpen) },
			},
		})
	})
	t.Run("three", func(t *testing.T) {
		servers := zktest.Start(t, zktest.Options{Members: 3, Config: []string{"maxSessionTimeout=120000"}})
		dcstest.Run(t, dcstest.Harness{
			New:    func(t testing.TB) dcs.Backend { return fresh(t, zktest.Addrs(servers)...) },
			MinTTL: time.Second,
		})
	})
}

// onWrite calls f, once, when a client sends a transaction that writes, before it is forwarded.
func onWrite(p *faultproxy.Proxy, f func()) {
	const multi, barrier = 14, 8 + 9 // the operation, and the length of one that writes nothing
	p.Watch(func(request []byte) {
		if len(request) >= 12 && binary.BigEndian.Uint32(request[8:]) == multi && binary.BigEndian.Uint32(request) > barrier {
			p.Watch(nil)
			f()
		}
	})
}

// fresh is a handle that the suite closes.
func fresh(t testing.TB, hosts ...string) dcs.Backend {
	t.Helper()
	b, err := zookeeper.New(zookeeper.Config{Hosts: hosts, Folder: "/tanist-test/"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
