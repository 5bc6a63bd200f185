package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ServerConfig is what a Server is made of.
type ServerConfig struct {
	// Listen is HOST:PORT. HOST may be a list with commas; "*" or "" is every address, of IPv4 and IPv6. An IPv6 address
	// stands in brackets.
	Listen  string
	TLS     TLS
	Handler http.Handler
	Logger  *slog.Logger
}

const (
	// headTimeout ends a connection that does not send its request's head; a silent one costs memory only until then.
	headTimeout = 10 * time.Second
	// bodyTimeout bounds the reading of a request.
	bodyTimeout = 30 * time.Second
	// answerTimeout bounds the writing of an answer; handlers that wait for the cluster extend it.
	answerTimeout = 30 * time.Second
	// idleTimeout ends a connection that waits for its next request.
	idleTimeout = 15 * time.Second
)

// Server serves a Handler as clients of Patroni expect it. Make it with Listen, run Serve, end it with Shutdown.
type Server struct {
	http      *http.Server
	listeners []net.Listener
	certs     *certificates // nil: plain HTTP
	cancel    context.CancelFunc
	served    chan error // what Serve has returned, if Start runs it; nil: the caller does
}

// Listen opens the addresses of cfg, so that a port in use is known before anything else starts.
func Listen(ctx context.Context, cfg ServerConfig) (*Server, error) {
	if cfg.Handler == nil || cfg.Logger == nil {
		return nil, errors.New("rest server: Handler or Logger is nil")
	}
	if err := cfg.TLS.validate(); err != nil {
		return nil, err
	}
	s := &Server{}
	if cfg.TLS.CertFile != "" {
		var err error
		if s.certs, err = newCertificates(cfg.TLS, cfg.Logger); err != nil {
			return nil, fmt.Errorf("TLS of the REST API: %w", err)
		}
	}
	if err := s.open(ctx, cfg.Listen); err != nil {
		s.close()
		return nil, err
	}
	base, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.http = &http.Server{
		Handler:           withTLSState(cfg.Handler),
		ReadHeaderTimeout: headTimeout, ReadTimeout: bodyTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes:               64 << 10,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is a health check too
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:                     slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
		Protocols:                    new(http.Protocols),
	}
	s.http.Protocols.SetHTTP1(true)
	return s, nil
}

// open listens on each address of list.
func (s *Server) open(ctx context.Context, list string) error {
	addresses, err := splitListen(list)
	if err != nil {
		return err
	}
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second}}
	for _, address := range addresses {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen for the REST API: %w (is another agent running, or is restapi.listen not an address of this machine?)", err)
		}
		if s.certs != nil {
			l = tls.NewListener(l, s.certs.config())
		}
		s.listeners = append(s.listeners, repairing{l})
	}
	return nil
}

// splitListen turns "host,host:port" into addresses.
func splitListen(list string) ([]string, error) {
	colon := strings.LastIndexByte(list, ':')
	if colon < 0 || strings.HasSuffix(list, "]") {
		return nil, fmt.Errorf("listen for the REST API: %q has no port, want HOST:PORT", list)
	}
	var out []string
	for host := range strings.SplitSeq(list[:colon], ",") {
		host = strings.Trim(strings.TrimSpace(host), "[]")
		if host == "*" {
			host = ""
		}
		out = append(out, net.JoinHostPort(host, list[colon+1:]))
	}
	return out, nil
}

// repairing wraps accepted connections. It does nothing that could block: a handshake waits for the first Read.
type repairing struct{ net.Listener }

// Accept implements net.Listener.
func (l repairing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &firstRequest{Conn: c}, nil
}

// connKey finds the connection in a request's context.
type connKey struct{}

// withTLSState fills in Request.TLS, which net/http does only for connections of type *tls.Conn.
func withTLSState(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*firstRequest); ok {
			if secure, ok := c.Conn.(*tls.Conn); ok {
				state := secure.ConnectionState()
				r.TLS = &state
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Addrs lists where the server listens.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Serve answers until Shutdown, and returns nil after it.
func (s *Server) Serve() error {
	results := make([]error, len(s.listeners))
	var all sync.WaitGroup
	for i, l := range s.listeners {
		all.Go(func() {
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				results[i] = fmt.Errorf("serve the REST API on %s: %w", l.Addr(), err)
			}
		})
	}
	all.Wait()
	return errors.Join(results...)
}

// ReloadCertificates reads the certificate files again if they have changed; handshakes do so by themselves, a little later.
func (s *Server) ReloadCertificates() error {
	if s.certs == nil {
		return nil
	}
	return s.certs.reload()
}

// Shutdown stops listening, ends requests that wait for the cluster, and waits for the others until ctx ends; then it
// closes their connections.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut the REST API down: %w", err), s.http.Close())
	}
	s.close()
	if s.served != nil {
		err = errors.Join(err, <-s.served)
	}
	return err
}

// close releases what Listen opened; listeners that are closed already stay so.
func (s *Server) close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.certs.stop()
}
