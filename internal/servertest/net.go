package servertest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/faultproxy"
	"github.com/tanist-ha/tanist/internal/freeport"
	"github.com/tanist-ha/tanist/internal/testcert"
)

// FreeAddress is 127.0.0.1:PORT, where nothing listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	ports, err := freeport.Get(1)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
}

// Proxy puts a proxy before the server at address.
func Proxy(t testing.TB, address string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TLS makes a server speak TLS to clients and demand client certificates.
type TLS struct {
	CA             string         // file of the authority that client certificates must come from
	Server, Client testcert.Files // Client is what the test itself shows
}

// HTTPClient speaks to a server. A nil TLS is none.
func (t *TLS) HTTPClient() (*http.Client, error) {
	if t == nil {
		return &http.Client{Transport: &http.Transport{}}, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(t.Client.Cert, t.Client.Key)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}}, nil
}

// Count reads metrics in Prometheus's text format, and shows each sample of one of them to add: the values of its labels, by name, and its own.
func Count(metrics io.Reader, name string, add func(label func(string) string, n int)) error {
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		labels, ok := strings.CutPrefix(lines.Text(), name+"{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(labels, "} ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("read metric %s: %w", name, err)
		}
		add(func(label string) string {
			_, rest, _ := strings.Cut(labels, label+`="`)
			text, _, _ := strings.Cut(rest, `"`)
			return text
		}, int(n))
	}
	return lines.Err()
}
