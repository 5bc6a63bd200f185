package etcd3

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// login holds the token that etcd gave for user and password. Tokens are known to all members; each may lose them.
type login struct {
	asking chan struct{} // capacity 1: held by the one who authenticates, as long as others wait for it

	mu             sync.Mutex
	user, password string
	token          string
	off            bool // the server said that it does not authenticate
}

func newLogin(user, password string) *login {
	return &login{user: user, password: password, asking: make(chan struct{}, 1)}
}

func (l *login) credentials() (user, password string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.user, l.password
}

// named says whether there is a user to authenticate as.
func (l *login) named() bool {
	user, _ := l.credentials()
	return user != ""
}

// change makes the next request authenticate anew.
func (l *login) change(user, password string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.user != user || l.password != password {
		l.user, l.password, l.token, l.off = user, password, "", false
	}
}

func (l *login) current() (token string, needed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.user != "" && l.token == "" && !l.off
}

// prepare returns ctx with what each request carries: the wish for a member with a leader, and the token.
func (l *login) prepare(ctx context.Context, conn grpc.ClientConnInterface) (context.Context, string, error) {
	token, needed := l.current()
	if needed {
		if err := l.renew(ctx, conn, ""); err != nil {
			return nil, "", err
		}
		token, _ = l.current()
	}
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
	}
	return ctx, token, nil
}

// renew gets another token in place of old, unless somebody else just did. Whoever does is waited for, but not for longer than patience: the
// member that it asks may be frozen, and ours not.
func (l *login) renew(ctx context.Context, conn grpc.ClientConnInterface, old string) error {
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	case <-time.After(patience):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	fresh, user, password := l.token != old, l.user, l.password
	l.mu.Unlock()
	if fresh || user == "" {
		return nil
	}
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	answer, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: user, Password: password})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.user != user || l.password != password {
		return err // they were changed meanwhile
	}
	if errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled) {
		l.token, l.off = "", true
		return nil
	}
	if err != nil {
		return err
	}
	l.token, l.off = answer.Token, false
	return nil
}
