package zookeeper

import (
	"errors"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/reach"
	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// code is an error number of ZooKeeper (org.apache.zookeeper.KeeperException.Code).
type code int32

const (
	codeUnimplemented  code = -6
	codeNoNode         code = -101
	codeNoAuth         code = -102
	codeBadVersion     code = -103
	codeNodeExists     code = -110
	codeNotEmpty       code = -111
	codeSessionExpired code = -112
	codeInvalidACL     code = -114
	codeAuthFailed     code = -115
	codeSessionMoved   code = -118
	codeThrottled      code = -127
)

var codeNames = map[code]string{
	codeUnimplemented: "the server does not know this request", codeNoNode: "no such node", codeNoAuth: "not authorized",
	codeBadVersion: "the version has changed", codeNodeExists: "the node exists", codeNotEmpty: "the node has children",
	codeSessionExpired: "the session has expired", codeInvalidACL: "the access list is not valid", codeAuthFailed: "authentication failed",
	codeSessionMoved: "the session has moved to another server", codeThrottled: "the server is overloaded",
}

// Error says it in words.
func (c code) Error() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return "error " + strconv.Itoa(int(c))
}

// storeName is what errors call the store.
const storeName = "zookeeper"

// Errors of connections.
var (
	errClosed     = errors.New("the backend is closed")
	errSilent     = errors.New("the server does not answer")
	errNoTLS      = errors.New("the server closed the connection during the TLS handshake")
	errMute       = errors.New("the server accepts the connection and does not answer")
	errGarbage    = errors.New("what answers there does not speak ZooKeeper's protocol")
	errHungUp     = errors.New("the server closed the connection without an answer")
	errExpired    = errors.New("the session has expired")
	errReplaced   = errors.New("the connection was replaced")
	errNoTime     = errors.New("the proof that the session was prolonged takes a tick, and less time was left")
	errOtherStore = errors.New("the session is not known here, and it cannot be said that this is the store that granted it")
	errTooLarge   = errors.New("the request is larger than ZooKeeper takes (jute.maxbuffer, 1 MiB)")
)

// hints are what the operator can do about an error, found by what is in its text.
var hints = []struct{ text, hint string }{
	{codeNames[codeNoAuth], "other credentials own these nodes: check auth_data of the zookeeper section, and set_acls"},
	{codeNames[codeAuthFailed], "ZooKeeper refused the credentials: check auth_data of the zookeeper section"},
	{codeNames[codeInvalidACL], "check set_acls of the zookeeper section: a scheme that ZooKeeper does not know, or none that fits"},
	{codeNames[codeUnimplemented], "ZooKeeper 3.6 or newer is needed"},
	{"certificate signed by unknown authority", "the server's certificate does not come from the authority in cacert"},
	{"certificate is valid for", badServerName},
	{"is not valid for any names", badServerName},
	{"doesn't contain any IP SANs", badServerName},
	{"certificate has expired", "renew the certificate, or set the clock right"},
	{tlsfile.ClientExpired, oldClientCert},
	{"tls: expired certificate", oldClientCert}, // by the server's clock
	{"tls: certificate required", badClientCert},
	{"tls: bad certificate", badClientCert},
	{"tls: unknown certificate", badClientCert},
	{"tls: handshake failure", badClientCert},
	{errNoTLS.Error(), "the server does not speak TLS there: use its secureClientPort, or use_ssl: false"},
	{errGarbage.Error(), notZooKeeper},
	{errMute.Error(), "the server hangs, or " + notZooKeeper},
	{errHungUp.Error(), noWelcome},
	{"connection reset by peer", noWelcome},
	{"connection refused", "nothing listens there: is ZooKeeper running?"},
	{"no such host", "the name of the host is not known here"},
	{errSilent.Error(), "the server hangs, or what is sent to it is lost on the way"},
}

const (
	notZooKeeper  = "something else than ZooKeeper listens there, or it wants TLS: check hosts and use_ssl"
	noWelcome     = "no majority of the ensemble, too many connections (maxClientCnxns), or the port wants TLS (use_ssl)"
	badServerName = "the server's certificate does not name this host"
	oldClientCert = "renew the client certificate (cert and key of the zookeeper section), or set the clock right"
	badClientCert = "the server did not accept the client certificate: check cert and key of the zookeeper section"
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

// failed is the error of a request.
func failed(op, server string, class, err error) *dcs.StoreError {
	return &dcs.StoreError{Store: storeName, Op: op, Server: server, Class: class, Err: err, Hint: hint(err)}
}
