package etcd3

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// transportCredentials returns what a connection to a needs.
func transportCredentials(a address, files *TLS) credentials.TransportCredentials {
	if !a.secure {
		return insecure.NewCredentials()
	}
	if files == nil {
		files = &TLS{}
	}
	return &freshTLS{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), files: *files}
}

// freshTLS is TLS whose certificates are read from their files at each handshake, so that renewing them needs no restart.
type freshTLS struct {
	credentials.TransportCredentials // of an empty configuration: tells gRPC what kind this is
	files                            TLS
}

func (f *freshTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, err := f.files.load()
	if err != nil {
		return nil, nil, err
	}
	conn, info, err := credentials.NewTLS(cfg).ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, tlsfile.Refusal(err, cfg)
	}
	return &tellingConn{Conn: tlsfile.Telling(conn, cfg), unreadable: make(chan struct{})}, info, nil
}

// tellingConn prefers the reason. In TLS 1.3 the client is done before the server has looked at its certificate; a refusal
// arrives as an alert to read, while a write may find the connection closed first, and its error says nothing.
type tellingConn struct {
	net.Conn
	once       sync.Once
	unreadable chan struct{} // closed when err is set
	err        error
}

// alertWait is how long a failed write waits for the reader to fail, too. Their order is a matter of microseconds.
const alertWait = 100 * time.Millisecond

func (c *tellingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() {
			c.err = err
			close(c.unreadable)
		})
	}
	return n, err
}

func (c *tellingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		select {
		case <-c.unreadable:
			err = c.err
		case <-time.After(alertWait):
		}
	}
	return n, err
}

func (f *freshTLS) Clone() credentials.TransportCredentials {
	return &freshTLS{TransportCredentials: f.TransportCredentials.Clone(), files: f.files}
}

func (t TLS) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	var err error
	if t.CAFile != "" {
		if cfg.RootCAs, err = tlsfile.Pool(t.CAFile); err != nil {
			return nil, err
		}
	}
	if t.CertFile != "" {
		pair, err := tlsfile.Pair{CertFile: t.CertFile, KeyFile: t.KeyFile}.Load()
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
