package consul

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tanist-ha/tanist/dcs"
)

// Backend is a dcs.Backend on Consul. It is safe for concurrent use.
type Backend struct {
	cfg   Config
	token atomic.Pointer[string]
	base  *url.URL
	http  *http.Client
	era   *era
	known *knowledge

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup // of requests and watches
}

var _ dcs.Backend = (*Backend)(nil)

var errClosed = errors.New("consul: the backend is closed")

// New prepares a backend. It sends nothing: a store that is away, or a wrong token, shows with the first request.
func New(cfg Config) (*Backend, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Backend{cfg: cfg, base: base, http: newHTTP(base, cfg.TLS), known: newKnowledge()}
	b.era = &era{logger: cfg.Logger}
	b.SetToken(cfg.Token)
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	return b, nil
}

// DeleteCommand implements dcs.Operable.
func (b *Backend) DeleteCommand(key string) string {
	return "consul kv delete " + strings.TrimPrefix(key, "/")
}

// SetToken changes the token for all requests that begin from now on.
func (b *Backend) SetToken(token string) { b.token.Store(&token) }

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
	b.http.CloseIdleConnections()
	return nil
}

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

// Read returns every key below prefix as of one moment, from a leader that has just asked the other servers whether it is the leader.
func (b *Backend) Read(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	ctx, end, err := b.begin(ctx, "read")
	if err != nil {
		return dcs.Snapshot{}, err
	}
	defer end()
	from := b.era.now()
	entries, index, err := b.list(ctx, request{op: "read", query: url.Values{"consistent": {""}}}, prefix)
	if err != nil {
		return dcs.Snapshot{}, err
	}
	version, err := b.witness(ctx, prefix, from, index)
	if err != nil {
		return dcs.Snapshot{}, err
	}
	return dcs.Snapshot{Entries: entries, Version: version, StoreID: b.era.store()}, nil
}

// Apply carries out tx.
func (b *Backend) Apply(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	ctx, end, err := b.begin(ctx, "apply")
	if err != nil {
		return dcs.Applied{}, err
	}
	defer end()
	a, err := b.apply(ctx, "apply", tx)
	if errors.Is(err, dcs.ErrSessionLost) {
		err = b.lostHere(ctx, tx, err)
	}
	return a, err
}

// lostHere looks, when a write's session is gone, whether the store is the one that granted it: a Consul that was wiped, or another one,
// knows no session of ours, and that says nothing.
func (b *Backend) lostHere(ctx context.Context, tx dcs.Txn, lost error) error {
	for _, w := range tx.Do {
		if x, ok := w.Session.(*session); ok {
			return x.stillThere(ctx, "apply", w.Key, lost)
		}
	}
	return lost
}
