package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Access says who may change something through the API. Reading is open to everyone, but for VerifyRequired, which the
// TLS handshake enforces.
type Access struct {
	Username, Password string // basic authentication; Username "": none
	// Allowlist names addresses, networks (CIDR) or hosts that may change something; empty: all may.
	Allowlist []string
	// AllowlistIncludeMembers adds the hosts of the members' api_url, and makes the list count though it is empty.
	AllowlistIncludeMembers bool
	Verify                  Verify
}

// Verify says what a client certificate is asked for.
type Verify string

// Kinds of verification.
const (
	VerifyNone     Verify = "none"     // also "": not asked
	VerifyOptional Verify = "optional" // asked of those who change something
	VerifyRequired Verify = "required" // asked of everyone, in the handshake
)

func (v Verify) clientAuth() (tls.ClientAuthType, error) {
	switch v {
	case "", VerifyNone:
		return tls.NoClientCert, nil
	case VerifyOptional:
		return tls.VerifyClientCertIfGiven, nil
	case VerifyRequired:
		return tls.RequireAndVerifyClientCert, nil
	}
	return 0, fmt.Errorf("verify_client %q is not none, optional or required", string(v))
}

// gate is Access, prepared.
type gate struct {
	Access
	networks []netip.Prefix
	hosts    []string // resolved when asked, so that a changed address counts
	resolver *net.Resolver
}

func newGate(a Access) (*gate, error) {
	g := &gate{Access: a, resolver: &net.Resolver{}}
	_, err := a.Verify.clientAuth()
	errs := []error{err}
	if a.Username == "" && a.Password != "" {
		errs = append(errs, errors.New("a password without a user name protects nothing: set authentication.username"))
	}
	for _, entry := range a.Allowlist {
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			g.networks = append(g.networks, prefix.Masked())
		} else if addr, err := netip.ParseAddr(entry); err == nil {
			g.networks = append(g.networks, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
		} else if entry == "" {
			errs = append(errs, errors.New("the allowlist has an empty entry"))
		} else {
			g.hosts = append(g.hosts, entry)
		}
	}
	return g, errors.Join(errs...)
}

// admit says whether the request may change something; if not, the answer has been given.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) bool {
	if !h.allowed(r) {
		text(w, http.StatusForbidden, "Access is denied")
		return false
	}
	asked := h.gate.Verify == VerifyOptional || h.gate.Verify == VerifyRequired
	if r.TLS != nil && asked && len(r.TLS.VerifiedChains) == 0 {
		text(w, http.StatusForbidden, "client certificate required")
		return false
	}
	if h.gate.Username == "" {
		return true
	}
	if r.Header.Get("Authorization") == "" {
		h.challenge(w, "no auth header received")
		return false
	}
	user, password, ok := r.BasicAuth()
	if !ok || !sameText(user, h.gate.Username) || !sameText(password, h.gate.Password) {
		h.challenge(w, "not authenticated")
		return false
	}
	return true
}

func (h *Handler) challenge(w http.ResponseWriter, why string) {
	w.Header().Set("WWW-Authenticate", `Basic realm="Patroni"`)
	text(w, http.StatusUnauthorized, why)
}

// sameText compares in a time that tells neither content nor length.
func sameText(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// resolveTimeout bounds the look-up of a name on the allow-list.
const resolveTimeout = 2 * time.Second

// allowed says whether the client's address is on the allow-list.
func (h *Handler) allowed(r *http.Request) bool {
	if len(h.gate.Allowlist) == 0 && !h.gate.AllowlistIncludeMembers {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	client := from.Addr().Unmap().WithZone("")
	for _, network := range h.gate.networks {
		if network.Contains(client) {
			return true
		}
	}
	hosts := h.gate.hosts
	if h.gate.AllowlistIncludeMembers {
		hosts = append([]string(nil), hosts...)
		for _, m := range h.status().Cluster.Members {
			if u, err := url.Parse(m.Data.APIURL); err == nil && u.Hostname() != "" {
				hosts = append(hosts, u.Hostname())
			}
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), resolveTimeout)
	defer cancel()
	for _, host := range hosts {
		if h.gate.hostHas(ctx, host, client) {
			return true
		}
	}
	return false
}

func (g *gate) hostHas(ctx context.Context, host string, client netip.Addr) bool {
	addresses, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if a.Unmap() == client {
			return true
		}
	}
	return false
}
