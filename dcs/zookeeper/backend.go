package zookeeper

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// guardName is the node in the folder by which transactions guard each other. Patroni passes over names that it does not know.
const guardName = "tanist-guard"

// baseTimeout is asked for the session that reads, watches, and writes without a session of the caller go over.
const baseTimeout = 30 * time.Second

// Backend is a dcs.Backend on ZooKeeper. It is safe for concurrent use.
type Backend struct {
	cfg   Config
	pool  *pool
	era   *era
	base  *link
	root  string // topmost node of the folder
	guard string

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup // of requests, watches and beats
	links  map[*link]struct{}
	shapes map[string]shape
	tick   time.Duration // as a server has told it; 0: not yet
}

// shape is what was below a folder when it was read last.
type shape struct{ nodes, folders []string }

var _ dcs.Backend = (*Backend)(nil)

// New prepares a backend. It sends nothing: a store that is away, or a wrong password, shows with the first request.
func New(cfg Config) (*Backend, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.ACL) == 0 {
		cfg.ACL = everybody
	}
	folder := folderOf(cfg.Folder)
	top, _, _ := strings.Cut(folder[1:], "/")
	b := &Backend{
		cfg: cfg, pool: newPool(cfg), era: &era{logger: cfg.Logger}, root: "/" + top, guard: path.Join(folder, guardName),
		links: map[*link]struct{}{}, shapes: map[string]shape{},
	}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	b.base = b.link(baseTimeout, true)
	return b, nil
}

// link makes a link that ends with the backend.
func (b *Backend) link(ask time.Duration, keyless bool) *link {
	l := newLink(b, ask, keyless)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links[l] = struct{}{}
	return l
}

func (b *Backend) forget(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, l)
}

// silent ends all connections to a server that has left a request without an answer.
func (b *Backend) silent(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.links {
		if c, _ := l.current(); c != nil && c.server == server {
			_ = c.net.Close() // its reader notices
		}
	}
}

// DeleteCommand implements dcs.Operable.
func (b *Backend) DeleteCommand(key string) string { return "zkCli.sh deleteall " + key }

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
	if c, _ := b.base.current(); c != nil { // nothing lives with its session: the server need not keep it
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, _, _ = c.do(ctx, request{op: opCloseSession})
		cancel()
	}
	b.mu.Lock()
	links := b.links
	b.links = map[*link]struct{}{}
	b.mu.Unlock()
	for l := range links {
		l.shut(errClosed)
	}
	b.wg.Wait()
	return nil
}

// begin starts a request: its context ends with the caller's and with the backend. Each begin needs its end.
func (b *Backend) begin(ctx context.Context, op string) (context.Context, func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, failed(op, "", dcs.ErrUnavailable, errClosed)
	}
	if ctx.Err() != nil {
		return nil, nil, failed(op, "", dcs.ErrUnavailable, context.Cause(ctx))
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

func (b *Backend) guess(dir string) (nodes, folders []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.shapes[dir]; ok {
		return s.nodes, s.folders
	}
	return nil, []string{dir}
}

func (b *Backend) remember(dir string, nodes, folders []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shapes[dir] = shape{nodes, folders}
}

// Read returns every key below prefix as of one moment.
func (b *Backend) Read(ctx context.Context, prefix string) (dcs.Snapshot, error) {
	dir, err := dirOf(prefix)
	if err != nil {
		return dcs.Snapshot{}, err
	}
	ctx, end, err := b.begin(ctx, "read")
	if err != nil {
		return dcs.Snapshot{}, err
	}
	defer end()
	v, err := repeat(ctx, b.base, "read", dcs.ErrUnavailable, func(ctx context.Context, c *conn) (*view, error) { return b.tree(ctx, c, dir) })
	if err != nil {
		return dcs.Snapshot{}, err
	}
	return dcs.Snapshot{Entries: v.entries(prefix, b.guard), Version: dcs.Version(v.zxid), StoreID: b.era.store()}, nil
}

// dirOf is the node below which all keys with prefix lie.
func dirOf(prefix string) (string, error) {
	i := strings.LastIndexByte(prefix, '/')
	if i < 0 || prefix[0] != '/' {
		return "", fmt.Errorf("zookeeper: prefix %q does not begin with a slash", prefix)
	}
	return path.Clean(prefix[:i+1]), nil
}

// OpenSession opens a session. ZooKeeper grants between 2 and 20 ticks, unless it is set up otherwise; less than 5 are raised to 5, as a proof that
// the session lives takes more than one (see the package comment).
func (b *Backend) OpenSession(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("zookeeper open session: a ttl of %s", ttl)
	}
	ctx, end, err := b.begin(ctx, "open session")
	if err != nil {
		return nil, err
	}
	defer end()
	tick, err := b.tickTime(ctx)
	if err != nil {
		return nil, failed("open session", "", dcs.ErrUnavailable, err)
	}
	s := &session{backend: b, tick: tick, link: b.link(max(ttl, minTicks*tick), false), proof: proof{clock: b.cfg.Now, tick: tick}}
	opening := b.cfg.Now()
	_, err = repeat(ctx, s.link, "open session", dcs.ErrUnavailable, func(ctx context.Context, c *conn) (*view, error) {
		return b.look(ctx, c, nil, nil)
	})
	if err != nil {
		b.forget(s.link)
		s.link.shut(errClosed)
		return nil, err
	}
	s.ttl, s.proof.proven = s.link.granted(), opening
	s.store = b.era.store()
	if s.ttl != ttl {
		b.cfg.Logger.Warn("ZooKeeper grants another session timeout than the ttl", "ttl", ttl, "granted", s.ttl, "tick", tick)
	}
	return s, nil
}

// minTicks is the shortest session that is asked for.
const minTicks = 5
