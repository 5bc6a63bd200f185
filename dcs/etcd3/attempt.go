package etcd3

import (
	"context"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// call sends one request over conn. sent says that the server may have seen it.
type call[T any] func(ctx context.Context, conn *grpc.ClientConn) (answer T, sent bool, err error)

// unary makes a call of a generated method. gRPC names the peer of a request as soon as it has a stream to it: without one,
// nothing has left this process.
func unary[S, Q, A any](client func(grpc.ClientConnInterface) S,
	method func(S, context.Context, Q, ...grpc.CallOption) (A, error), request Q) call[A] {
	return func(ctx context.Context, conn *grpc.ClientConn) (A, bool, error) {
		var to peer.Peer
		answer, err := method(client(conn), ctx, request, grpc.Peer(&to))
		return answer, to.Addr != nil, err
	}
}

// endOfStream is how long a keepalive whose answer is here waits for the stream's orderly end. Cancelling it at once would count
// as a failed request in etcd's metrics.
const endOfStream = 100 * time.Millisecond

// keepAlive makes the call that prolongs a lease once. etcd has only a stream for it: one message there, one back.
func keepAlive(lease int64) call[*pb.LeaseKeepAliveResponse] {
	return func(ctx context.Context, conn *grpc.ClientConn) (*pb.LeaseKeepAliveResponse, bool, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(ctx)
		if err != nil {
			return nil, false, err
		}
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: lease}); err != nil && err != io.EOF {
			return nil, true, err
		} // io.EOF: the stream has ended, and Recv tells why
		answer, err := stream.Recv()
		if err != nil {
			return nil, true, err
		}
		_ = stream.CloseSend() // not before: etcd's grpc-proxy takes that for the end of its interest, and never answers
		defer time.AfterFunc(endOfStream, cancel).Stop()
		_, _ = stream.Recv()
		return answer, true, nil
	}
}

// attempt is the outcome of one call on one endpoint.
type attempt[T any] struct {
	ep     *endpoint
	answer T
	sent   bool
	err    error
}

// try makes one attempt; it is made again with another token if the one at hand is refused.
func try[T any](ctx context.Context, l *login, ep *endpoint, c call[T]) attempt[T] {
	a := attempt[T]{ep: ep}
	for second := range 2 {
		prepared, token, err := l.prepare(ctx, ep.conn)
		if err != nil {
			a.sent, a.err = false, err
			return a
		}
		a.answer, a.sent, a.err = c(prepared, ep.conn)
		if a.err == nil || judge(a.err) != relogin || second == 1 {
			return a
		}
		if err := l.renew(ctx, ep.conn, token); err != nil {
			a.sent, a.err = false, err
			return a
		}
	}
	return a
}
