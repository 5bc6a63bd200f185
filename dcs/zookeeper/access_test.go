package zookeeper_test

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testcert"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestDigest: nodes that belong to a digest are closed to everybody else, who is told what to do.
func TestDigest(t *testing.T) {
	s := zktest.Start(t, zktest.Options{})[0]
	hash := sha1.Sum([]byte("tanist:secret"))
	acl := []zookeeper.ACL{{Scheme: "digest", ID: "tanist:" + base64.StdEncoding.EncodeToString(hash[:]), Perms: zookeeper.PermAll}}
	auth := func(credential string) []zookeeper.Auth {
		return []zookeeper.Auth{{Scheme: "digest", Credential: credential}}
	}
	b := open(t, zookeeper.Config{Hosts: []string{s.Addr}, ACL: acl, Auth: auth("tanist:secret")})
	x := session(t, b, 4*time.Second)
	put(t, b, "members/a", "{}", x)
	if get(t, b, "members/a") == nil {
		t.Fatal("the owner does not see his key")
	}
	const why = "other credentials own these nodes: check auth_data of the zookeeper section, and set_acls"
	for name, a := range map[string][]zookeeper.Auth{"none": nil, "wrong password": auth("tanist:other")} {
		t.Run(name, func(t *testing.T) {
			other := open(t, zookeeper.Config{Hosts: []string{s.Addr}, Auth: a})
			_, err := other.Read(within(t, limit), folder)
			wantError(t, err, dcs.ErrUnavailable, why)
			_, err = other.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: folder + "config", Value: []byte("{}")}}})
			wantError(t, err, dcs.ErrUnavailable, why)
		})
	}
	t.Run("unknown scheme", func(t *testing.T) {
		other := open(t, zookeeper.Config{Hosts: []string{s.Addr}, Auth: []zookeeper.Auth{{Scheme: "kerberos", Credential: "x"}}})
		_, err := other.Read(within(t, limit), folder)
		wantError(t, err, dcs.ErrUnavailable, "ZooKeeper refused the credentials: check auth_data of the zookeeper section")
	})
}

// TestTLS: with certificates on both sides, and each way in which they can be wrong.
func TestTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	dir := t.TempDir()
	ca, err := testcert.New(dir, "ca")
	must(t, err)
	other, err := testcert.New(dir, "other")
	must(t, err)
	server, err := ca.Issue("server", "127.0.0.1")
	must(t, err)
	client, err := ca.Issue("client")
	must(t, err)
	stranger, err := other.Issue("stranger")
	must(t, err)
	late, err := ca.Expired("late")
	must(t, err)
	s := zktest.Start(t, zktest.Options{TLS: &zktest.TLS{CA: ca.File, Server: server}})[0]
	good := zookeeper.TLS{CAFile: ca.File, CertFile: client.Cert, KeyFile: client.Key}

	b := open(t, zookeeper.Config{Hosts: []string{s.Secure}, TLS: &good})
	x := session(t, b, 4*time.Second)
	put(t, b, "leader", "a", x)
	put(t, b, "config", "{}", nil)
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: folder + "leader", Session: x.ID()}}}); err != nil {
		t.Fatal(err)
	}
	unverified := open(t, zookeeper.Config{Hosts: []string{s.Secure}, TLS: &zookeeper.TLS{CertFile: client.Cert, KeyFile: client.Key, SkipVerify: true}})
	if get(t, unverified, "leader") == nil {
		t.Fatal("verify: off does not see the key")
	}

	const badClient = "the server did not accept the client certificate: check cert and key of the zookeeper section"
	_, port, _ := net.SplitHostPort(s.Secure)
	for name, tc := range map[string]struct {
		at   string
		tls  *zookeeper.TLS
		hint string
	}{
		"wrong authority":   {s.Secure, &zookeeper.TLS{CAFile: other.File, CertFile: client.Cert, KeyFile: client.Key}, "the server's certificate does not come from the authority in cacert"},
		"name not in it":    {"localhost:" + port, &good, "the server's certificate does not name this host"},
		"no certificate":    {s.Secure, &zookeeper.TLS{CAFile: ca.File}, badClient},
		"not its authority": {s.Secure, &zookeeper.TLS{CAFile: ca.File, CertFile: stranger.Cert, KeyFile: stranger.Key}, badClient},
		"expired":           {s.Secure, &zookeeper.TLS{CAFile: ca.File, CertFile: late.Cert, KeyFile: late.Key}, "renew the client certificate (cert and key of the zookeeper section), or set the clock right"},
		"plain port":        {s.Addr, &good, "the server does not speak TLS there: use its secureClientPort, or use_ssl: false"},
		"without TLS":       {s.Secure, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, zookeeper.Config{Hosts: []string{tc.at}, TLS: tc.tls})
			_, err := b.Read(within(t, 2*short), folder)
			wantError(t, err, dcs.ErrUnavailable, tc.hint)
			if !strings.Contains(err.Error(), "(") || tc.tls == nil && !strings.Contains(err.Error(), "use_ssl") { // the server hangs up, or waits for more
				t.Fatalf("%v gives no hint", err)
			}
		})
	}
	t.Run("renewed", func(t *testing.T) {
		t.Parallel()
		files := testcert.Files{Cert: dir + "/renewed.crt", Key: dir + "/renewed.key"}
		install := func(from testcert.Files) {
			for to, from := range map[string]string{files.Cert: from.Cert, files.Key: from.Key} {
				raw, err := os.ReadFile(from)
				must(t, err)
				must(t, os.WriteFile(to, raw, 0o600))
			}
		}
		install(late)
		b := open(t, zookeeper.Config{Hosts: []string{s.Secure}, TLS: &zookeeper.TLS{CAFile: ca.File, CertFile: files.Cert, KeyFile: files.Key}})
		if _, err := b.Read(within(t, 2*short), folder); err == nil {
			t.Fatal("the expired certificate was accepted")
		}
		install(client)
		if get(t, b, "config") == nil {
			t.Fatal("the key is not seen with the new certificate")
		}
	})
	t.Run("expired server", func(t *testing.T) {
		t.Parallel()
		expired, err := ca.Expired("expired", "127.0.0.1")
		must(t, err)
		b := open(t, zookeeper.Config{Hosts: []string{greeterTLS(t, expired)}, TLS: &good})
		_, err = b.Read(within(t, short), folder)
		wantError(t, err, dcs.ErrUnavailable, "renew the certificate, or set the clock right")
	})
}

// greeterTLS listens with a certificate, and says nothing more. No client that looks at the certificate needs it to be ZooKeeper.
func greeterTLS(t *testing.T, files testcert.Files) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() })
		}
	})
	return l.Addr().String()
}

// TestNotZooKeeper: something else behind the port is found out, and named, without reading a length out of its first words.
func TestNotZooKeeper(t *testing.T) {
	servertest.Slow(t)
	const why = "something else than ZooKeeper listens there, or it wants TLS: check hosts and use_ssl"
	t.Run("waits for more", func(t *testing.T) {
		web := httptest.NewServer(http.NotFoundHandler())
		defer web.Close()
		etcd := etcdtest.Start(t, etcdtest.Options{})[0].Endpoint
		for _, address := range []string{web.Listener.Addr().String(), strings.TrimPrefix(etcd, "http://")} {
			b := open(t, zookeeper.Config{Hosts: []string{address}})
			_, err := b.Read(within(t, short), folder)
			wantError(t, err, dcs.ErrUnavailable, "the server hangs, or "+why)
		}
	})
	t.Run("talks first", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		}()
		b := open(t, zookeeper.Config{Hosts: []string{l.Addr().String()}})
		_, err = b.Read(within(t, short), folder)
		wantError(t, err, dcs.ErrUnavailable, why)
	})
}

// TestIPv6: addresses in brackets.
func TestIPv6(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	s := zktest.Start(t, zktest.Options{})[0]
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6:", err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", s.Addr)
			if err != nil {
				_ = c.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
			go func() { _, _ = io.Copy(c, to); _ = c.Close() }()
		}
	}()
	b := open(t, zookeeper.Config{Hosts: []string{l.Addr().String()}})
	put(t, b, "k", "v", nil)
}

// TestConfig: what cannot be right is said before anything is sent.
func TestConfig(t *testing.T) {
	for want, cfg := range map[string]zookeeper.Config{
		"zookeeper: no host is given": {Folder: "/s/m"},
		`zookeeper: host "xxxxx@a": no host and port in it; write it as host:2181`:                 {Hosts: []string{"u:secret@a"}, Folder: "/s/m"},
		`zookeeper: host "http://a": an address without a scheme is wanted; write it as host:2181`: {Hosts: []string{"http://a"}, Folder: "/s/m"},
		`zookeeper: host "a:": no host and port in it; write it as host:2181`:                      {Hosts: []string{"a:"}, Folder: "/s/m"},
		`zookeeper: folder "/": want an absolute path below the root`:                              {Hosts: []string{"a"}, Folder: "/"},
		"zookeeper: a key file is given without a client certificate":                              {Hosts: []string{"a"}, Folder: "/s/m", TLS: &zookeeper.TLS{KeyFile: "k"}},
	} {
		if _, err := zookeeper.New(cfg); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestExhibitor: the servers are those that Exhibitor names at the time of connecting; a host of Exhibitor that is away, or answers nonsense,
// is passed over, and while none answers the last list counts.
func TestExhibitor(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	servers := zktest.Start(t, zktest.Options{Members: 3})
	var now atomic.Pointer[zktest.Server]
	now.Store(servers[0])
	var asked atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/exhibitor/v1/cluster/list" || now.Load() == nil {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		_, port, _ := net.SplitHostPort(now.Load().Addr)
		fmt.Fprintf(w, `{"servers":["127.0.0.1"],"port":%s}`, port)
	}))
	defer web.Close()
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	// 127.0.0.2 is another address of this machine, where nothing listens at that port.
	e := zookeeper.Exhibitor{Hosts: []string{"127.0.0.2", u.Hostname()}, Port: port}
	b := open(t, zookeeper.Config{Discover: e.Servers, DiscoverEvery: time.Millisecond})
	put(t, b, "k", "v", nil)
	now.Store(servers[1])
	servers[0].Kill()
	if get(t, b, "k") == nil {
		t.Fatal("the list was not asked for again")
	}
	now.Store(nil)
	before := asked.Load()
	put(t, b, "k", "w", session(t, b, 4*time.Second)) // another connection
	if asked.Load() == before {
		t.Fatal("the list was not asked for")
	}
	fresh := open(t, zookeeper.Config{Discover: e.Servers})
	_, err = fresh.Read(within(t, short), folder)
	wantError(t, err, dcs.ErrUnavailable, "")
	if _, err := e.Servers(context.Background()); err == nil {
		t.Fatal("servers from nowhere")
	}
}
