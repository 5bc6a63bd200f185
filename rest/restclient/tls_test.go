package restclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/rest"
)

// issued are the files of one certificate.
type issued struct{ cert, key string }

// newAuthority returns a function that issues certificates, and the authority's own file.
func newAuthority(t *testing.T) (issue func(address string) issued, ca string) {
	t.Helper()
	dir, serial := t.TempDir(), int64(1)
	file := func(name, kind string, der []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	template := func(ips ...net.IP) *x509.Certificate {
		serial++
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: ips,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	rootKey, root := newKey(), template()
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	return func(address string) issued {
		key, tmpl := newKey(), template(net.ParseIP(address))
		der, err := x509.CreateCertificate(rand.Reader, tmpl, root, key.Public(), rootKey)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		name := tmpl.SerialNumber.String()
		return issued{file(name+".pem", "CERTIFICATE", der), file(name+".key", "PRIVATE KEY", keyDER)}
	}, file("ca.pem", "CERTIFICATE", rootDER)
}

// Which servers are trusted, by Patroni's rules.
func TestWhoIsTrusted(t *testing.T) {
	issue, ca := newAuthority(t)
	issueOther, otherCA := newAuthority(t)
	own, client := issue("127.0.0.1"), issue("127.0.0.1")
	anotherName := issue("10.9.9.9")
	stranger := issueOther("127.0.0.1")
	for name, tc := range map[string]struct {
		server issued
		verify rest.Verify
		opt    Options
		ok     bool
	}{
		"tool":                             {own, rest.VerifyNone, Options{CACert: ca}, true},
		"tool, other authority":            {stranger, rest.VerifyNone, Options{CACert: ca}, false},
		"tool, other name":                 {anotherName, rest.VerifyNone, Options{CACert: ca}, false},
		"tool, insecure":                   {stranger, rest.VerifyNone, Options{Insecure: true}, true},
		"agent":                            {stranger, rest.VerifyNone, Options{Insecure: true, CACert: ca}, true},
		"agent with certificate":           {anotherName, rest.VerifyNone, Options{Insecure: true, CACert: ca, CertFile: client.cert, KeyFile: client.key}, true},
		"agent with certificate, stranger": {stranger, rest.VerifyNone, Options{Insecure: true, CACert: ca, CertFile: client.cert, KeyFile: client.key}, false},
		"certificate required":             {own, rest.VerifyRequired, Options{CACert: ca, CertFile: client.cert, KeyFile: client.key}, true},
		"certificate required, none":       {own, rest.VerifyRequired, Options{CACert: ca}, false},
		"certificate required, stranger":   {own, rest.VerifyRequired, Options{CACert: ca, CertFile: stranger.cert, KeyFile: stranger.key}, false},
		"authority of the other":           {stranger, rest.VerifyNone, Options{CACert: otherCA}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := rest.Listen(t.Context(), rest.ServerConfig{
				Listen: "127.0.0.1:0", TLS: rest.TLS{CertFile: tc.server.cert, KeyFile: tc.server.key, CAFile: ca, Verify: tc.verify},
				Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- s.Serve() }()
			defer func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if err := s.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			if _, ok := newClient(t, tc.opt).Alive(t.Context(), "https://"+s.Addrs()[0].String()+"/patroni"); ok != tc.ok {
				t.Errorf("reached: %v, want %v", ok, tc.ok)
			}
		})
	}
}

func TestBadCertificates(t *testing.T) {
	for _, opt := range []Options{{CACert: "/nonexistent"}, {CertFile: "/nonexistent"}} {
		if _, err := New(opt); err == nil {
			t.Errorf("%+v: no error", opt)
		}
	}
}
