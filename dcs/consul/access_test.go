package consul_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/internal/consultest"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testcert"
	"github.com/tanist-ha/tanist/internal/zktest"
)

func authority(t *testing.T, name string) *testcert.CA {
	t.Helper()
	ca, err := testcert.New(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *testcert.CA, name string, hosts ...string) testcert.Files {
	t.Helper()
	f, err := ca.Issue(name, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestTLS: both sides show certificates; what does not fit is one sentence that says where to look; renewed files are taken up.
func TestTLS(t *testing.T) {
	ca, stranger := authority(t, "ca"), authority(t, "stranger")
	client := issue(t, ca, "client")
	srv := consultest.Start(t, consultest.Options{TLS: &servertest.TLS{CA: ca.File, Server: issue(t, ca, "server", "127.0.0.1"), Client: client}})[0]
	good := &consul.TLS{CAFile: ca.File, CertFile: client.Cert, KeyFile: client.Key}
	put(t, open(t, consul.Config{URL: srv.URL, TLS: good}), "/k", "v", nil)
	put(t, open(t, consul.Config{URL: srv.URL, TLS: &consul.TLS{CertFile: client.Cert, KeyFile: client.Key, Insecure: true}}), "/k", "v", nil)

	mine := issue(t, stranger, "client")
	old, err := ca.Expired("old")
	if err != nil {
		t.Fatal(err)
	}
	const badClient = "the agent did not accept the client certificate: check cert and key of the consul section"
	for name, c := range map[string]struct {
		tls       *consul.TLS
		url, hint string
	}{
		"wrong CA":            {&consul.TLS{CAFile: stranger.File, CertFile: client.Cert, KeyFile: client.Key}, srv.URL, "the agent's certificate does not come from the authority in cacert"},
		"another host":        {good, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), "the agent's certificate does not name this address"},
		"no certificate":      {&consul.TLS{CAFile: ca.File}, srv.URL, badClient},
		"strange cert":        {&consul.TLS{CAFile: ca.File, CertFile: mine.Cert, KeyFile: mine.Key}, srv.URL, badClient},
		"expired cert":        {&consul.TLS{CAFile: ca.File, CertFile: old.Cert, KeyFile: old.Key}, srv.URL, "renew the client certificate (cert and key of the consul section), or set the clock right"},
		"http to https":       {nil, strings.Replace(srv.URL, "https", "http", 1), "the agent speaks TLS: use https"},
		"file does not exist": {&consul.TLS{CAFile: ca.File + ".gone"}, srv.URL, "check cacert, cert and key of the consul section"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, consul.Config{URL: c.url, TLS: c.tls}).Read(within(t, short), "/")
			wantError(t, err, dcs.ErrUnavailable, c.hint)
		})
	}
	t.Run("renewed", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		files := testcert.Files{Cert: dir + "/c.crt", Key: dir + "/c.key"}
		install := func(from testcert.Files) {
			for to, from := range map[string]string{files.Cert: from.Cert, files.Key: from.Key} {
				raw, err := os.ReadFile(from)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(to, raw, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		install(mine)
		b := open(t, consul.Config{URL: srv.URL, TLS: &consul.TLS{CAFile: ca.File, CertFile: files.Cert, KeyFile: files.Key}})
		_, err := b.Read(within(t, short), "/")
		wantError(t, err, dcs.ErrUnavailable, badClient)
		install(client)
		put(t, b, "/k", "v", nil)
	})
}

// TestUnreachable: who waits for a connection until the time is over is told where to, and what may be in the way.
func TestUnreachable(t *testing.T) {
	servertest.Slow(t)
	where := servertest.Unreachable(t)
	b := open(t, consul.Config{URL: "http://" + where})
	_, brief := b.Read(within(t, short), "/")
	_, patient := b.Apply(within(t, 6*time.Second), dcs.Txn{Do: []dcs.Write{{Key: "/k"}}}) // is one attempt, which is given up after 5 s
	for _, err := range []error{brief, patient} {
		wantError(t, err, dcs.ErrUnavailable, "is the host up and its address right, does a firewall drop what is sent to it, or does the server hang?")
		if !strings.Contains(err.Error(), where) {
			t.Errorf("%q does not say where", err)
		}
	}
}

// TestExpiredCertificate: the sentence of the other side is passed on.
func TestExpiredCertificate(t *testing.T) {
	ca := authority(t, "ca")
	expired, err := ca.Expired("server", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(expired.Cert, expired.Key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, err = open(t, consul.Config{URL: srv.URL, TLS: &consul.TLS{CAFile: ca.File}}).Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, "renew the certificate, or set the clock right")
}

// TestAccessControl: a token that may do what it must works; one that may not read does not make the store look empty.
func TestAccessControl(t *testing.T) {
	srv := consultest.Start(t, consultest.Options{Token: "6b1b1f0e-9d3c-4c5b-8f5e-0c2f3a4b5c6d"})[0]
	token := func(name, rules string) string {
		t.Helper()
		secret, err := srv.Token(within(t, limit), name, rules)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	const all = "key_prefix \"service/\" { policy = \"write\" }\nsession_prefix \"\" { policy = \"write\" }\n"
	secret := token("good", all)
	good := open(t, consul.Config{URL: srv.URL, Token: secret})
	x := session(t, good, time.Minute)
	put(t, good, "/service/main/leader", "a", x)
	if _, err := x.Confirm(within(t, limit), dcs.Txn{
		If: []dcs.Cond{{Key: "/service/main/leader", Session: x.ID(), Value: []byte("a")}, {Key: "/service/main/sync", Absent: true}},
		Do: []dcs.Write{{Key: "/service/main/status", Value: []byte("{}")}},
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, good, "/service/main/").Entries); n != 2 {
		t.Fatalf("%d keys", n)
	}

	const needs = "the token needs key_prefix write on the namespace, and session_prefix write"
	for name, c := range map[string]struct{ token, hint string }{
		"none":    {"", "set a token in the consul section that has key_prefix write on the namespace, and session_prefix write"},
		"unknown": {"00000000-9d3c-4c5b-8f5e-0c2f3a4b5c6d", "Consul does not know the token of the consul section"},
		"blind":   {token("blind", "session_prefix \"\" { policy = \"write\" }\n"), "the token needs key_prefix write on the namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, consul.Config{URL: srv.URL, Token: c.token})
			_, err := b.Read(within(t, limit), "/service/main/")
			wantError(t, err, dcs.ErrUnavailable, c.hint)
			_, err = b.Watch(within(t, limit), "/service/main/")
			wantError(t, err, dcs.ErrUnavailable, c.hint)
		})
	}
	reader := open(t, consul.Config{URL: srv.URL, Token: token("reader", "key_prefix \"service/\" { policy = \"read\" }\n")})
	read(t, reader, "/service/main/")
	_, err := reader.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/service/main/config", Value: []byte("{}")}}})
	wantError(t, err, dcs.ErrUnavailable, needs)
	_, err = reader.OpenSession(within(t, limit), time.Minute)
	wantError(t, err, dcs.ErrUnavailable, needs)
	reader.SetToken(secret)
	put(t, reader, "/service/main/config", "{}", nil)
}

// TestSomethingElseListens: whatever else is behind the port, nothing it says is taken for an empty store, a lost session or a
// write.
func TestSomethingElseListens(t *testing.T) {
	servertest.Slow(t)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	yes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>ok</html>") }))
	t.Cleanup(yes.Close)
	const elsewhere = "something else than Consul listens there"
	for name, c := range map[string]struct{ url, hint string }{
		"a web server":           {web.URL, elsewhere},
		"one that says yes":      {yes.URL, elsewhere},
		"etcd":                   {etcdtest.Start(t, etcdtest.Options{})[0].Endpoint, elsewhere},
		"ZooKeeper":              {"http://" + zktest.Start(t, zktest.Options{})[0].Addr, "the connection was closed without an answer: the agent is ending, or something else than Consul listens there"},
		"a server that says hi":  {"http://" + greeter(t), "something else than Consul listens there, or it speaks TLS: use https"},
		"nobody":                 {"http://" + servertest.FreeAddress(t), "nothing listens there: is the Consul agent running?"},
		"nobody on IPv6":         {"http://[::1]:1", "nothing listens there: is the Consul agent running?"},
		"a name that is unknown": {"http://consul.invalid:8500", "the name of the host is not known here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, consul.Config{URL: c.url})
			_, err := b.Read(within(t, short), "/service/main/")
			wantError(t, err, dcs.ErrUnavailable, c.hint)
			if strings.HasPrefix(name, "no") || strings.HasPrefix(name, "a name") {
				return // they take their time to fail
			}
			_, err = b.OpenSession(within(t, short), time.Minute)
			if err == nil {
				t.Fatal("opened a session")
			}
			_, err = b.Apply(within(t, short), dcs.Txn{Do: []dcs.Write{{Key: "/service/main/config", Value: []byte("{}")}}})
			if err == nil {
				t.Fatal("wrote")
			}
		})
	}
	srv := quick(t)
	_, err := open(t, consul.Config{URL: strings.Replace(srv.URL, "http", "https", 1)}).Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, "the agent does not speak TLS: use http")
	_, err = open(t, consul.Config{URL: srv.URL, Datacenter: "nowhere"}).Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, "check dc in the consul section")
}

// TestIPv6: an address in brackets.
func TestIPv6(t *testing.T) {
	to, err := url.Parse(quick(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6:", err)
	}
	srv := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(to))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	b := open(t, consul.Config{URL: srv.URL})
	put(t, b, "/k", "v", session(t, b, time.Minute))
	if e := get(t, b, "/k"); e == nil || string(e.Value) != "v" {
		t.Errorf("read back: %+v", e)
	}
}

// greeter is a server of another protocol.
func greeter(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]string{
		"http://h": "", "https://h:1": "", "http://[::1]:8500": "",
		"h:8500":              "unknown scheme h",
		"ftp://h":             "unknown scheme ftp",
		"http://a:secret@h":   "user and password do not belong into the address",
		"http://a:%secret@h":  "not a URL",
		"http://h?dc=secret":  "a path has no meaning here",
		"http://h/v1":         "a path has no meaning here",
		"http://":             "no host in it",
		"http://a,b:8500":     "no host in it",
		"http://h:8500:8500/": "not a URL",
	} {
		err := consul.Config{URL: text}.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is told: %v", err)
		}
	}
	if err := (consul.Config{URL: "http://h", Consistency: "strong", TLS: &consul.TLS{KeyFile: "k"}}).Validate(); err == nil ||
		!strings.Contains(err.Error(), "consistency") || !strings.Contains(err.Error(), "key file") {
		t.Errorf("got %v", err)
	}
}
