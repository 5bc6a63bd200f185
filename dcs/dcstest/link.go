package dcstest

import (
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/faultproxy"
)

// Fault is a state of the way between a handle and its store.
type Fault int

// The faults. Healthy ends each of them.
const (
	Healthy     Fault = iota // requests and answers pass; connections that have lost bytes are closed
	Cut                      // connections are closed, and new ones refused: the store's process is gone
	LostReplies              // requests arrive and are carried out, answers do not come back
	Silent                   // connections are kept and accepted, and nothing passes: the store's host fell silent
	Slow                     // everything arrives, late
)

func (f Fault) String() string {
	return [...]string{"healthy", "cut", "lost replies", "silent", "slow"}[f]
}

// Link disturbs the way between one handle and its store, until it is called again. It may be called from any goroutine.
type Link func(Fault)

// slowness is how late each piece of data arrives on a slow way, in each direction.
const slowness = 50 * time.Millisecond

// Proxy stands a TCP proxy before each target (host:port, or SCHEME://host:port), which ends with t, and returns where it listens, in the same
// order and with the same scheme, together with the Link that disturbs all of them. It works on bytes and suits every store that is reached over TCP, TLS included.
func Proxy(t testing.TB, targets ...string) ([]string, Link) {
	t.Helper()
	proxies, addrs := make([]*faultproxy.Proxy, len(targets)), make([]string, len(targets))
	for i, target := range targets {
		scheme, host := "", target
		if i := strings.Index(target, "://"); i >= 0 {
			scheme, host = target[:i+3], target[i+3:]
		}
		p, err := faultproxy.Listen(host)
		if err != nil {
			t.Fatalf("start a proxy before %s: %v", target, err)
		}
		t.Cleanup(func() { _ = p.Close() })
		proxies[i], addrs[i] = p, scheme+p.Addr()
	}
	return addrs, func(f Fault) {
		for _, p := range proxies {
			disturb(p, f)
		}
	}
}

func disturb(p *faultproxy.Proxy, f Fault) {
	p.SetDelay(0)
	switch f {
	case Healthy:
		p.Set(faultproxy.Pass)
	case Cut:
		p.Set(faultproxy.Cut)
	case LostReplies:
		p.Set(faultproxy.DropReplies)
	case Silent:
		p.Set(faultproxy.HalfOpen)
	case Slow:
		p.Set(faultproxy.Pass)
		p.SetDelay(slowness)
	}
}
