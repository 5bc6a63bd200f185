package etcd3

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// endpoint is one member of etcd, or what stands before it.
type endpoint struct {
	address
	name string
	conn *grpc.ClientConn
}

// pool holds the endpoints in the order in which they should be asked: the one in use first.
type pool struct {
	logger *slog.Logger
	files  *TLS
	dialer *net.Dialer
	srv    *srv           // nil: the endpoints are configured
	wg     sync.WaitGroup // of the goroutines that wait for connections

	mu      sync.Mutex
	given   []address // configured, or named by DNS: kept whatever the members say
	order   []*endpoint
	retired []*endpoint                 // left the list; somebody may still use them
	inUse   *endpoint                   // the last that answered; nil: none has yet
	silent  map[*endpoint]chan struct{} // closed when the endpoint falls silent, then made anew
}

func newPool(cfg Config) (*pool, error) {
	p := &pool{logger: cfg.Logger, files: cfg.TLS, dialer: newDialer(cfg.Resolver), silent: map[*endpoint]chan struct{}{}}
	if cfg.SRV != "" {
		p.srv = newSRV(cfg)
		return p, nil
	}
	given := make([]address, len(cfg.Endpoints))
	for i, text := range cfg.Endpoints {
		var err error
		if given[i], err = parseEndpoint(text, cfg.TLS != nil); err != nil {
			return nil, err
		}
	}
	if !cfg.InOrder {
		rand.Shuffle(len(given), func(i, j int) { given[i], given[j] = given[j], given[i] })
	}
	if err := p.give(given); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// size is how many endpoints there are.
func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.order)
}

func (p *pool) close() error {
	var errs []error
	for _, ep := range slices.Concat(p.order, p.retired) {
		errs = append(errs, ep.conn.Close())
	}
	p.wg.Wait()
	return errors.Join(errs...)
}

// prefer makes ep the endpoint in use.
func (p *pool) prefer(ep *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.inUse; was != nil && was != ep {
		p.logger.Info("etcd endpoint changed", "from", was.name, "to", ep.name)
	}
	p.inUse = ep
	if i := slices.Index(p.order, ep); i > 0 {
		p.order = slices.Insert(slices.Delete(p.order, i, i+1), 0, ep)
	}
}

// current is the endpoint that answered last, nil if none has.
func (p *pool) current() *endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inUse
}

// avoid makes ep the last to be asked.
func (p *pool) avoid(ep *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.order, ep); i >= 0 {
		p.order = append(slices.Delete(p.order, i, i+1), ep)
	}
}

// fellSilent says that ep did not answer in time: its watches end, as they are probably as dead as the request was.
func (p *pool) fellSilent(ep *endpoint) {
	p.avoid(ep)
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.silent[ep])
	p.silent[ep] = make(chan struct{})
}

// silence returns a channel that is closed when ep falls silent.
func (p *pool) silence(ep *endpoint) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silent[ep]
}

// ready returns the first connected endpoint for which use is true, connecting if there is none. With nothing to choose from it
// waits for ctx.
func (p *pool) ready(ctx context.Context, use func(*endpoint) bool) (*endpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	for {
		if err := p.located(ctx); err != nil {
			return nil, err
		}
		p.mu.Lock()
		order := slices.Clone(p.order)
		p.mu.Unlock()
		candidates := slices.DeleteFunc(order, func(ep *endpoint) bool { return !use(ep) }) // use takes locks under which we are asked
		for _, ep := range candidates {
			if ep.conn.GetState() == connectivity.Ready {
				return ep, nil
			}
		}
		if p.srv == nil {
			return p.connect(ctx, candidates)
		}
		// Those that DNS named may all be gone, and others be named by now.
		waiting, cancel := context.WithTimeout(ctx, srvPause)
		ep, err := p.connect(waiting, candidates)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ep, err
		}
		p.lookAgain(ctx)
	}
}

// headStart is what the first candidate has before the second, so that a healthy store gets one connection and not two.
const headStart = 30 * time.Millisecond

// connect brings candidates up, two at a time, and returns the first that is.
func (p *pool) connect(ctx context.Context, candidates []*endpoint) (*endpoint, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	up := make(chan *endpoint, len(candidates))
	for i, ep := range candidates {
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			if connected(waiting, ep.conn, time.Duration(i/2)*redialEvery/2+time.Duration(i%2)*headStart) {
				up <- ep
			}
		}()
	}
	select {
	case ep := <-up:
		return ep, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// connected waits until conn is up, beginning after a pause.
func connected(ctx context.Context, conn *grpc.ClientConn, pause time.Duration) bool {
	if pause > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Shutdown:
			return false
		case connectivity.Idle:
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}

// first names the endpoint that would be asked next, "" if none is known, and says whether one of them is connected.
func (p *pool) first() (name string, up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ep := range p.order {
		name = cmp.Or(name, ep.name)
		up = up || ep.conn.GetState() == connectivity.Ready
	}
	return name, up
}

// complaint asks gRPC why there is no connection, in the order of the endpoints. It sends nothing to an endpoint that is down.
func (p *pool) complaint() (name string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	p.mu.Lock()
	order := slices.Clone(p.order)
	p.mu.Unlock()
	if len(order) == 0 {
		return p.srv.complaint()
	}
	for _, ep := range order {
		if ep.conn.GetState() != connectivity.TransientFailure {
			continue
		}
		if _, err := pb.NewAuthClient(ep.conn).AuthStatus(ctx, &pb.AuthStatusRequest{}); err != nil {
			return ep.name, err
		}
	}
	return "", nil
}
