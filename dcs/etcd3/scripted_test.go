package etcd3_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
)

// scripted speaks etcd's protocol and says what a test tells it to: answers that a real etcd gives only at rare moments.
type scripted struct {
	pb.UnimplementedKVServer
	pb.UnimplementedLeaseServer

	mu    sync.Mutex
	alive []uint64 // raft terms of the next keepalives; the last one is repeated
	txns  []answer // the next answers to transactions; the last one is repeated
	heard []string // the requests, in short
}

type answer struct {
	term  uint64
	other bool // another cluster answers
	no    bool // conditions do not hold
	err   error
}

func next[T any](list *[]T) T {
	first := (*list)[0]
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return first
}

func (s *scripted) LeaseGrant(context.Context, *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return &pb.LeaseGrantResponse{Header: &pb.ResponseHeader{ClusterId: 1, RaftTerm: 1, Revision: 1}, ID: 7, TTL: 30}, nil
}

func (s *scripted) LeaseKeepAlive(stream grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]) error {
	r, err := stream.Recv()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, "keepalive")
	return stream.Send(&pb.LeaseKeepAliveResponse{Header: &pb.ResponseHeader{ClusterId: 1, RaftTerm: next(&s.alive), Revision: 1}, ID: r.ID, TTL: 30})
}

func (s *scripted) Txn(_ context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Success[0].GetRequestPut() != nil {
		s.heard = append(s.heard, "write")
	} else {
		s.heard = append(s.heard, "compare")
	}
	a := next(&s.txns)
	if a.err != nil {
		return nil, a.err
	}
	h := &pb.ResponseHeader{ClusterId: 1, RaftTerm: a.term, Revision: 9}
	if a.other {
		h.ClusterId = 2
	}
	return &pb.TxnResponse{Header: h, Succeeded: !a.no}, nil
}

// serve runs s, and returns its address.
func (s *scripted) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, s)
	pb.RegisterLeaseServer(server, s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Stop(); <-ended })
	return l.Addr().String()
}

// TestConfirmNeedsOneTerm: a keepalive that was answered in another raft term than the transaction after it proves nothing. Both are
// made again, the transaction without its writes. A keepalive of a lower term than one seen before is not believed at all.
func TestConfirmNeedsOneTerm(t *testing.T) {
	for name, c := range map[string]struct {
		alive []uint64
		txns  []answer
		want  error
		heard []string
	}{
		"same term": {[]uint64{5}, []answer{{term: 5}}, nil, []string{"keepalive", "write"}},
		"deposed leader took the keepalive": {[]uint64{5, 6}, []answer{{term: 6}}, nil,
			[]string{"keepalive", "write", "keepalive", "compare"}},
		"and goes on taking them": {[]uint64{5, 5, 5, 6}, []answer{{term: 6}}, nil,
			[]string{"keepalive", "write", "keepalive", "keepalive", "keepalive", "compare"}},
		"terms change all the time": {[]uint64{5, 6, 7}, []answer{{term: 6}, {term: 7}}, nil,
			[]string{"keepalive", "write", "keepalive", "compare", "keepalive", "compare"}},
		"lost between the terms, though something was written": {[]uint64{5, 6}, []answer{{term: 6}, {term: 6, no: true}}, dcs.ErrUnknown,
			[]string{"keepalive", "write", "keepalive", "compare"}},
		"not ours": {[]uint64{5}, []answer{{term: 6, no: true}}, dcs.ErrConflict, []string{"keepalive", "write"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{alive: c.alive, txns: c.txns}
			b := open(t, etcd3.Config{Endpoints: []string{s.serve(t)}})
			x := session(t, b, 30e9)
			applied, err := x.Confirm(within(t, limit), dcs.Txn{
				If: []dcs.Cond{{Key: "/leader", Session: x.ID()}},
				Do: []dcs.Write{{Key: "/status"}},
			})
			if !errors.Is(err, c.want) || errors.Is(err, dcs.ErrConflict) != (c.want == dcs.ErrConflict) || err == nil && applied.Version != 9 {
				t.Errorf("got %+v, %v; want %v", applied, err, c.want)
			}
			if diff := cmp.Diff(c.heard, s.heard); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWriteIsSentOnce: whatever a server says that may hide a success is unknown, at once; what certainly changed nothing is sent again.
func TestWriteIsSentOnce(t *testing.T) {
	for name, c := range map[string]struct {
		first error
		want  error
		sent  int
	}{
		"timeout in etcd":          {rpctypes.ErrGRPCTimeout, dcs.ErrUnknown, 1},
		"leader failed":            {rpctypes.ErrGRPCTimeoutDueToLeaderFail, dcs.ErrUnknown, 1},
		"server stopped":           {rpctypes.ErrGRPCStopped, dcs.ErrUnknown, 1},
		"leader changed":           {rpctypes.ErrGRPCLeaderChanged, dcs.ErrUnknown, 1},
		"deadline from a proxy":    {status.Error(codes.DeadlineExceeded, "context deadline exceeded"), dcs.ErrUnknown, 1},
		"unavailable from a proxy": {status.Error(codes.Unavailable, "upstream"), dcs.ErrUnknown, 1},
		"leader loss as unknown":   {status.Error(codes.Unknown, "raft proposal dropped"), dcs.ErrUnknown, 1},
		"no leader":                {rpctypes.ErrGRPCNoLeader, nil, 2},
		"too many requests":        {rpctypes.ErrGRPCRequestTooManyRequests, nil, 2},
		"too large":                {rpctypes.ErrGRPCRequestTooLarge, dcs.ErrUnavailable, 1},
		"quota used up":            {rpctypes.ErrGRPCNoSpace, dcs.ErrUnknown, 1},
		"lease gone":               {rpctypes.ErrGRPCLeaseNotFound, dcs.ErrSessionLost, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{txns: []answer{{err: c.first}, {term: 5}}}
			b := open(t, etcd3.Config{Endpoints: []string{s.serve(t)}})
			_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k"}}})
			if !errors.Is(err, c.want) || len(s.heard) != c.sent {
				t.Errorf("got %v after %d requests; want %v after %d", err, len(s.heard), c.want, c.sent)
			}
		})
	}
}

// TestLeaseOfAnotherStore: a write whose lease is gone was refused by the store that granted it, or by another one that knows no lease of
// ours: then nothing is known.
func TestLeaseOfAnotherStore(t *testing.T) {
	for name, c := range map[string]struct {
		other bool
		want  error
	}{"the same store": {false, dcs.ErrSessionLost}, "another one": {true, dcs.ErrUnknown}} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{txns: []answer{{err: rpctypes.ErrGRPCLeaseNotFound}, {term: 5, other: c.other}}}
			b := open(t, etcd3.Config{Endpoints: []string{s.serve(t)}})
			x := session(t, b, 30e9)
			_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/members/a", Session: x}}})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if diff := cmp.Diff([]string{"write", "compare"}, s.heard); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}
