package etcd3

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// all returns every endpoint.
func (p *pool) all(ctx context.Context) ([]*endpoint, error) {
	if err := p.located(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.order), nil
}

// located waits until there are endpoints: those that DNS names, where none are configured.
func (p *pool) located(ctx context.Context) error {
	if p.srv == nil || p.size() > 0 {
		return nil
	}
	select {
	case p.srv.asking <- struct{}{}:
		defer func() { <-p.srv.asking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for p.size() == 0 {
		found, err := p.srv.lookup(ctx)
		if err == nil {
			return p.give(found)
		}
		select {
		case <-time.After(redialEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// lookAgain asks DNS once more, unless somebody else does, or did a moment ago.
func (p *pool) lookAgain(ctx context.Context) {
	if p.srv == nil {
		return
	}
	select {
	case p.srv.asking <- struct{}{}:
		defer func() { <-p.srv.asking }()
	default:
		return
	}
	if !p.srv.due() {
		return
	}
	found, err := p.srv.lookup(ctx)
	if err == nil {
		err = p.give(found)
	}
	if err != nil {
		p.logger.Debug("etcd's endpoints were not learned from DNS", "error", err)
	}
}

// give makes given the endpoints that are kept whatever the members say.
func (p *pool) give(given []address) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fresh []*endpoint
	for _, a := range given {
		if p.find(a) != nil || slices.ContainsFunc(fresh, func(ep *endpoint) bool { return ep.address == a }) {
			continue
		}
		ep, err := p.newEndpoint(a)
		if err != nil {
			return err
		}
		fresh = append(fresh, ep)
	}
	p.add(fresh)
	p.given = given
	return nil
}

func (p *pool) newEndpoint(a address) (*endpoint, error) {
	conn, err := open(a, p.files, p.dialer)
	if err != nil {
		return nil, err
	}
	return &endpoint{address: a, name: a.String(), conn: conn}, nil
}

// add and find are called with mu held.
func (p *pool) add(fresh []*endpoint) {
	for _, ep := range fresh {
		p.order = append(p.order, ep)
		p.silent[ep] = make(chan struct{})
	}
}

func (p *pool) find(a address) *endpoint {
	if i := slices.IndexFunc(p.order, func(ep *endpoint) bool { return ep.address == a }); i >= 0 {
		return p.order[i]
	}
	return nil
}

// has says whether a is an endpoint.
func (p *pool) has(a address) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(a) != nil
}

// update takes fresh in, and drops the endpoints that are neither listed nor given. Requests that use one of those go on.
func (p *pool) update(listed []address, fresh []*endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ep := range fresh {
		p.logger.Info("etcd has another member", "endpoint", ep.name)
	}
	p.add(fresh)
	p.order = slices.DeleteFunc(p.order, func(ep *endpoint) bool {
		if slices.Contains(listed, ep.address) || slices.Contains(p.given, ep.address) {
			return false
		}
		p.logger.Info("a member has left etcd", "endpoint", ep.name)
		p.retired = append(p.retired, ep)
		return true
	})
}

// members is when etcd is asked for its members.
type members struct {
	follow bool

	mu     sync.Mutex
	asking bool
	next   time.Time
}

const (
	// membersEvery is the pause between two looks at the members, in TTLs of a session.
	membersEvery = 10
	// membersBudget bounds one look.
	membersBudget = 10 * time.Second
)

// followMembers looks at the members if it is time. It is called after a request of a session that succeeded, and does not wait.
func (b *Backend) followMembers(ttl time.Duration) {
	m := &b.members
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.follow || m.asking || time.Now().Before(m.next) {
		return
	}
	m.asking = true
	b.wg.Add(1) // inside a request, which holds one already
	go func() {
		defer b.wg.Done()
		ctx, cancel := context.WithTimeout(b.ctx, membersBudget)
		defer cancel()
		pause := membersEvery * ttl
		if err := b.lookAtMembers(ctx); err != nil {
			b.pool.logger.Debug("etcd's members were not learned", "error", err)
			pause = ttl
		}
		b.lookAtVersion(ctx)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.asking, m.next = false, time.Now().Add(pause)
	}()
}

// lookAtMembers asks DNS and etcd for endpoints. A member that is new here is believed to be where it says it is once it has answered there,
// as itself: clusters whose members advertise "localhost", or an address that leads elsewhere, are not rare.
func (b *Backend) lookAtMembers(ctx context.Context) error {
	b.pool.lookAgain(ctx)
	list := unary(pb.NewClusterClient, pb.ClusterClient.MemberList, &pb.MemberListRequest{})
	r, err := repeat(ctx, b, kind{op: "list members"}, heard(b, list))
	if err != nil {
		return err
	}
	var listed []address
	var fresh []*endpoint
	for _, m := range r.Members {
		for _, text := range m.ClientURLs {
			a, err := parseEndpoint(text, b.pool.files != nil)
			if err != nil || m.IsLearner {
				continue // it cannot be used, or serves no requests
			}
			listed = append(listed, a)
			if b.pool.has(a) || slices.ContainsFunc(fresh, func(ep *endpoint) bool { return ep.address == a }) {
				continue
			}
			ep, err := b.meet(ctx, a, r.Header.ClusterId, m.ID)
			if err != nil {
				b.pool.logger.Debug("a member of etcd was not found where it says it is", "endpoint", a.String(), "error", err)
				continue // at the next look
			}
			fresh = append(fresh, ep)
		}
	}
	b.pool.update(listed, fresh)
	return nil
}

var errNotThatMember = errors.New("another member, or another etcd, answers there")

// meet connects to a, and makes sure that the member answers there.
func (b *Backend) meet(ctx context.Context, a address, cluster, member uint64) (*endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, third(ctx))
	defer cancel()
	ep, err := b.pool.newEndpoint(a)
	if err != nil {
		return nil, err
	}
	if !connected(ctx, ep.conn, 0) {
		return nil, errors.Join(context.Cause(ctx), ep.conn.Close())
	}
	got := try(ctx, b.login, ep, unary(pb.NewClusterClient, pb.ClusterClient.MemberList, &pb.MemberListRequest{}))
	err = got.err
	if err == nil && (got.answer.Header.ClusterId != cluster || got.answer.Header.MemberId != member) {
		err = errNotThatMember
	}
	if err != nil {
		return nil, errors.Join(err, ep.conn.Close())
	}
	return ep, nil
}
