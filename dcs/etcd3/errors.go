package etcd3

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/reach"
	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// storeName is what errors call the store.
const storeName = "etcd"

// errBehind says that a member answered in a lower raft term than the store had reached before.
var errBehind = errors.New("the member is behind the others: its raft term is lower than one seen before")

// verdict is what the error of one attempt means for what to do next.
type verdict int

const (
	failed   verdict = iota // this endpoint could not; whether it had an effect is another question
	noEffect                // this endpoint could not, and certainly changed nothing
	refused                 // the store has answered, and every endpoint would say the same; nothing was changed
	veiled                  // likewise, though it may have been changed
	relogin                 // the token is missing, too old or unknown; nothing was changed
	lost                    // the lease does not exist; nothing was changed
)

// judge sorts the error of an attempt. Only answers that etcd gives before it proposes a change, or from applying it without effect,
// are taken for certain; whatever else arrives (timeouts above all) may have happened.
func judge(err error) verdict {
	switch cause := rpctypes.Error(err); {
	case errors.Is(cause, rpctypes.ErrLeaseNotFound):
		return lost
	case errors.Is(cause, rpctypes.ErrInvalidAuthToken), errors.Is(cause, rpctypes.ErrAuthOldRevision),
		errors.Is(cause, rpctypes.ErrUserEmpty):
		return relogin
	case errors.Is(cause, rpctypes.ErrNoLeader): // asked for by each request, and checked before it is looked at
		return noEffect
	case errors.Is(cause, rpctypes.ErrAuthFailed), errors.Is(cause, rpctypes.ErrPermissionDenied),
		errors.Is(cause, rpctypes.ErrRequestTooLarge), errors.Is(cause, rpctypes.ErrTooManyOps),
		errors.Is(cause, rpctypes.ErrDuplicateKey), errors.Is(cause, rpctypes.ErrEmptyKey),
		errors.Is(cause, rpctypes.ErrLeaseTTLTooLarge):
		return refused
	case errors.Is(cause, rpctypes.ErrNoSpace): // only changes are told; one that uses the quota up is applied, and told it too (etcd's issue 16659)
		return veiled
	case errors.Is(cause, rpctypes.ErrTooManyRequests), errors.Is(cause, rpctypes.ErrNotCapable):
		return noEffect
	}
	return failed
}

// hints are what the operator can do about an error, found by what is in its text: gRPC keeps no error of the connection below it.
var hints = []struct{ text, hint string }{
	{"invalid user ID or password", "check username and password of the etcd section"},
	{"user name is empty", "etcd asks for a user: set username and password in the etcd section"},
	{"etcdserver: permission denied", "grant the etcd user readwrite on the prefix of the namespace"},
	{"database space exceeded", "etcd's quota is used up: compact, defragment, then `etcdctl alarm disarm`"},
	{"certificate signed by unknown authority", "the server's certificate does not come from the authority in cacert"},
	{"certificate is valid for", badServerName},
	{"is not valid for any names", badServerName},
	{"doesn't contain any IP SANs", badServerName},
	{"certificate has expired", "renew the certificate, or set the clock right"},
	{tlsfile.ClientExpired, oldClientCert},
	{"tls: expired certificate", oldClientCert}, // by the server's clock
	{"tls: certificate required", badClientCert},
	{"tls: bad certificate", badClientCert},
	{"tls: unknown certificate", badClientCert}, // also "unknown certificate authority"
	{"first record does not look like a TLS handshake", "the server does not speak TLS: use http in the address"},
	{"error reading server preface: http2: frame too large", notEtcd},
	{"frame header looked like an HTTP/1.1 header", notEtcd},
	{"error reading server preface", maybeTLS},
	{"connection refused", "nothing listens there: is etcd running?"},
	{"no such host", "the name of the endpoint is not known here"},
	{"Error while dialing: context deadline exceeded", reach.Unreachable},
	{reach.ErrSilent.Error(), "the server hangs, or what is sent to it is lost on the way"},
}

const (
	notEtcd       = "something else than etcd listens there"
	maybeTLS      = "the server may speak TLS (use https in the address), or be something else than etcd"
	badServerName = "the server's certificate does not name this address"
	oldClientCert = "renew the client certificate (cert and key of the etcd section), or set the clock right"
	badClientCert = "the server did not accept the client certificate: check cert and key of the etcd section"
)

func hint(endpoint string, err error) string {
	if err == nil {
		return ""
	}
	for _, h := range hints {
		if strings.Contains(err.Error(), h.text) && (h.hint != maybeTLS || strings.HasPrefix(endpoint, "http:")) {
			return h.hint
		}
	}
	return reach.Hint(err)
}

// said is what people can do about an error, and the error as they read it.
func said(ctx context.Context, endpoint string, err error) (advice string, shown error) {
	shown = plain(ctx, err)
	return cmp.Or(hint(endpoint, err), hint(endpoint, shown)), shown
}

// plain strips gRPC's wrapping from an error, for people, and puts the context's error where it ended the request.
func plain(ctx context.Context, err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	if ctx.Err() != nil && (s.Code() == codes.DeadlineExceeded || s.Code() == codes.Canceled) {
		return reach.NoAnswer(context.Cause(ctx))
	}
	if etcd := rpctypes.Error(err); etcd != err {
		return etcd
	}
	text := s.Message()
	if i := strings.LastIndex(text, "desc = "); i >= 0 {
		text = text[i+len("desc = "):]
	}
	return &remoteError{text: strings.Trim(text, `"`), err: err}
}

// remoteError shows the text of a gRPC error and keeps the error.
type remoteError struct {
	text string
	err  error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.err }

// classOf chooses the class of a request that ended without an answer.
func classOf(mayHaveHappened bool) error {
	if mayHaveHappened {
		return dcs.ErrUnknown
	}
	return dcs.ErrUnavailable
}
