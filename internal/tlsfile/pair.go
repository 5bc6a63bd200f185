package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Pair names the files of a certificate and its key.
type Pair struct {
	CertFile string
	KeyFile  string // "": the key is in CertFile
	Password string // of an encrypted key
}

// Load reads the pair.
func (p Pair) Load() (tls.Certificate, error) {
	certPEM, err := os.ReadFile(p.CertFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate: %w", err)
	}
	keyFile, keyPEM := p.CertFile, certPEM
	if p.KeyFile != "" {
		keyFile = p.KeyFile
		if keyPEM, err = os.ReadFile(keyFile); err != nil {
			return tls.Certificate{}, fmt.Errorf("read private key: %w", err)
		}
	}
	if keyPEM, err = plainKey(keyPEM, p.Password); err != nil {
		return tls.Certificate{}, fmt.Errorf("read private key %s: %w", keyFile, err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate %s and key %s: %w", p.CertFile, keyFile, err)
	}
	return cert, nil
}

// Pool reads the certificates of the authorities in file.
func Pool(file string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("read CA certificates: %s holds none in PEM form", file)
	}
	return pool, nil
}

// plainKey returns the first private key of raw as plain PEM, decrypting it if need be.
func plainKey(raw []byte, password string) ([]byte, error) {
	for rest := raw; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("no private key in PEM form found")
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			der, err := decryptPKCS8(block.Bytes, password)
			if err != nil {
				return nil, err
			}
			return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
		case block.Headers["DEK-Info"] != "":
			// The old OpenSSL form is weak, but it is what users have; they must be able to keep it.
			der, err := x509.DecryptPEMBlock(block, []byte(password)) //lint:ignore SA1019 see above
			if err != nil {
				return nil, fmt.Errorf("decrypt with the given password: %w", err)
			}
			return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
		case len(block.Type) >= 11 && block.Type[len(block.Type)-11:] == "PRIVATE KEY":
			return pem.EncodeToMemory(block), nil
		}
	}
}

// Stamp tells whether files have changed: sizes and times of all of them. A file that cannot be seen adds its error.
func Stamp(files ...string) string {
	var stamp []byte
	for _, f := range files {
		if f == "" {
			continue
		}
		info, err := os.Stat(f)
		if err != nil {
			stamp = fmt.Appendf(stamp, "%s: %v;", f, err)
			continue
		}
		stamp = fmt.Appendf(stamp, "%s: %d %d;", f, info.Size(), info.ModTime().UnixNano())
	}
	return string(stamp)
}

// Cached is a pair that is read again when its files have changed. It is safe for concurrent use.
type Cached struct {
	pair  Pair
	mu    sync.Mutex
	stamp string
	cert  tls.Certificate
}

// NewCached reads pair for the first time.
func NewCached(pair Pair) (*Cached, error) {
	c := &Cached{pair: pair, stamp: Stamp(pair.CertFile, pair.KeyFile)}
	var err error
	c.cert, err = pair.Load()
	return c, err
}

// Get returns the certificate. If the files changed and cannot be used, the last good one goes on.
func (c *Cached) Get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stamp := Stamp(c.pair.CertFile, c.pair.KeyFile); stamp != c.stamp {
		if cert, err := c.pair.Load(); err == nil {
			c.cert, c.stamp = cert, stamp
		}
	}
	cert := c.cert
	return &cert
}
