package etcd3

import (
	"context"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tanist-ha/tanist/dcs"
)

// hintBuffer is how many hints may wait for the reader before they are merged.
const hintBuffer = 64

// stream is an established watch and its end.
type stream struct {
	pb.Watch_WatchClient
	ep     *endpoint
	silent <-chan struct{}
	end    context.CancelFunc
}

// Watch establishes a watch on one endpoint and returns when etcd has confirmed it, which counts as one request. It ends, and its
// channel with it, when ctx or the connection ends, when that member loses its leader or falls silent, and when etcd cancels it.
func (b *Backend) Watch(ctx context.Context, prefix string) (<-chan dcs.Hint, error) {
	ctx, end, err := b.begin(ctx, "watch")
	if err != nil {
		return nil, err
	}
	s, err := b.openWatch(ctx, prefix)
	if err != nil {
		end()
		return nil, err
	}
	hints := make(chan dcs.Hint, hintBuffer)
	b.wg.Add(1)
	go func() { // ends with the stream
		defer b.wg.Done()
		defer end()
		defer close(hints)
		defer s.end()
		s.deliver(hints)
	}()
	b.wg.Add(1)
	go func() { // ends the stream
		defer b.wg.Done()
		defer s.end()
		select {
		case <-s.silent:
		case <-s.Context().Done():
		}
	}()
	return hints, nil
}

// openWatch goes from endpoint to endpoint until one has confirmed the watch.
func (b *Backend) openWatch(ctx context.Context, prefix string) (*stream, error) {
	t := newTour("watch", b.pool)
	for {
		if !t.left() {
			select {
			case <-t.pause():
				t.again()
			case <-ctx.Done():
				return nil, t.expired(ctx, false)
			}
		}
		ep, err := t.next(ctx)
		if err != nil {
			return nil, t.expired(ctx, false)
		}
		a := try(ctx, b.login, ep, func(ctx context.Context, conn *grpc.ClientConn) (*stream, bool, error) {
			s, err := b.watchOn(ctx, ep, prefix)
			return s, true, err
		})
		if a.err == nil {
			t.won(ep)
			return a.answer, nil
		}
		if err := t.final(ctx, ep, a.err, b.login.named()); err != nil {
			return nil, err
		}
		t.fail(ep, false, a.err)
	}
}

// watchOn asks ep for a watch and waits for the confirmation, though not for long if there are others to ask.
func (b *Backend) watchOn(ctx context.Context, ep *endpoint, prefix string) (*stream, error) {
	silent := b.pool.silence(ep)
	patient := third(ctx)
	ctx, end := context.WithCancel(ctx)
	if b.pool.size() > 1 {
		giveUp := time.AfterFunc(min(patience, patient), end)
		defer giveUp.Stop()
	}
	first, last := wholePrefix(prefix)
	w, err := pb.NewWatchClient(ep.conn).Watch(ctx)
	if err == nil {
		err = w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: first, RangeEnd: last}}})
	}
	var r *pb.WatchResponse
	if w != nil {
		r, err = w.Recv() // tells the reason of a failed Send, too
	}
	if err == nil && r.Canceled {
		err = refusal(r)
	}
	if err != nil {
		end()
		return nil, err
	}
	return &stream{Watch_WatchClient: w, ep: ep, silent: silent, end: end}, nil
}

// deliver passes the keys of changes on until the stream ends.
func (s *stream) deliver(hints chan dcs.Hint) {
	for {
		r, err := s.Recv()
		if err != nil || r.Canceled {
			return
		}
		for _, e := range r.Events {
			push(hints, dcs.Hint{Key: string(e.Kv.Key), Version: dcs.Version(e.Kv.ModRevision)})
		}
	}
}

// push never waits: when the reader is behind, hints are merged into "anything may have changed". There is one writer.
func push(hints chan dcs.Hint, h dcs.Hint) {
	for {
		select {
		case hints <- h:
			return
		default:
		}
		select {
		case old := <-hints:
			h = dcs.Hint{Version: max(old.Version, h.Version)}
		default: // the reader was faster
		}
	}
}

// refusal turns the reason of a watch that etcd did not begin into an error of etcd's kind: the permission is checked here, not before.
func refusal(r *pb.WatchResponse) error {
	if strings.Contains(r.CancelReason, "permission denied") {
		return rpctypes.ErrGRPCPermissionDenied
	}
	for _, known := range []error{rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrGRPCAuthOldRevision, rpctypes.ErrGRPCUserEmpty} {
		if strings.Contains(r.CancelReason, rpctypes.ErrorDesc(known)) {
			return known
		}
	}
	return status.Error(codes.Unavailable, "watch refused: "+r.CancelReason)
}
