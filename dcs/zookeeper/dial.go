package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/internal/reach"
	"github.com/tanist-ha/tanist/internal/tlsfile"
)

const (
	// redialEvery bounds how far apart attempts to reach a server start, however long the ensemble has been away.
	redialEvery = 500 * time.Millisecond
	// retryPause is between attempts that fail at once, after all servers were tried.
	retryPause = 100 * time.Millisecond
	// dialBudget bounds one attempt from the first packet to the end of the TLS handshake.
	dialBudget = 5 * time.Second
	// silenceLimit is how long sent data may stay unacknowledged by the other kernel before the connection is given up.
	silenceLimit = 3 * time.Second
)

// TLS names PEM files. They are read at each connect, never kept.
type TLS struct {
	CAFile            string // authorities that the server's certificate must come from; "": the system's
	CertFile, KeyFile string // client certificate, and its key if that is not in the same file
	KeyPassword       string // of an encrypted key
	SkipVerify        bool   // the server may show any certificate
}

func (t TLS) load(host string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: t.SkipVerify} //nolint:gosec // the operator's choice
	var err error
	if t.CAFile != "" {
		if cfg.RootCAs, err = tlsfile.Pool(t.CAFile); err != nil {
			return nil, err
		}
	}
	if t.CertFile != "" {
		pair, err := tlsfile.Pair{CertFile: t.CertFile, KeyFile: t.KeyFile, Password: t.KeyPassword}.Load()
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// pool knows the servers, and which one to ask first.
type pool struct {
	tls      *TLS
	logger   *slog.Logger
	discover func(context.Context) ([]string, error)
	every    time.Duration

	mu      sync.Mutex
	servers []string
	next    int
	used    string    // server that was connected last
	asked   time.Time // when discover was
	trouble dialed    // what was wrong last, while nobody is connected
}

func newPool(cfg Config) *pool {
	p := &pool{tls: cfg.TLS, logger: cfg.Logger, discover: cfg.Discover, every: cfg.DiscoverEvery}
	if p.every == 0 {
		p.every = defaultDiscover
	}
	for _, h := range cfg.Hosts {
		hostport, _ := parseHost(h) // validated
		p.servers = append(p.servers, hostport)
	}
	if !cfg.InOrder {
		rand.Shuffle(len(p.servers), func(i, j int) { p.servers[i], p.servers[j] = p.servers[j], p.servers[i] })
	}
	return p
}

// learn asks for the list of servers if there is somebody to ask, and it is time.
func (p *pool) learn(ctx context.Context) error {
	p.mu.Lock()
	due := p.discover != nil && (len(p.servers) == 0 || time.Since(p.asked) >= p.every)
	p.mu.Unlock()
	if !due {
		return nil
	}
	hosts, err := p.discover(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if len(p.servers) == 0 {
			return err
		}
		p.logger.Warn("the list of ZooKeeper servers cannot be read; the last one stays in force", "error", err)
		p.asked = time.Now()
		return nil
	}
	var servers []string
	for _, h := range hosts {
		hostport, err := parseHost(h)
		if err != nil {
			return err
		}
		servers = append(servers, hostport)
	}
	if len(servers) == 0 {
		return errors.New("the list of ZooKeeper servers is empty")
	}
	p.servers, p.next, p.asked = servers, 0, time.Now()
	return nil
}

// choose returns the server of the n-th attempt.
func (p *pool) choose(n int) (server string, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.servers[(p.next+n)%len(p.servers)], len(p.servers)
}

// won makes server the one to ask first.
func (p *pool) won(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.point(server, 0)
	p.trouble = dialed{}
	if p.used != server {
		p.logger.Info("connected to ZooKeeper", "server", server, "before", p.used)
		p.used = server
	}
}

// failed notes what is wrong with a server.
func (p *pool) failed(server string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = dialed{server: server, err: err}
}

// complaint is what is known to those who have waited, for as long as ctx, for a connection that somebody else is making. Another session may have met it:
// no conclusion may be drawn from it, and only its text is passed on.
func (p *pool) complaint(ctx context.Context) (server string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trouble.err != nil {
		return p.trouble.server, fmt.Errorf("%v (%w)", p.trouble.err, context.Cause(ctx))
	}
	return "", reach.NoConnection(context.Cause(ctx))
}

// lost makes the server after this one the next to ask.
func (p *pool) lost(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.point(server, 1)
}

func (p *pool) point(server string, offset int) {
	for i, s := range p.servers {
		if s == server {
			p.next = (i + offset) % len(p.servers)
		}
	}
}

// dialed is the outcome of an attempt to connect.
type dialed struct {
	conn   net.Conn
	server string
	err    error
}

// dial connects to one of the servers: attempts begin at once after a failure and 500 ms after one that says nothing, until one succeeds
// or ctx ends. The error is then the last one that was met, other than for want of time.
func (p *pool) dial(ctx context.Context) (net.Conn, string, error) {
	if err := p.learn(ctx); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed)
	var last dialed
	timer := time.NewTimer(0) // begins the next attempt
	defer timer.Stop()
	for n := 0; ; {
		select {
		case <-timer.C:
			server, _ := p.choose(n)
			n++
			go func() { // ends with its attempt, which ends with ctx
				c, err := p.connect(ctx, server)
				select {
				case results <- dialed{c, server, err}:
				case <-ctx.Done():
					if c != nil {
						_ = c.Close()
					}
				}
			}()
			timer.Reset(redialEvery)
		case r := <-results:
			if r.err == nil {
				return r.conn, r.server, nil
			}
			if !cutOff(ctx, r.err) {
				p.failed(r.server, r.err)
				last = r
			}
			pause := time.Duration(0)
			if _, all := p.choose(n); n >= all {
				pause = retryPause
			}
			timer.Reset(pause)
		case <-ctx.Done():
			if last.err == nil {
				last = dialed{err: reach.NoConnection(context.Cause(ctx))}
				last.server, _ = p.choose(0)
			}
			return nil, last.server, last.err
		}
	}
}

// cutOff says whether an attempt failed because ctx was over, which says nothing of the server.
func cutOff(ctx context.Context, err error) bool {
	deadline, ok := ctx.Deadline()
	var t interface{ Timeout() bool }
	return ctx.Err() != nil || ok && !time.Now().Before(deadline) && errors.As(err, &t) && t.Timeout()
}

// connect makes one connection, TLS included. The kernel looks after it while it is idle, so that this process can sleep.
func (p *pool) connect(ctx context.Context, server string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialBudget)
	defer cancel()
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3},
		Control: func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silenceLimit.Milliseconds()))
			})
			return errors.Join(err, set)
		},
	}
	raw, err := d.DialContext(ctx, "tcp", server)
	if err != nil || p.tls == nil {
		return raw, err
	}
	host, _, _ := net.SplitHostPort(server)
	cfg, err := p.tls.load(host)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	secure := tls.Client(raw, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if errors.Is(err, io.EOF) {
			err = errNoTLS
		}
		return nil, tlsfile.Refusal(err, cfg)
	}
	return tlsfile.Telling(secure, cfg), nil
}
