package etcd3

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/tanist-ha/tanist/internal/redact"
)

// Config says where the store is and how to get in. Endpoints or SRV are required; everything else has a useful zero value.
type Config struct {
	// Endpoints are the client addresses of the members: "http://host:port", "https://host:port" or "host:port", which
	// means https when TLS is given and http otherwise. A missing port is 2379.
	Endpoints []string
	// SRV is the domain whose DNS names the endpoints, instead of Endpoints: _etcd-client-ssl._tcp.DOMAIN (https), else
	// _etcd-client._tcp.DOMAIN, and the older _etcd-ssl and _etcd; SRVSuffix makes "_etcd-client-SUFFIX" of it.
	SRV, SRVSuffix string
	// FollowMembers adds the members that etcd itself lists to the endpoints, and drops those again when they leave: at the first
	// session, and every ten TTLs. Endpoints are never dropped. Not for endpoints that are proxies.
	FollowMembers bool
	// Resolver resolves SRV and the names of endpoints; nil: the system's.
	Resolver *net.Resolver
	// InOrder makes the first endpoint the first to be asked. The default is to begin anywhere, so that the
	// agents of a cluster spread over the members.
	InOrder bool
	// Username and Password for etcd's own authentication; both empty: none (or by client certificate).
	Username, Password string
	// TLS names the certificate files; nil: https endpoints are verified by the system's roots and see no client certificate.
	TLS *TLS
	// Logger gets one line when the endpoint in use changes or an answer is refused; nil: silence.
	Logger *slog.Logger
}

// TLS names PEM files. They are read at each handshake, never kept.
type TLS struct {
	CAFile            string // authorities that the server's certificate must come from; "": the system's
	CertFile, KeyFile string // client certificate, and its key if that is not in the same file
	ServerName        string // name that the server's certificate must carry; "": the endpoint's host
}

const defaultPort = "2379"

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if len(c.Endpoints) == 0 && c.SRV == "" {
		errs = append(errs, errors.New("etcd: no endpoint is given"))
	}
	if len(c.Endpoints) > 0 && c.SRV != "" {
		errs = append(errs, errors.New("etcd: endpoints are given, and a domain to find them by"))
	}
	for _, e := range c.Endpoints {
		if _, err := parseEndpoint(e, c.TLS != nil); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Username == "" && c.Password != "" {
		errs = append(errs, errors.New("etcd: a password is given without a user name"))
	}
	if c.Username != "" && c.Password == "" {
		errs = append(errs, errors.New("etcd: a user name is given without a password"))
	}
	if t := c.TLS; t != nil && t.CertFile == "" && t.KeyFile != "" {
		errs = append(errs, errors.New("etcd: a key file is given without a client certificate"))
	}
	return errors.Join(errs...)
}

// address is an endpoint, understood.
type address struct {
	hostport string
	secure   bool
}

func (a address) String() string {
	if a.secure {
		return "https://" + a.hostport
	}
	return "http://" + a.hostport
}

func parseEndpoint(text string, secureByDefault bool) (address, error) {
	bad := func(why string) (address, error) {
		return address{}, fmt.Errorf("etcd: endpoint %q: %s; write it as http://host:2379 or https://host:2379", redact.Address(text), why)
	}
	a := address{hostport: text, secure: secureByDefault}
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return bad("not a URL")
		case u.Scheme != "http" && u.Scheme != "https":
			return bad("unknown scheme " + u.Scheme)
		case u.User != nil:
			return bad("user and password do not belong into the address")
		case u.Path != "" && u.Path != "/":
			return bad("a path has no meaning here")
		}
		a = address{hostport: u.Host, secure: u.Scheme == "https"}
	}
	host, port, err := net.SplitHostPort(a.hostport)
	if err != nil {
		host, port = strings.Trim(a.hostport, "[]"), defaultPort
	}
	_, notIP := netip.ParseAddr(host)
	if host == "" || port == "" || strings.ContainsAny(host, "/ ,") || strings.Contains(host, ":") && notIP != nil {
		return bad("no host and port in it")
	}
	a.hostport = net.JoinHostPort(host, port)
	return a, nil
}
