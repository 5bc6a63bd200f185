package etcd3

import (
	"context"
	"math"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

const (
	// redialEvery bounds how far apart attempts to reach an endpoint start, however long it has been away.
	redialEvery = 500 * time.Millisecond
	// dialBudget bounds one attempt from the first packet to the end of the TLS handshake. Connections between continents need a second.
	dialBudget = 5 * time.Second
	// silenceLimit is how long sent data may stay unacknowledged by the other kernel before the connection is given up.
	silenceLimit = 3 * time.Second
	// pingEvery is how often an idle connection with a watch on it is tried end to end. gRPC allows no less, and etcd bans
	// clients that ping more often than every 5 s.
	pingEvery = 10 * time.Second
)

// open prepares a connection to a. Nothing is sent before it is used.
func open(a address, files *TLS, d *net.Dialer) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+a.hostport,
		grpc.WithTransportCredentials(transportCredentials(a, files)),
		grpc.WithContextDialer(func(ctx context.Context, hostport string) (net.Conn, error) { return dial(ctx, d, hostport) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialEvery / 5, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialEvery * 4 / 5},
			MinConnectTimeout: dialBudget,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: silenceLimit}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
		grpc.WithReadBufferSize(8<<10), grpc.WithWriteBufferSize(8<<10), // requests are small; a connection is idle most of the time
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithDisableHealthCheck(),
	)
}

// newDialer makes a dialer whose connections the kernel looks after while they are idle, so that this process can sleep.
func newDialer(r *net.Resolver) *net.Dialer {
	return &net.Dialer{Resolver: r, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3}}
}

// dial makes a TCP connection. While the host does not answer, the kernel would wait longer and longer between its
// attempts; so another one begins every redialEvery, and the first that gets through is used.
func dial(ctx context.Context, d *net.Dialer, hostport string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	attempt := func() {
		c, err := d.DialContext(ctx, "tcp", hostport)
		select {
		case results <- result{c, err}:
		case <-ctx.Done():
			if c != nil {
				_ = c.Close()
			}
		}
	}
	again := time.NewTicker(redialEvery)
	defer again.Stop()
	go attempt()
	for running := 1; ; {
		select {
		case r := <-results:
			if running--; r.err == nil || running == 0 {
				return r.conn, r.err
			}
		case <-again.C:
			running++
			go attempt()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
