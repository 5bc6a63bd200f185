package etcd3

import (
	"context"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// versions is what is known of the versions of the servers: each endpoint that is in use when etcd's members are looked at is asked once.
type versions struct {
	mu     sync.Mutex
	asked  map[*endpoint]bool
	warned bool
}

// lookAtVersion asks the endpoint in use for its version, and warns, once, of one whose leases may end early.
func (b *Backend) lookAtVersion(ctx context.Context) {
	ep := b.pool.current()
	if ep == nil || !b.versions.due(ep) {
		return
	}
	got := try(ctx, b.login, ep, unary(pb.NewMaintenanceClient, pb.MaintenanceClient.Status, &pb.StatusRequest{}))
	if got.err != nil {
		b.pool.logger.Debug("etcd's version was not learned", "endpoint", ep.name, "error", got.err)
		return
	}
	if version := got.answer.Version; revokesWhenDeposed(version) && b.versions.first() {
		b.pool.logger.Warn("this etcd may end sessions before their time, when the disk of its leader hangs",
			"endpoint", ep.name, "version", version, "hint", "use etcd 3.4.31, 3.5.13 or newer on all its servers (etcd's issue 15247)")
	}
}

func (v *versions) due(ep *endpoint) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.warned || v.asked[ep] {
		return false
	}
	if v.asked == nil {
		v.asked = map[*endpoint]bool{}
	}
	v.asked[ep] = true
	return true
}

func (v *versions) first() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was := v.warned
	v.warned = true
	return !was
}

// revokesWhenDeposed says of a version of etcd that a leader that was deposed while its disk hung may revoke leases that its successor has renewed.
// Cured in 3.4.31, 3.5.13 and 3.6 (https://github.com/etcd-io/etcd/issues/15247). A version that cannot be read is trusted.
func revokesWhenDeposed(version string) bool {
	var major, minor, patch int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); n < 3 {
		return false
	}
	switch {
	case major != 3 || minor > 5:
		return false
	case minor == 5:
		return patch < 13
	case minor == 4:
		return patch < 31
	}
	return true
}
