package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Server is a running member.
type Server struct {
	cfg       Config
	endpoints []string
	streams   context.Context // of clients: ended first, so that a stop need not wait for their watches
	etcd      *embed.Etcd
	done      chan struct{} // closed by end

	mu  sync.Mutex
	err error
	end context.CancelFunc // ends streams

	dir   *dataDir
	voter chan struct{} // closed when the member has a vote, or has ended

	tidying sync.Mutex
	waited  map[uint64]int // in how many looks in a row a member was waited for; with tidying held

	stopOnce sync.Once
	stopped  chan struct{} // etcd's goroutines have ended
}

// ErrStopped is what Err returns after an orderly Stop.
var ErrStopped = errors.New("it was stopped")

// Start starts the member and returns when it takes part in its cluster. ctx bounds the start, not the life of the member.
//
// What a member with an empty data directory does, it finds out from the other members of the initial cluster. If one of them runs, it joins that cluster
// under a new identity, as a learner first; one that the cluster knew at its address is removed. If all of them say that they are as empty,
// they found a cluster. Else it waits, and says for whom.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	e, err := cfg.etcd()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("embedded etcd: start: %w", context.Cause(ctx))
	}
	s := &Server{done: make(chan struct{}), stopped: make(chan struct{}), voter: make(chan struct{}), waited: map[uint64]int{}, cfg: cfg}
	s.streams, s.end = context.WithCancel(context.Background())
	for _, u := range e.AdvertiseClientUrls {
		s.endpoints = append(s.endpoints, u.String())
	}
	if err := s.start(ctx, cfg, e); err != nil {
		s.end()
		return nil, fmt.Errorf("embedded etcd: start: %w", err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, cfg Config, e *embed.Config) error {
	dir, fresh, err := openOrGiveUp(ctx, e.Dir)
	if err != nil {
		return err
	}
	s.dir = dir
	var id uint64
	if fresh {
		if id, err = s.enter(ctx, cfg, e); err != nil {
			dir.close()
			return err
		}
	}
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(cfg.Logger, s.died))
	e.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(s.endable)}
	if err := s.run(ctx, e); err != nil {
		return err
	}
	if got := uint64(s.etcd.Server.MemberID()); id != 0 && got != id {
		s.died(fmt.Sprintf("it joined as %x, and was added as %x", got, id))
	}
	go s.watch()
	go s.vote(cfg)
	go s.upkeep()
	return nil
}

// openOrGiveUp opens the data directory in a goroutine of its own: the disk may hang, and a caller that waits no longer must not hang with it.
func openOrGiveUp(ctx context.Context, path string) (dir *dataDir, fresh bool, err error) {
	type opened struct {
		dir   *dataDir
		fresh bool
		err   error
	}
	result := make(chan opened, 1)
	go func() {
		dir, fresh, err := openFresh(path)
		result <- opened{dir, fresh, err}
	}()
	select {
	case o := <-result:
		return o.dir, o.fresh, o.err
	case <-ctx.Done():
		go func() {
			if o := <-result; o.err == nil {
				o.dir.close()
			}
		}()
		return nil, false, fmt.Errorf("the data directory %s does not answer: %w", path, context.Cause(ctx))
	}
}

// openFresh opens the data directory and says whether no member has run on it yet.
func openFresh(path string) (*dataDir, bool, error) {
	dir, err := openDataDir(path)
	if err != nil {
		return nil, false, err
	}
	started, err := dir.started()
	if err == nil && !started {
		err = dir.clear()
	}
	if err != nil {
		dir.close()
		return nil, false, fmt.Errorf("look at the data directory: %w", err)
	}
	return dir, !started, nil
}

// endPatience is how long a member that dies while it starts is given to free its ports.
const endPatience = 5 * time.Second

// launch is a start of etcd in a goroutine of its own: etcd may end that goroutine (see newLogger), or take longer than anybody waits.
type launch struct {
	over chan struct{} // closed with the end of the goroutine
	etcd *embed.Etcd   // set then, or err; neither: etcd has ended the goroutine
	err  error
}

func launchEtcd(cfg *embed.Config) *launch {
	l := &launch{over: make(chan struct{})}
	go func() {
		defer close(l.over)
		defer func() { // some damage to its files makes etcd trip over itself
			if r := recover(); r != nil {
				l.err = fmt.Errorf("etcd broke down (%v); its files in %s may be damaged", r, cfg.Dir)
			}
		}()
		l.etcd, l.err = embed.StartEtcd(cfg)
	}()
	return l
}

// undo ends what was launched, so that its ports are free again. Of a member that has died it waits for endPatience: what waits inside etcd for a
// goroutine that has ended waits for ever, but most often etcd has only said why it will end.
func (l *launch) undo(died <-chan struct{}) {
	select {
	case <-l.over:
	case <-died:
		select {
		case <-l.over:
		case <-time.After(endPatience):
			return
		}
	}
	if l.err == nil && l.etcd != nil {
		l.etcd.Close()
	}
}

// run starts etcd. On an error the data directory is closed, at the latest when what was begun is undone.
func (s *Server) run(ctx context.Context, cfg *embed.Config) error {
	l := launchEtcd(cfg)
	select {
	case <-l.over:
	case <-s.done:
		undone := make(chan struct{})
		go func() {
			defer close(undone)
			l.undo(s.done)
		}()
		select {
		case <-undone:
		case <-ctx.Done():
		}
		s.dir.close()
		return s.Err()
	case <-ctx.Done():
		go func() { // a start that comes too late
			defer s.dir.close()
			l.undo(s.done)
		}()
		return context.Cause(ctx)
	}
	switch {
	case l.err != nil:
		s.dir.close()
		return l.err
	case l.etcd == nil:
		s.dir.close()
		return s.Err()
	}
	s.etcd = l.etcd
	return nil
}

// watch notices when etcd ends by itself. It ends with the member.
func (s *Server) watch() {
	select {
	case err := <-s.etcd.Err():
		s.died(fmt.Sprint(err))
	case <-s.etcd.Server.StopNotify():
		s.died("it has stopped by itself")
	case <-s.done:
	}
}

// endable makes streams of clients end with s.streams.
func (s *Server) endable(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(s.streams, cancel)()
	return handler(srv, &endableStream{ss, ctx})
}

type endableStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *endableStream) Context() context.Context { return s.ctx }

// Endpoints are the addresses for clients.
func (s *Server) Endpoints() []string { return append([]string(nil), s.endpoints...) }

// WaitReady waits until the member serves requests, which takes a majority of the cluster, and has a vote.
func (s *Server) WaitReady(ctx context.Context) error {
	select {
	case <-s.etcd.Server.ReadyNotify():
	case <-s.done:
		return fmt.Errorf("embedded etcd: %w", s.Err())
	case <-ctx.Done():
		return fmt.Errorf("embedded etcd: wait for a majority of the members: %w", context.Cause(ctx))
	}
	select {
	case <-s.voter:
		return nil
	case <-s.done:
		return fmt.Errorf("embedded etcd: %w", s.Err())
	case <-ctx.Done():
		return fmt.Errorf("embedded etcd: wait for a majority of the members: %w", context.Cause(ctx))
	}
}

// Done is closed when the member has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why the member has ended; nil while it runs, ErrStopped after a Stop.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Server) died(why string) { s.finish(fmt.Errorf("it ended itself: %s", why)) }

func (s *Server) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
}

// Stop ends the member in order: it hands etcd's leadership over and ends the connections of clients. It returns when all of it has
// ended, or with ctx; then the rest goes on by itself. The data stays. Stopping twice is the same as once.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.finish(ErrStopped)
		s.end()
		go func() {
			defer close(s.stopped)
			defer s.dir.close()
			s.etcd.Close()
		}()
	})
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("embedded etcd: stop: %w", context.Cause(ctx))
	}
}
