package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Server is a running member.
type Server struct {
	endpoints []string
	streams   context.Context // of clients: ended first, so that a stop need not wait for their watches
	etcd      *embed.Etcd
	done      chan struct{} // closed by end

	mu  sync.Mutex
	err error
	end context.CancelFunc // ends streams

	stopOnce sync.Once
	stopped  chan struct{} // etcd's goroutines have ended
}

// ErrStopped is what Err returns after an orderly Stop.
var ErrStopped = errors.New("it was stopped")

// Start starts the member and returns when it takes part in its cluster. ctx bounds the start, not the life of the member.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	e, err := cfg.etcd()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("embedded etcd: start: %w", context.Cause(ctx))
	}
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded etcd: make the data directory: %w", err)
	}
	s := &Server{done: make(chan struct{}), stopped: make(chan struct{})}
	s.streams, s.end = context.WithCancel(context.Background())
	for _, u := range e.AdvertiseClientUrls {
		s.endpoints = append(s.endpoints, u.String())
	}
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(cfg.Logger, s.died))
	e.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(s.endable)}
	if err := s.run(ctx, e); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// run starts etcd in a goroutine of its own: etcd may end that goroutine (see newLogger), or take longer than ctx allows.
func (s *Server) run(ctx context.Context, cfg *embed.Config) error {
	type started struct {
		etcd *embed.Etcd
		err  error
	}
	result, over := make(chan started, 1), make(chan struct{})
	go func() {
		defer close(over)
		defer func() { // some damage to its files makes etcd trip over itself
			if r := recover(); r != nil {
				result <- started{nil, fmt.Errorf("etcd broke down (%v); its files in %s may be damaged", r, cfg.Dir)}
			}
		}()
		etcd, err := embed.StartEtcd(cfg)
		result <- started{etcd, err}
	}()
	select {
	case <-over:
	case <-s.done: // whatever waits inside etcd for the goroutine that died waits for ever
		return fmt.Errorf("embedded etcd: start: %w", s.Err())
	case <-ctx.Done():
		go func() { // a start that comes too late is undone
			select {
			case r := <-result:
				if r.err == nil {
					r.etcd.Close()
				}
			case <-s.done:
			}
		}()
		return fmt.Errorf("embedded etcd: start: %w", context.Cause(ctx))
	}
	select {
	case r := <-result:
		if r.err != nil {
			return fmt.Errorf("embedded etcd: start: %w", r.err)
		}
		s.etcd = r.etcd
	default:
		return fmt.Errorf("embedded etcd: start: %w", s.Err())
	}
	go s.watch()
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

// WaitReady waits until the member serves requests, which takes a majority of the cluster.
func (s *Server) WaitReady(ctx context.Context) error {
	select {
	case <-s.etcd.Server.ReadyNotify():
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
