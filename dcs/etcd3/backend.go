package etcd3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/tanist-ha/tanist/dcs"
)

// Backend is a dcs.Backend on etcd v3. It is safe for concurrent use.
type Backend struct {
	pool  *pool
	login *login
	era   *era

	members  members
	versions versions

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup // of requests and watches
}

var _ dcs.Backend = (*Backend)(nil)

var errClosed = errors.New("etcd: the backend is closed")

// New prepares a backend. It sends nothing: a store that is away, or a wrong password, shows with the first request.
func New(cfg Config) (*Backend, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := newPool(cfg)
	if err != nil {
		return nil, fmt.Errorf("etcd: prepare connections: %w", err)
	}
	b := &Backend{pool: p, login: newLogin(cfg.Username, cfg.Password), era: &era{logger: cfg.Logger}}
	b.members.follow = cfg.FollowMembers
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	return b, nil
}

// DeleteCommand implements dcs.Operable.
func (b *Backend) DeleteCommand(key string) string { return "etcdctl del " + key }

// Close ends all requests and watches and closes the connections. Sessions are left to expire.
func (b *Backend) Close() error {
	b.mu.Lock()
	was := b.closed
	b.closed = true
	b.mu.Unlock()
	if was {
		return nil
	}
	b.cancel(errClosed)
	b.wg.Wait()
	return b.pool.close()
}

// SetCredentials changes user and password for all requests that begin from now on.
func (b *Backend) SetCredentials(user, password string) { b.login.change(user, password) }

// begin starts a request: its context ends with the caller's and with the backend. Each begin needs its end.
func (b *Backend) begin(ctx context.Context, op string) (context.Context, func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, &dcs.StoreError{Store: storeName, Op: op, Class: dcs.ErrUnavailable, Err: errClosed}
	}
	b.wg.Add(1)
	joined, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(b.ctx, func() { cancel(errClosed) })
	return joined, func() {
		detach()
		cancel(nil)
		b.wg.Done()
	}, nil
}

// Read returns every key below prefix as of one moment.
func (b *Backend) Read(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	ctx, end, err := b.begin(ctx, "read")
	if err != nil {
		return dcs.Snapshot{}, err
	}
	defer end()
	first, last := wholePrefix(prefix)
	get := seen(b, unary(pb.NewKVClient, pb.KVClient.Range, &pb.RangeRequest{Key: first, RangeEnd: last}))
	r, err := repeat(ctx, b, kind{op: "read", linearizable: true}, get)
	if err != nil {
		return dcs.Snapshot{}, err
	}
	return dcs.Snapshot{Entries: decodeEntries(r.Kvs), Version: dcs.Version(r.Header.Revision), StoreID: b.era.store()}, nil
}

// Apply carries out tx. With writes it is sent once.
func (b *Backend) Apply(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	ctx, end, err := b.begin(ctx, "apply")
	if err != nil {
		return dcs.Applied{}, err
	}
	defer end()
	r, err := b.apply(ctx, "apply", tx)
	if errors.Is(err, dcs.ErrSessionLost) {
		err = b.lostHere(ctx, tx, err)
	}
	if err != nil {
		return dcs.Applied{}, err
	}
	if !r.Succeeded {
		return dcs.Applied{}, &dcs.StoreError{Store: storeName, Op: "apply", Class: dcs.ErrConflict}
	}
	return applied(tx, r), nil
}

// lostHere looks, when a write's lease is gone, whether the store is the one that granted it: an etcd that was wiped, or another one, knows no
// lease of ours, and that says nothing.
func (b *Backend) lostHere(ctx context.Context, tx dcs.Txn, lost error) error {
	for _, w := range tx.Do {
		if x, ok := w.Session.(*session); ok {
			return x.stillThere(ctx, lost)
		}
	}
	return lost
}

// apply is Apply inside a request, without a judgement of the answer.
func (b *Backend) apply(ctx context.Context, op string, tx dcs.Txn) (*pb.TxnResponse, error) {
	request, err := encodeTxn(tx)
	if err != nil {
		return nil, fmt.Errorf("etcd %s: %w", op, err)
	}
	send := unary(pb.NewKVClient, pb.KVClient.Txn, request)
	if len(tx.Do) == 0 {
		return repeat(ctx, b, kind{op: op, linearizable: true}, seen(b, send))
	}
	from := b.era.now()
	r, err := once(ctx, b, kind{op: op, changes: true}, send)
	if err != nil {
		return nil, err
	}
	_ = b.era.see(r.Header, from) // what is applied is applied, whoever tells it
	return r, nil
}

// OpenSession grants a lease. etcd counts in whole seconds: a fraction is rounded up. It may grant more than asked for.
func (b *Backend) OpenSession(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("etcd open session: a ttl of %s", ttl)
	}
	ctx, end, err := b.begin(ctx, "open session")
	if err != nil {
		return nil, err
	}
	defer end()
	seconds := int64((ttl + time.Second - 1) / time.Second)
	grant := seen(b, unary(pb.NewLeaseClient, pb.LeaseClient.LeaseGrant, &pb.LeaseGrantRequest{TTL: seconds}))
	r, err := repeat(ctx, b, kind{op: "open session", changes: true, linearizable: true}, grant)
	if err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, &dcs.StoreError{Store: storeName, Op: "open session", Class: dcs.ErrUnavailable, Err: errors.New(r.Error)}
	}
	x := &session{backend: b, lease: r.ID, ttl: time.Duration(r.TTL) * time.Second, store: b.era.store()}
	b.followMembers(x.ttl)
	return x, nil
}

// headed is every answer of etcd.
type headed interface{ GetHeader() *pb.ResponseHeader }

// heard makes an answer from a member that is behind an error.
func heard[T headed](b *Backend, c call[T]) call[T] {
	return func(ctx context.Context, conn *grpc.ClientConn) (T, bool, error) {
		answer, sent, err := c(ctx, conn)
		if err == nil {
			err = b.era.hear(answer.GetHeader())
		}
		return answer, sent, err
	}
}

// seen is heard for linearizable requests.
func seen[T headed](b *Backend, c call[T]) call[T] {
	return func(ctx context.Context, conn *grpc.ClientConn) (T, bool, error) {
		from := b.era.now()
		answer, sent, err := c(ctx, conn)
		if err == nil {
			err = b.era.see(answer.GetHeader(), from)
		}
		return answer, sent, err
	}
}
