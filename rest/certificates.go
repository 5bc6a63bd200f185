package rest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// TLS names the files of the server's certificate. The zero value serves plain HTTP.
type TLS struct {
	CertFile        string // with the chain, and with the key if KeyFile is ""
	KeyFile         string
	KeyFilePassword string
	CAFile          string // of the authorities that sign client certificates; "": the system's
	Verify          Verify
}

// certificates hands out the TLS configuration, and reads the files again when they have changed.
type certificates struct {
	files   TLS
	logger  *slog.Logger
	now     func() time.Time
	current atomic.Pointer[tls.Config]
	checked atomic.Int64 // when the files were last looked at, Unix nanoseconds

	mu       sync.Mutex
	stamp    string
	checking sync.WaitGroup
	closed   atomic.Bool
}

// recheck is how often new connections have the files looked at, at most.
const recheck = time.Second

func newCertificates(files TLS, logger *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, logger: logger, now: time.Now}
	return c, c.reload()
}

// reload reads the files if they differ from those in use. On an error, those in use stay.
func (c *certificates) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp := tlsfile.Stamp(c.files.CertFile, c.files.KeyFile, c.files.CAFile)
	if stamp == c.stamp {
		return nil
	}
	cert, err := tlsfile.Pair{CertFile: c.files.CertFile, KeyFile: c.files.KeyFile, Password: c.files.KeyFilePassword}.Load()
	if err != nil {
		return err
	}
	auth, err := c.files.Verify.clientAuth()
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: auth, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if c.files.CAFile != "" {
		if conf.ClientCAs, err = tlsfile.Pool(c.files.CAFile); err != nil {
			return err
		}
	}
	first := c.current.Swap(conf) == nil
	c.stamp = stamp
	if !first {
		c.logger.Info("the certificate of the REST API was read again", "certfile", c.files.CertFile)
	}
	return nil
}

// config is what a listener uses. A handshake takes the configuration at hand and has the files looked at beside it: a disk
// that hangs must not stop health checks.
func (c *certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.look()
		return c.current.Load(), nil
	}}
}

func (c *certificates) look() {
	now, last := c.now().UnixNano(), c.checked.Load()
	if now-last < int64(recheck) || c.closed.Load() || !c.checked.CompareAndSwap(last, now) {
		return
	}
	c.checking.Go(func() {
		if err := c.reload(); err != nil {
			c.logger.Warn("the changed certificate of the REST API cannot be used, the old one goes on", "err", err)
		}
	})
}

// stop waits for what look has begun. No handshake may begin any more.
func (c *certificates) stop() {
	if c != nil {
		c.closed.Store(true)
		c.checking.Wait()
	}
}

// validate joins what is wrong with the combination of files.
func (t TLS) validate() error {
	var errs []error
	if t.CertFile == "" && (t.KeyFile != "" || t.Verify != "" && t.Verify != VerifyNone) {
		errs = append(errs, errors.New("keyfile or verify_client is set without certfile: the REST API would serve plain HTTP"))
	}
	if _, err := t.Verify.clientAuth(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("TLS of the REST API: %w", errors.Join(errs...))
	}
	return nil
}
