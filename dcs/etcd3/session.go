package etcd3

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/tanist-ha/tanist/dcs"
)

// session is a lease of etcd.
type session struct {
	backend *Backend
	lease   int64
	ttl     time.Duration
	store   string // that granted it
}

var _ dcs.Session = (*session)(nil)

var (
	errNoLease    = errors.New("the lease has expired or was revoked")
	errOtherStore = errors.New("another store answers than the one that granted the session")
	// errChangedAfter: what Confirm wrote went through, and did not stay.
	errChangedAfter = errors.New("etcd's leader changed meanwhile, and so did the keys")
)

// ID is the lease id in hexadecimal.
func (s *session) ID() string { return formatSession(s.lease) }

// TTL is what etcd granted.
func (s *session) TTL() time.Duration { return s.ttl }

// KeepAlive prolongs the lease once. The version is the one of the member that was asked: a lower bound of the store's.
func (s *session) KeepAlive(ctx context.Context) (dcs.Version, error) {
	ctx, end, err := s.backend.begin(ctx, "keepalive")
	if err != nil {
		return 0, err
	}
	defer end()
	h, err := s.keepAlive(ctx, "keepalive")
	if err != nil {
		return 0, err
	}
	return dcs.Version(h.Revision), nil
}

func (s *session) keepAlive(ctx context.Context, op string) (*pb.ResponseHeader, error) {
	r, err := repeat(ctx, s.backend, kind{op: op, changes: true}, heard(s.backend, keepAlive(s.lease)))
	switch {
	case err != nil:
		return nil, err
	case s.backend.era.store() != s.store:
		return nil, &dcs.StoreError{Store: storeName, Op: op, Class: dcs.ErrSessionLost, Err: errOtherStore}
	case r.TTL <= 0:
		return nil, &dcs.StoreError{Store: storeName, Op: op, Class: dcs.ErrSessionLost, Err: errNoLease}
	}
	s.backend.followMembers(s.ttl)
	return r.Header, nil
}

// Confirm prolongs the lease and then applies tx, and repeats both until they were answered in one raft term. A keepalive alone
// proves little: it succeeds after the leader key was deleted, and a deposed leader of etcd answers keepalives that its successor
// never hears of. But the header of a keepalive is filled before the lease is prolonged, and a transaction that goes
// through later in that same term shows that the leader of that term was still the real one.
//
// When tx was applied and only its term did not fit, the repetition compares instead of writing: the keys that tx wrote
// must still be as it left them, the others as tx wanted them. If they are not, that is no conflict, which says that nothing was written:
// dcs.ErrUnknown, and the next confirmation tells.
//
// When another store answers than the one that granted the session, or that one after it was restored, what is missing there says nothing
// about the key: dcs.ErrUnknown.
func (s *session) Confirm(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	ctx, end, err := s.backend.begin(ctx, "confirm")
	if err != nil {
		return dcs.Applied{}, err
	}
	defer end()
	var first *dcs.Applied
	for {
		alive, err := s.keepAlive(ctx, "confirm")
		if errors.Is(err, errNoLease) {
			err = s.stillThere(ctx, err)
		}
		if err != nil {
			return dcs.Applied{}, unknownAfter(first != nil, err)
		}
		r, err := s.backend.apply(ctx, "confirm", tx)
		switch {
		case err != nil:
			return dcs.Applied{}, unknownAfter(true, err) // the lease was prolonged
		case s.backend.era.store() != s.store:
			return dcs.Applied{}, &dcs.StoreError{Store: storeName, Op: "confirm", Class: dcs.ErrUnknown, Err: errOtherStore}
		case !r.Succeeded && first != nil:
			return dcs.Applied{}, &dcs.StoreError{Store: storeName, Op: "confirm", Class: dcs.ErrUnknown, Err: errChangedAfter}
		case !r.Succeeded:
			return dcs.Applied{}, &dcs.StoreError{Store: storeName, Op: "confirm", Class: dcs.ErrConflict}
		}
		if first == nil {
			a := applied(tx, r)
			first, tx = &a, again(tx, a.Version)
		}
		if r.Header.RaftTerm == alive.RaftTerm {
			return *first, nil
		}
	}
}

// stillThere looks, when the lease is gone, whether the store is the one that granted it: a keepalive's answer does not show that.
func (s *session) stillThere(ctx context.Context, gone error) error {
	if _, err := s.backend.apply(ctx, "compare", dcs.Txn{}); err != nil {
		return unknownAfter(true, err)
	}
	if s.backend.era.store() != s.store {
		return &dcs.StoreError{Store: storeName, Op: "compare", Class: dcs.ErrUnknown, Err: errOtherStore}
	}
	return gone
}

// unknownAfter corrects the class of the error that a confirmation ends with: after its first part something has happened, and
// another store's word about the session is none about the key.
func unknownAfter(somethingHappened bool, err error) error {
	var e *dcs.StoreError
	if errors.As(err, &e) && (somethingHappened && e.Class == dcs.ErrUnavailable || errors.Is(e.Err, errOtherStore)) {
		e.Class = dcs.ErrUnknown
	}
	return err
}

// Close revokes the lease, and with it its keys. A lease that is gone already is as good.
func (s *session) Close(ctx context.Context) error {
	ctx, end, err := s.backend.begin(ctx, "close session")
	if err != nil {
		return err
	}
	defer end()
	revoke := unary(pb.NewLeaseClient, pb.LeaseClient.LeaseRevoke, &pb.LeaseRevokeRequest{ID: s.lease})
	_, err = repeat(ctx, s.backend, kind{op: "close session", changes: true}, revoke)
	if errors.Is(err, dcs.ErrSessionLost) {
		return nil
	}
	return err
}
