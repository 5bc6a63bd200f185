package consul

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

// Config says where a Consul agent is and how to get in. URL is required; everything else has a useful zero value.
type Config struct {
	// URL of the agent's HTTP API: "http://host:port" or "https://host:port". A missing port is 8500 (8501 with https).
	URL string
	// Token of Consul's access control; "": none.
	Token string
	// Datacenter whose servers keep the keys; "": the agent's own.
	Datacenter string
	// TLS names the certificate files for https; nil: the system's roots, and no client certificate.
	TLS *TLS
	// Consistency of watches, which only say that something may have changed. Reads and writes do not depend on it: they are always
	// consistent.
	Consistency Consistency
	// Checks are names of health checks of the agent's node that a session ends with, long before its TTL, when one of them
	// becomes critical. None is the safe choice: not even Consul's own "serfHealth".
	Checks []string
	// SessionName is shown by Consul's tools, e.g. "scope-member".
	SessionName string
	// Logger gets one line when something is not as configured; nil: silence.
	Logger *slog.Logger
}

// Consistency is one of Consul's consistency modes.
type Consistency string

// The consistency modes of watches.
const (
	Default    Consistency = "default"    // the leader answers, without asking whether it still is
	Consistent Consistency = "consistent" // the leader asks the other servers first
	Stale      Consistency = "stale"      // any server answers
)

// TLS names PEM files. They are read at each handshake, never kept.
type TLS struct {
	CAFile            string // authorities that the server's certificate must come from; "": the system's
	CertFile, KeyFile string // client certificate, and its key if that is not in the same file
	ServerName        string // name that the server's certificate must carry; "": the URL's host
	Insecure          bool   // the server's certificate is not verified
}

const (
	plainPort  = "8500"
	securePort = "8501"
)

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	_, err := parseURL(c.URL)
	errs := []error{err}
	switch c.Consistency {
	case "", Default, Consistent, Stale:
	default:
		errs = append(errs, fmt.Errorf("consul: consistency %q: it is one of default, consistent, stale", c.Consistency))
	}
	if t := c.TLS; t != nil && t.CertFile == "" && t.KeyFile != "" {
		errs = append(errs, errors.New("consul: a key file is given without a client certificate"))
	}
	return errors.Join(errs...)
}

// parseURL returns the scheme and host:port of text.
func parseURL(text string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("consul: url %q: %s; write it as http://host:8500 or https://host:8501", redact.Address(text), why)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return bad("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("unknown scheme " + u.Scheme)
	case u.User != nil:
		return bad("user and password do not belong into the address")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return bad("a path has no meaning here")
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		if port = plainPort; u.Scheme == "https" {
			port = securePort
		}
	}
	if _, notIP := netip.ParseAddr(host); host == "" || strings.ContainsAny(host, " ,") || strings.Contains(host, ":") && notIP != nil {
		return bad("no host in it")
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(host, port)}, nil
}
