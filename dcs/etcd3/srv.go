package etcd3

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// srv finds endpoints by DNS, as RFC 2782 and etcd's discovery guide have it.
type srv struct {
	domain, suffix string
	resolver       *net.Resolver
	asking         chan struct{} // capacity 1: held by the one who asks

	mu   sync.Mutex
	last time.Time // when DNS was asked last
	err  error     // of that attempt
}

func newSRV(cfg Config) *srv {
	r := cfg.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	return &srv{domain: cfg.SRV, suffix: cfg.SRVSuffix, resolver: r, asking: make(chan struct{}, 1)}
}

// srvServices are the names that are looked up, in this order, until one is known: those of etcd, then those that it had before.
var srvServices = []struct {
	name   string
	secure bool
}{{"etcd-client-ssl", true}, {"etcd-client", false}, {"etcd-ssl", true}, {"etcd", false}}

var errNoSRV = errors.New("DNS knows no etcd in this domain")

// lookup returns the endpoints, by priority and weight of their records.
func (s *srv) lookup(ctx context.Context) ([]address, error) {
	var firstErr error
	for _, service := range srvServices {
		name := service.name
		if s.suffix != "" {
			name += "-" + s.suffix
		}
		_, records, err := s.resolver.LookupSRV(ctx, name, "tcp", s.domain)
		var dns *net.DNSError
		if err != nil && !(errors.As(err, &dns) && dns.IsNotFound) {
			// A name that could not be looked up may be the one that is there: the next must not take its place.
			return nil, s.failed(err)
		}
		var found []address
		for _, r := range records {
			host := strings.TrimSuffix(r.Target, ".")
			found = append(found, address{net.JoinHostPort(host, strconv.Itoa(int(r.Port))), service.secure})
		}
		if len(found) > 0 {
			return found, s.failed(nil)
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return nil, s.failed(errors.Join(errNoSRV, firstErr))
}

func (s *srv) failed(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.last = err, time.Now()
	return err
}

// srvPause is how long DNS is left alone after an answer.
const srvPause = 5 * time.Second

func (s *srv) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.last) > srvPause
}

// complaint says why no endpoint is known.
func (s *srv) complaint() (name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "domain " + s.domain, s.err
}
