package etcd3

import (
	"log/slog"
	"strconv"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// era remembers which store answers, and how far its raft had come.
type era struct {
	logger *slog.Logger

	mu      sync.Mutex
	cluster uint64
	term    uint64
}

// accept takes the header of an answer in. A lower term from the same store is errBehind. Another store is
// accepted, loudly: what that means is for those to say who know the data.
func (e *era) accept(h *pb.ResponseHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.cluster != h.ClusterId:
		if e.cluster != 0 {
			e.logger.Warn("another etcd cluster answers", "was", storeID(e.cluster), "is", storeID(h.ClusterId))
		}
		e.cluster, e.term = h.ClusterId, h.RaftTerm
	case h.RaftTerm < e.term:
		return errBehind
	default:
		e.term = h.RaftTerm
	}
	return nil
}

// forget allows the term to go back, once: every member says so in answers that a quorum stands behind, as after a restore.
func (e *era) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logger.Warn("all of etcd went back to a lower raft term: restored from a backup?", "term was", e.term)
	e.term = 0
}

func storeID(cluster uint64) string { return strconv.FormatUint(cluster, 16) }
