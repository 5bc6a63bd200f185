package etcd3

import (
	"log/slog"
	"strconv"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// era remembers which store answers, and how far it had come: the identity of its cluster, the term of its raft, its revision.
type era struct {
	logger *slog.Logger

	mu sync.Mutex
	moment
	term uint64
}

// moment is what an answer to a request that is sent now must not fall short of.
type moment struct {
	cluster  uint64
	restores int   // how often the revision went back
	revision int64 // that a linearizable answer has shown
}

// now is asked before a request is sent.
func (e *era) now() moment {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.moment
}

// hear takes the header of an answer in whose revision may be that of a member that is behind: a keepalive's. A lower term from the
// same store is errBehind. Another store is accepted, loudly: what that means is for those to say who know the data.
func (e *era) hear(h *pb.ResponseHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.accept(h)
}

// see is hear for a linearizable answer, to a request that was sent at from: its revision includes all that was shown before. One
// that does not comes from a store that was restored from a backup.
func (e *era) see(h *pb.ResponseHeader, from moment) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.accept(h); err != nil {
		return err
	}
	if from.cluster == e.cluster && from.restores == e.restores && h.Revision < from.revision {
		e.logger.Warn("etcd's revision went back: restored from a backup?", "was", from.revision, "is", h.Revision)
		e.restores++
		e.revision = 0
	}
	e.revision = max(e.revision, h.Revision)
	return nil
}

func (e *era) accept(h *pb.ResponseHeader) error {
	switch {
	case e.cluster != h.ClusterId:
		if e.cluster != 0 {
			e.logger.Warn("another etcd cluster answers", "was", e.id(), "is", strconv.FormatUint(h.ClusterId, 16))
		}
		e.cluster, e.revision, e.term = h.ClusterId, 0, h.RaftTerm
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

// store is the identity of the store that answers now: another cluster is another, and so is one that was restored.
func (e *era) store() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.id()
}

func (m moment) id() string {
	id := strconv.FormatUint(m.cluster, 16)
	if m.restores > 0 {
		id += "/" + strconv.Itoa(m.restores)
	}
	return id
}
