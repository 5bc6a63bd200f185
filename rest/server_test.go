package rest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds what a test waits for; nothing is measured with it.
const patience = 20 * time.Second

// serve runs a server over handler for the length of the test.
func serve(t testing.TB, handler http.Handler, files TLS) *Server {
	t.Helper()
	s, err := Listen(t.Context(), ServerConfig{Listen: "127.0.0.1:0", TLS: files, Handler: handler, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // connections that a test leaves silent are closed at the end of ctx
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t testing.TB, s *Server, conf *tls.Config) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	var c net.Conn
	var err error
	if address := s.Addrs()[0].String(); conf == nil {
		c, err = d.Dial("tcp", address)
	} else {
		c, err = tls.DialWithDialer(&d, "tcp", address, conf)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// exchange sends raw text and returns all that comes back until the connection ends.
func exchange(t testing.TB, c net.Conn, parts ...string) string {
	t.Helper()
	for _, part := range parts {
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}

// The very bytes that load balancers send, and the very bytes that they get, in plain text and under TLS.
func TestRawRequests(t *testing.T) {
	const ok, no = "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 503 Service Unavailable\r\n\r\n"
	files, roots := newAuthority(t).server(t)
	for name, conf := range map[string]*tls.Config{"plain": nil, "TLS": {RootCAs: roots, ServerName: "127.0.0.1"}} {
		t.Run(name, func(t *testing.T) {
			files := files
			if conf == nil {
				files = TLS{}
			}
			lead, follow := serve(t, handlerFor(t, primary()), files), serve(t, handlerFor(t, replica()), files)
			for _, tc := range []struct{ request, lead, follow string }{
				{"OPTIONS OPTIONS/master HTTP/1.0\r\n\r\n", ok, no},
				{"OPTIONS OPTIONS/replica HTTP/1.0\r\n\r\n", no, ok},
				{"OPTIONS OPTIONS/leader HTTP/1.0\r\nX-Haproxy-Server-State: UP\r\n\r\n", ok, no},
				{"OPTIONS OPTIONS/health HTTP/1.0\r\n\r\n", ok, ok},
				{"OPTIONS OPTIONS/sync HTTP/1.0\r\n\r\n", no, no},
				{"OPTIONS /primary HTTP/1.0\r\n\r\n", ok, no},
				{"OPTIONS /primary HTTP/1.1\r\nHost: pg\r\n\r\n", ok, no},
				{"OPTIONS /primary HTTP/1.1\r\n\r\n", ok, no},
				{"OPTIONS /replica?lag=1MB HTTP/1.0\r\nConnection: close\r\n\r\n", no, ok},
				{"OPTIONS / HTTP/1.0\r\n\r\n", ok, no},
				{"OPTIONS * HTTP/1.0\r\n\r\n", no, no},
				{"HEAD / HTTP/1.0\r\n\r\n", ok, no},
				{"HEAD master HTTP/1.0\n\n", ok, no},
				{"HEAD http://pg:8008/primary HTTP/1.1\r\nhost: pg\r\n\r\n", ok, no},
				{"OPTIONS /liveness HTTP/1.0\r\n\r\n", ok, ok},
				{"OPTIONS /readiness HTTP/1.0\r\n\r\n", ok, ok},
				{"OPTIONS /patroni HTTP/1.0\r\n\r\n", no, no},
			} {
				if got := exchange(t, dial(t, lead, conf), tc.request); got != tc.lead {
					t.Errorf("%q to the leader: %q", tc.request, got)
				}
				if got := exchange(t, dial(t, follow, conf), tc.request); got != tc.follow {
					t.Errorf("%q to the replica: %q", tc.request, got)
				}
			}
			// In pieces, as a slow network delivers it.
			if got := exchange(t, dial(t, lead, conf), "OPT", "IONS OPTIONS/mas", "ter HTTP/1.0\r\n", "\r\n"); got != ok {
				t.Errorf("in pieces: %q", got)
			}
			for _, request := range []string{"GET primary HTTP/1.0\r\n\r\n", "GET /primary HTTP/1.1\r\n\r\n"} {
				got := exchange(t, dial(t, lead, conf), request)
				if !strings.HasPrefix(got, "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(got, "}") || !contains(got, "Content-Type: application/json\r\n") {
					t.Errorf("%q: %q", request, got)
				}
			}
		})
	}
}

func TestRepairLeavesTheRestAlone(t *testing.T) {
	for _, head := range []string{
		"", "\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /x HTTP/1.0\r\n\r\n", "GET  /two-blanks HTTP/1.0\r\n\r\n", "no end of line",
	} {
		if got := string(repair([]byte(head), true)); got != head {
			t.Errorf("%q became %q", head, got)
		}
	}
	// Half a head may still get its Host header.
	if got := string(repair([]byte("GET / HTTP/1.1\r\nX: y"), false)); got != "GET / HTTP/1.1\r\nX: y" {
		t.Errorf("half a head became %q", got)
	}
}

func FuzzRepair(f *testing.F) {
	f.Add([]byte("OPTIONS OPTIONS/master HTTP/1.0\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\nHost: x"))
	f.Fuzz(func(t *testing.T, head []byte) {
		before := len(head)
		if after := len(repair(head, true)); after != before && after != before+1 {
			t.Errorf("%d bytes became %d", before, after)
		}
	})
}

// What is not HTTP is turned away at once.
func TestNotHTTP(t *testing.T) {
	s := serve(t, handlerFor(t, primary()), TLS{})
	c := dial(t, s, nil)
	err := tls.Client(c, &tls.Config{ServerName: "127.0.0.1"}).Handshake()
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a TLS handshake with a server of plain HTTP: %v", err)
	}
}

// A head larger than the buffer is passed on whole.
func TestLongHead(t *testing.T) {
	s := serve(t, handlerFor(t, primary()), TLS{})
	request := "OPTIONS /primary HTTP/1.0\r\nX-Long: " + strings.Repeat("x", 3*maxHead) + "\r\n\r\n"
	if got := exchange(t, dial(t, s, nil), request); got != "HTTP/1.0 200 OK\r\n\r\n" {
		t.Errorf("%q", got)
	}
}

// Connections that say nothing, or stop in a handshake, must not keep others from being answered.
func TestSilentConnectionsDelayNobody(t *testing.T) {
	files, roots := newAuthority(t).server(t)
	for name, conf := range map[string]*tls.Config{"plain": nil, "TLS": {RootCAs: roots, ServerName: "127.0.0.1"}} {
		t.Run(name, func(t *testing.T) {
			files := files
			if conf == nil {
				files = TLS{}
			}
			s := serve(t, handlerFor(t, primary()), files)
			silent := 2000
			if testing.Short() {
				silent = 100
			}
			for i := range silent {
				c := dial(t, s, nil)
				if i%2 == 0 {
					if _, err := io.WriteString(c, "\x16\x03\x01"[:1+i%3]); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 10 {
				if got := exchange(t, dial(t, s, conf), "OPTIONS /primary HTTP/1.0\r\n\r\n"); got != "HTTP/1.0 200 OK\r\n\r\n" {
					t.Fatalf("%q", got)
				}
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	s := serve(t, handlerFor(t, primary()), TLS{})
	c := dial(t, s, nil)
	r := bufio.NewReader(c)
	for i := range 3 {
		if _, err := io.WriteString(c, "GET /primary HTTP/1.1\r\nHost: pg\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || !contains(string(body), `"name":"n1"`) {
			t.Fatalf("request %d: %d %s %v", i, resp.StatusCode, body, err)
		}
	}
}

// A client certificate is asked for as configured; the handler learns of it though net/http does not see the TLS layer.
func TestClientCertificates(t *testing.T) {
	authority := newAuthority(t)
	files, roots := authority.server(t)
	files.CAFile = authority.caFile
	client := authority.issue(t, "client")
	with := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{client}}
	without := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	stranger := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{newAuthority(t).issue(t, "x")}}
	const read, change = "GET /primary HTTP/1.0\r\n\r\n", "DELETE /switchover HTTP/1.0\r\n\r\n"
	for _, tc := range []struct {
		verify       Verify
		conf         *tls.Config
		read, change string // codes; "" is a refused handshake
	}{
		{VerifyNone, without, "200", "404"},
		{VerifyOptional, without, "200", "403"},
		{VerifyOptional, with, "200", "404"},
		{VerifyOptional, stranger, "", ""},
		{VerifyRequired, with, "200", "404"},
		{VerifyRequired, without, "", ""},
	} {
		files.Verify = tc.verify
		h := handlerFor(t, primary())
		h.gate.Verify = tc.verify
		s := serve(t, h, files)
		for request, want := range map[string]string{read: tc.read, change: tc.change} {
			got := tryTLS(t, s, tc.conf, request)
			if want == "" && got != "" || want != "" && !strings.HasPrefix(got, "HTTP/1.0 "+want) {
				t.Errorf("%s, %d certificates: %q answered %q, want %q", tc.verify, len(tc.conf.Certificates), request, got, want)
			}
		}
	}
}

// tryTLS returns "" if the server refuses the handshake, which under TLS 1.3 a client learns when it reads.
func tryTLS(t *testing.T, s *Server, conf *tls.Config, request string) string {
	t.Helper()
	c, err := tls.Dial("tcp", s.Addrs()[0].String(), conf)
	if err != nil {
		return ""
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(c) // what was read before an error is the answer
	return string(answer)
}

// A renewed certificate is served without a restart, a broken one is not.
func TestCertificateIsReadAgain(t *testing.T) {
	authority := newAuthority(t)
	files, roots := authority.server(t)
	s := serve(t, handlerFor(t, primary()), files)
	serial := func() string {
		c := dial(t, s, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}).(*tls.Conn)
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	writeFile(t, files.CertFile, []byte("half a file"))
	if err := s.ReloadCertificates(); err == nil {
		t.Error("a broken file was taken")
	}
	if got := serial(); got != first {
		t.Fatalf("serial %s after a broken file, want %s", got, first)
	}
	authority.write(t, "server", files.CertFile, files.KeyFile)
	later := time.Now().Add(recheck)
	s.certs.now = func() time.Time { later = later.Add(recheck); return later }
	for deadline := time.Now().Add(patience); serial() == first; {
		if time.Now().After(deadline) {
			t.Fatal("handshakes go on with the old certificate")
		}
	}
}

func TestListenAddresses(t *testing.T) {
	for list, want := range map[string][]string{
		"127.0.0.1:8008": {"127.0.0.1:8008"}, "*:8008": {":8008"}, ":8008": {":8008"}, "[::1]:8008": {"[::1]:8008"},
		"127.0.0.1,10.0.0.1:8008": {"127.0.0.1:8008", "10.0.0.1:8008"}, "localhost, [fd00::1]:0": {"localhost:0", "[fd00::1]:0"},
	} {
		got, err := splitListen(list)
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v %v, want %v", list, got, err, want)
		}
	}
	for _, list := range []string{"", "localhost", "[::1]"} {
		if got, err := splitListen(list); err == nil {
			t.Errorf("%q: %v", list, got)
		}
	}
}

// "*" is every address: both families where the machine has both.
func TestDualStack(t *testing.T) {
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6: ", err)
	}
	_ = probe.Close()
	s, err := Listen(t.Context(), ServerConfig{Listen: "*:0", Handler: handlerFor(t, primary()), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	_, port, _ := net.SplitHostPort(s.Addrs()[0].String())
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Error(err)
			continue
		}
		if got := exchange(t, c, "OPTIONS / HTTP/1.0\r\n\r\n"); got != "HTTP/1.0 200 OK\r\n\r\n" {
			t.Errorf("%s: %q", host, got)
		}
		_ = c.Close()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	h := handlerFor(t, primary())
	for want, cfg := range map[string]ServerConfig{
		"address already in use":     {Listen: taken.Addr().String(), Handler: h, Logger: quiet()},
		"has no port":                {Listen: "localhost", Handler: h, Logger: quiet()},
		"no such file":               {Listen: "127.0.0.1:0", TLS: TLS{CertFile: "/nonexistent/cert.pem"}, Handler: h, Logger: quiet()},
		"without certfile":           {Listen: "127.0.0.1:0", TLS: TLS{Verify: VerifyRequired}, Handler: h, Logger: quiet()},
		"none, optional or required": {Listen: "127.0.0.1:0", TLS: TLS{CertFile: "x", Verify: "maybe"}, Handler: h, Logger: quiet()},
		"Handler or Logger is nil":   {Listen: "127.0.0.1:0"},
	} {
		if s, err := Listen(t.Context(), cfg); err == nil || !contains(err.Error(), want) {
			t.Errorf("want %q, got %v (%v)", want, err, s)
		}
	}
}

// The end of the server ends long waits, and lets what is being answered be answered.
func TestShutdownEndsLongPolls(t *testing.T) {
	h := handlerFor(t, replica())
	begun := make(chan struct{})
	waits := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		h.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
	})
	s, err := Listen(t.Context(), ServerConfig{Listen: "127.0.0.1:0", Handler: waits, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	c := dial(t, s, nil)
	if _, err := io.WriteString(c, "GET /replica HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if answer, _ := io.ReadAll(c); !strings.HasPrefix(string(answer), "HTTP/1.0 200 OK") {
		t.Errorf("answer %q", answer)
	}
}
