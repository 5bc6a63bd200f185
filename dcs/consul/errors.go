package consul

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/reach"
	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// storeName is what errors call the store.
const storeName = "consul"

var (
	errNotConsul  = errors.New("the answer is none of Consul's")
	errFiltered   = errors.New("the token may not read all of it")
	errNoSession  = errors.New("the session has expired or was ended")
	errOtherStore = errors.New("another store answers than the one that granted the session")
	errTooLarge   = errors.New("the transaction is larger than Consul takes")
	errFiles      = errors.New("certificates cannot be used")
	errLockDelay  = errors.New("a key that was locked a moment ago may not be locked yet")
)

// verdict is what a failed attempt means for what to do next.
type verdict int

const (
	failed   verdict = iota // no answer, or none that says what has happened
	noEffect                // certainly nothing was changed; it may go better soon
	refused                 // certainly nothing was changed; the same request would be refused again
)

// judge sorts the answers that are no success. Only what Consul says before a change is proposed is taken for certain;
// everything else, timeouts and lost leadership above all, may have happened.
func judge(status int, text string) verdict {
	switch {
	case strings.Contains(text, "No cluster leader"), strings.Contains(text, "ate limit exceeded"), status == http.StatusTooManyRequests:
		return noEffect
	case status == http.StatusForbidden, status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge,
		status == http.StatusNotFound, status == http.StatusMethodNotAllowed,
		strings.Contains(text, "Permission denied"), strings.Contains(text, "ACL not found"),
		strings.Contains(text, "Invalid Session TTL"), strings.Contains(text, "No path to datacenter"):
		return refused
	case strings.Contains(text, "Missing node registration"), strings.Contains(text, "Missing check"), strings.Contains(text, "is in critical state"):
		return noEffect
	}
	return failed
}

// unfit says of an error of the connection that trying again would be of no use: certificates that do not fit, or another protocol.
func unfit(err error) bool {
	var verification *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &header) || errors.Is(err, errFiles) || strings.Contains(err.Error(), "remote error: tls:") ||
		strings.Contains(err.Error(), "malformed HTTP response") || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// hints are what the operator can do about an error, found by what is in its text.
var hints = []struct{ text, hint string }{
	{"ACL not found", "Consul does not know the token of the consul section"},
	{"anonymous token lacks permission", "set a token in the consul section that has key_prefix write on the namespace, and session_prefix write"},
	{"lacks permission", "the token needs key_prefix write on the namespace, and session_prefix write"},
	{"Permission denied", "the token needs key_prefix write on the namespace, and session_prefix write"},
	{errFiltered.Error(), "the token needs key_prefix write on the namespace"},
	{"No cluster leader", "Consul's servers have no leader: do most of them run, and can they reach each other?"},
	{"ate limit exceeded", "Consul limits the rate of requests: raise limits.request_limits or limits.rpc_rate"},
	{"No path to datacenter", "check dc in the consul section"},
	{"Missing check", "a check of `checks` in the consul section does not exist on the agent's node"},
	{"is in critical state", "a check of `checks` in the consul section is critical: no session can begin"},
	{"Missing node registration", "the agent's node is not in Consul's catalog: has it just started, or left?"},
	{errFiles.Error(), "check cacert, cert and key of the consul section"},
	{errTooLarge.Error(), "raise limits.txn_max_req_len on the servers"},
	{"txn_max_req_len", "raise limits.txn_max_req_len on the servers"},
	{"kv_max_value_size", "raise limits.kv_max_value_size on the servers"},
	{"is too large", "raise limits.kv_max_value_size on the servers"},
	{errNotConsul.Error(), "something else than Consul listens there"},
	{"malformed HTTP response", "something else than Consul listens there, or it speaks TLS: use https"},
	{"Client sent an HTTP request to an HTTPS server", "the agent speaks TLS: use https"},
	{"server gave HTTP response to HTTPS client", "the agent does not speak TLS: use http"},
	{"first record does not look like a TLS handshake", "the agent does not speak TLS: use http"},
	{"certificate signed by unknown authority", "the agent's certificate does not come from the authority in cacert"},
	{"certificate has expired or is not yet valid", "renew the certificate, or set the clock right"},
	{"certificate is valid for", badServerName},
	{"certificate is not valid for any names", badServerName},
	{"doesn't contain any IP SANs", badServerName},
	{tlsfile.ClientExpired, oldClientCert},
	{"tls: expired certificate", oldClientCert}, // by the server's clock
	{"tls: certificate required", badClientCert},
	{"tls: bad certificate", badClientCert},
	{"tls: unknown certificate", badClientCert}, // also "unknown certificate authority"
	{"connection refused", "nothing listens there: is the Consul agent running?"},
	{"no such host", "the name of the host is not known here"},
	{reach.ErrSilent.Error(), "the agent hangs, or what is sent to it is lost on the way"},
	{"EOF", hungUp},
	{"connection reset by peer", hungUp},
}

const (
	hungUp        = "the connection was closed without an answer: the agent is ending, or something else than Consul listens there"
	badServerName = "the agent's certificate does not name this address"
	oldClientCert = "renew the client certificate (cert and key of the consul section), or set the clock right"
	badClientCert = "the agent did not accept the client certificate: check cert and key of the consul section"
)

func hint(err error) string {
	if err == nil {
		return ""
	}
	for _, h := range hints {
		if strings.Contains(err.Error(), h.text) {
			return h.hint
		}
	}
	return reach.Hint(err)
}

// class is the class of a request without an answer.
func class(mayHaveHappened bool) error {
	if mayHaveHappened {
		return dcs.ErrUnknown
	}
	return dcs.ErrUnavailable
}
