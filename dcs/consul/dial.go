package consul

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tanist-ha/tanist/internal/tlsfile"
)

const (
	// dialBudget bounds one attempt to connect, to the end of the TLS handshake.
	dialBudget = 5 * time.Second
	// headerLimit bounds the header of an answer.
	headerLimit = 64 << 10
)

// newHTTP prepares connections to one agent. There is no proxy, no cookie, no redirection, and no environment variable that
// changes where requests go.
func newHTTP(base *url.URL, files *TLS) *http.Client {
	d := &net.Dialer{
		Timeout: dialBudget,
		// A host that is gone is noticed within six seconds, also while a watch waits.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3},
	}
	t := &http.Transport{
		DialContext: d.DialContext, MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: headerLimit,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
	}
	if base.Scheme == "https" {
		if files == nil {
			files = &TLS{}
		}
		t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			return files.dial(ctx, d, network, address)
		}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// dial connects with the certificates that the files hold now.
func (t *TLS) dial(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
	cfg, err := t.load(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFiles, err)
	}
	raw, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, cfg)
	bounded, cancel := context.WithTimeout(ctx, dialBudget)
	defer cancel()
	if err := conn.HandshakeContext(bounded); err != nil {
		_ = raw.Close()
		return nil, tlsfile.Refusal(err, cfg)
	}
	return tlsfile.Telling(conn, cfg), nil
}

func (t *TLS) load(address string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(address)
	}
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
