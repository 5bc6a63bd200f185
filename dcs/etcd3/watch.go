package etcd3

import (
	"context"
	"io"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
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
	early  []*mvccpb.Event // of one range, before the others were watched
}

// Watch establishes a watch on one endpoint and returns when etcd has confirmed it, which counts as one request. It ends, and its
// channel with it, when ctx or the connection ends, when that member loses its leader or falls silent, and when etcd cancels it.
func (b *Backend) Watch(ctx context.Context, prefix string) (<-chan dcs.Hint, error) {
	first, last := wholePrefix(prefix)
	return b.watch(ctx, []*pb.WatchCreateRequest{{Key: first, RangeEnd: last}})
}

// WatchQuietly implements dcs.QuietWatcher: one stream with a watch of what lies before quiet, of what lies behind it, and of the deletions in it.
func (b *Backend) WatchQuietly(ctx context.Context, prefix, quiet string) (<-chan dcs.Hint, error) {
	first, last := wholePrefix(prefix)
	from, to := wholePrefix(quiet)
	return b.watch(ctx, []*pb.WatchCreateRequest{
		{Key: first, RangeEnd: from},
		{Key: from, RangeEnd: to, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}},
		{Key: to, RangeEnd: last},
	})
}

// watch is a watch of several ranges.
func (b *Backend) watch(ctx context.Context, ranges []*pb.WatchCreateRequest) (<-chan dcs.Hint, error) {
	ctx, end, err := b.begin(ctx, "watch")
	if err != nil {
		return nil, err
	}
	s, err := b.openWatch(ctx, ranges)
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
func (b *Backend) openWatch(ctx context.Context, ranges []*pb.WatchCreateRequest) (*stream, error) {
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
			s, err := b.watchOn(ctx, ep, ranges)
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
func (b *Backend) watchOn(ctx context.Context, ep *endpoint, ranges []*pb.WatchCreateRequest) (*stream, error) {
	silent := b.pool.silence(ep)
	patient := third(ctx)
	ctx, end := context.WithCancel(ctx)
	if b.pool.size() > 1 {
		giveUp := time.AfterFunc(min(patience, patient), end)
		defer giveUp.Stop()
	}
	s := &stream{ep: ep, silent: silent, end: end}
	var err error
	if s.Watch_WatchClient, err = pb.NewWatchClient(ep.conn).Watch(ctx); err == nil {
		err = s.create(ranges)
	}
	if err != nil {
		end()
		return nil, err
	}
	return s, nil
}

// create asks for a watch of each range and waits until all are there. What happens meanwhile is told by deliver.
func (s *stream) create(ranges []*pb.WatchCreateRequest) error {
	for _, r := range ranges {
		err := s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
		if err != nil && err != io.EOF { // io.EOF: the stream has ended, and Recv tells why
			return err
		}
	}
	for created := 0; created < len(ranges); {
		r, err := s.Recv()
		switch {
		case err != nil:
			return err
		case r.Canceled:
			return refusal(r)
		case r.Created:
			created++
		default:
			s.early = append(s.early, r.Events...)
		}
	}
	return nil
}

// deliver passes the keys of changes on until the stream ends.
func (s *stream) deliver(hints chan dcs.Hint) {
	for events := s.early; ; {
		for _, e := range events {
			push(hints, dcs.Hint{Key: string(e.Kv.Key), Version: dcs.Version(e.Kv.ModRevision), Put: e.Type == mvccpb.Event_PUT, Value: e.Kv.Value})
		}
		r, err := s.Recv()
		if err != nil || r.Canceled {
			return
		}
		events = r.Events
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
