// Package members tells who belongs to a cluster of embedded etcd members, and changes it. It is apart from embedetcd so that a tool that asks
// does not link a server.
//
//	c, err := members.Open([]string{"http://10.0.0.1:2379", "http://10.0.0.2:2379"}, nil)
//	defer c.Close()
//	list, err := c.List(ctx)
//
// Everything here is linearizable and so needs a majority of the members.
package members

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/tanist-ha/tanist/internal/redact"
	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// TLS names PEM files. As a member's own they are read at each handshake, and with CAFile whoever connects must show a certificate of that authority.
// As a client's they are read when a connection is opened, and the server must show one of it.
type TLS struct{ CertFile, KeyFile, CAFile string }

// client is how a client with these files speaks TLS.
func (t *TLS) client() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t == nil {
		return cfg, nil
	}
	if t.CAFile != "" {
		pool, err := tlsfile.Pool(t.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if t.CertFile != "" {
		cert, err := tlsfile.Pair{CertFile: t.CertFile, KeyFile: t.KeyFile}.Load()
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// Cluster asks the members of an etcd cluster about the cluster itself, and changes who belongs to it. Make it with Open and close it.
type Cluster struct {
	endpoints []string
	conns     []*grpc.ClientConn
}

// Member is one member as the cluster knows it.
type Member struct {
	ID         uint64
	Name       string // "": it was added and has never run
	PeerURLs   []string
	ClientURLs []string
	Learner    bool // it copies, and has no vote yet
	Leader     bool
	Healthy    bool   // it answered just now, and knows a leader
	Problem    string // why not, or what it complains about, such as a full database
	SizeBytes  int64  // of its database
	InUseBytes int64  // of that, what is not free space
	Version    string // of its etcd
}

// Open prepares connections to the client addresses endpoints. Nothing is sent yet.
func Open(endpoints []string, files *TLS) (*Cluster, error) {
	c := &Cluster{}
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Host == "" {
			c.Close()
			return nil, fmt.Errorf("etcd: %q is not an address of etcd", redact.Address(e))
		}
		creds := insecure.NewCredentials()
		if u.Scheme == "https" {
			cfg, err := files.client()
			if err != nil {
				c.Close()
				return nil, fmt.Errorf("etcd: %w", err)
			}
			creds = credentials.NewTLS(cfg)
		}
		conn, err := grpc.NewClient("passthrough:///"+u.Host, grpc.WithTransportCredentials(creds), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("etcd: %w", err)
		}
		c.endpoints, c.conns = append(c.endpoints, e), append(c.conns, conn)
	}
	if len(c.conns) == 0 {
		return nil, errors.New("etcd: no client address of a running member is known")
	}
	return c, nil
}

// Close closes the connections.
func (c *Cluster) Close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// tryAll asks one member after the other until one answers. f must be safe to be asked twice.
func tryAll[T any](ctx context.Context, c *Cluster, f func(context.Context, *grpc.ClientConn) (T, error)) (T, error) {
	var none T
	var errs []error
	for i, conn := range c.conns {
		bounded, cancel := context.WithTimeout(ctx, requestTimeout)
		v, err := f(bounded, conn)
		cancel()
		if err == nil {
			return v, nil
		}
		errs = append(errs, fmt.Errorf("%s: %s", c.endpoints[i], status.Convert(err).Message()))
	}
	return none, errors.Join(errs...)
}

// requestTimeout bounds a request about the cluster: etcd itself answers within an election, and then some.
const requestTimeout = 5 * time.Second

// List tells who belongs to the cluster, in the order of names. It does not tell how they are: see Look.
func (c *Cluster) List(ctx context.Context) ([]Member, error) {
	r, err := tryAll(ctx, c, func(ctx context.Context, conn *grpc.ClientConn) (*pb.MemberListResponse, error) {
		return pb.NewClusterClient(conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	})
	if err != nil {
		return nil, fmt.Errorf("etcd: ask who belongs to the cluster (it takes a majority of its members): %w", err)
	}
	return known(r.Members), nil
}

func known(list []*pb.Member) []Member {
	out := make([]Member, 0, len(list))
	for _, m := range list {
		out = append(out, Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner})
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// look fills in how a member is.
func (m *Member) look(ctx context.Context, files *TLS) {
	c, err := Open(m.ClientURLs, files)
	if err != nil {
		m.Problem = "it has not run yet"
		return
	}
	defer c.Close()
	st, err := tryAll(ctx, c, func(ctx context.Context, conn *grpc.ClientConn) (*pb.StatusResponse, error) {
		return pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	})
	if err != nil {
		m.Problem = "it does not answer: " + err.Error()
		return
	}
	if id := st.Header.GetMemberId(); id != m.ID {
		m.Problem = fmt.Sprintf("another member answers at its address, %x: this one has lost its disk", id)
		return
	}
	m.SizeBytes, m.InUseBytes, m.Version = st.DbSize, st.DbSizeInUse, st.Version
	m.Leader, m.Healthy = st.Leader == m.ID, st.Leader != 0
	m.Problem = strings.Join(st.Errors, "; ")
}

// Look fills in how each of members is, asking them all at once.
func Look(ctx context.Context, members []Member, files *TLS) {
	done := make(chan struct{})
	for i := range members {
		go func() {
			defer func() { done <- struct{}{} }()
			members[i].look(ctx, files)
		}()
	}
	for range members {
		<-done
	}
}

// Remove takes the member with this id out of the cluster for good. etcd refuses it when too few others run. A member that
// is gone already is no error.
func (c *Cluster) Remove(ctx context.Context, id uint64) error {
	_, err := tryAll(ctx, c, func(ctx context.Context, conn *grpc.ClientConn) (struct{}, error) {
		_, err := pb.NewClusterClient(conn).MemberRemove(ctx, &pb.MemberRemoveRequest{ID: id})
		if err != nil && strings.Contains(status.Convert(err).Message(), "member not found") {
			err = nil
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("etcd: remove member %x: %w", id, err)
	}
	return nil
}

// AddLearner adds a member without a vote and returns its id and all members. An unanswered request may have added one: then etcd refuses the
// next, as the address is taken.
func (c *Cluster) AddLearner(ctx context.Context, peerURLs []string) (uint64, []Member, error) {
	var errs []error
	for i, conn := range c.conns {
		bounded, cancel := context.WithTimeout(ctx, requestTimeout)
		r, err := pb.NewClusterClient(conn).MemberAdd(bounded, &pb.MemberAddRequest{PeerURLs: peerURLs, IsLearner: true})
		cancel()
		if err == nil {
			return r.Member.ID, known(r.Members), nil
		}
		errs = append(errs, fmt.Errorf("%s: %s", c.endpoints[i], status.Convert(err).Message()))
	}
	return 0, nil, fmt.Errorf("etcd: add a member: %w", errors.Join(errs...))
}

// Promote gives a learner its vote. etcd refuses as long as it has not caught up.
func (c *Cluster) Promote(ctx context.Context, id uint64) error {
	_, err := tryAll(ctx, c, func(ctx context.Context, conn *grpc.ClientConn) (struct{}, error) {
		_, err := pb.NewClusterClient(conn).MemberPromote(ctx, &pb.MemberPromoteRequest{ID: id})
		return struct{}{}, err
	})
	return err
}
