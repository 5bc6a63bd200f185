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
	cluster uint64 // the store that granted it
}

var _ dcs.Session = (*session)(nil)

var (
	errNoLease    = errors.New("the lease has expired or was revoked")
	errOtherStore = errors.New("another store answers than the one that granted the session")
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
	r, err := repeat(ctx, s.backend, kind{op: op, changes: true}, checked(s.backend, keepAlive(s.lease)))
	switch {
	case err != nil:
		return nil, err
	case r.Header.ClusterId != s.cluster:
		return nil, &Error{Op: op, Class: dcs.ErrSessionLost, Err: errOtherStore}
	case r.TTL <= 0:
		return nil, &Error{Op: op, Class: dcs.ErrSessionLost, Err: errNoLease}
	}
	return r.Header, nil
}

// Confirm prolongs the lease and then applies tx, and repeats both until they were answered in one raft term. A keepalive alone
// proves little: it succeeds after the leader key was deleted, and a deposed leader of etcd answers keepalives that its successor
// never hears of. But the header of a keepalive is filled before the lease is prolonged, and a transaction that goes
// through later in that same term shows that the leader of that term was still the real one.
//
// When tx was applied and only its term did not fit, the repetition compares instead of writing: the keys that tx wrote
// must still be as it left them, the others as tx wanted them.
func (s *session) Confirm(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	ctx, end, err := s.backend.begin(ctx, "confirm")
	if err != nil {
		return dcs.Applied{}, err
	}
	defer end()
	var applied *pb.ResponseHeader // of the first time
	for {
		alive, err := s.keepAlive(ctx, "confirm")
		if err != nil {
			return dcs.Applied{}, confirmed(err, applied)
		}
		header, err := s.backend.apply(ctx, "confirm", tx)
		if err != nil {
			return dcs.Applied{}, prolonged(err)
		}
		if applied == nil {
			applied = header
			tx = again(tx, dcs.Version(header.Revision))
		}
		if header.RaftTerm == alive.RaftTerm && header.ClusterId == alive.ClusterId {
			return dcs.Applied{Version: dcs.Version(applied.Revision)}, nil
		}
	}
}

// prolonged corrects the class of an error that came after the lease was prolonged: something has happened.
func prolonged(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Class == dcs.ErrUnavailable {
		e.Class = dcs.ErrUnknown
	}
	return err
}

// confirmed is prolonged for errors before the first application.
func confirmed(err error, applied *pb.ResponseHeader) error {
	if applied == nil {
		return err
	}
	return prolonged(err)
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
