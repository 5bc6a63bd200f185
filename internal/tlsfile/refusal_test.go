package tlsfile_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/testcert"
	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// TestRefusal: a server that refuses a client certificate says why as it likes; that ours has expired is added, whichever version of TLS is spoken, and
// nothing is added for another reason, or where nobody minds.
func TestRefusal(t *testing.T) {
	dir := t.TempDir()
	ca, err := testcert.New(dir, "ca")
	must(t, err)
	other, err := testcert.New(dir, "other")
	must(t, err)
	server, err := ca.Issue("server", "127.0.0.1")
	must(t, err)
	old, err := ca.Expired("old")
	must(t, err)
	strange, err := other.Issue("strange")
	must(t, err)
	roots, err := tlsfile.Pool(ca.File)
	must(t, err)
	pair := func(f testcert.Files) []tls.Certificate {
		p, err := tlsfile.Pair{CertFile: f.Cert, KeyFile: f.Key}.Load()
		must(t, err)
		return []tls.Certificate{p}
	}
	for name, c := range map[string]struct {
		own    testcert.Files
		asks   tls.ClientAuthType
		refuse bool
		says   bool
	}{
		"expired": {old, tls.RequireAndVerifyClientCert, true, true},
		"strange": {strange, tls.RequireAndVerifyClientCert, true, false},
		"no look": {old, tls.RequestClientCert, false, false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+"/"+tls.VersionName(version), func(t *testing.T) {
				l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: pair(server), ClientCAs: roots, ClientAuth: c.asks, MaxVersion: version})
				must(t, err)
				done := make(chan struct{})
				go func() {
					defer close(done)
					if conn, err := l.Accept(); err == nil {
						_, _ = conn.Write([]byte("x"))
						_ = conn.Close()
					}
				}()
				defer func() { _ = l.Close(); <-done }()
				raw, err := net.Dial("tcp", l.Addr().String())
				must(t, err)
				defer raw.Close()
				cfg := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: pair(c.own)}
				conn := tls.Client(raw, cfg)
				if err = tlsfile.Refusal(conn.Handshake(), cfg); err == nil {
					if n, failed := tlsfile.Telling(conn, cfg).Read(make([]byte, 1)); n == 0 {
						err = failed
					}
				}
				if (err != nil) != c.refuse {
					t.Fatal(err)
				}
				if says := err != nil && strings.Contains(err.Error(), tlsfile.ClientExpired+" on 2"); says != c.says {
					t.Errorf("it says %v", err)
				}
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
