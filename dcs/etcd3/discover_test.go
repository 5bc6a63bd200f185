package etcd3_test

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// nameServer answers on a UDP port of this machine: SRV records by name, and 127.0.0.1 for each of their targets.
type nameServer struct {
	conn  net.PacketConn
	ended chan struct{}

	mu   sync.Mutex
	srv  map[string][]uint16 // ports, by name
	fail bool                // SERVFAIL to everything
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, ended: make(chan struct{}), srv: map[string][]uint16{}}
	go s.serve()
	t.Cleanup(func() { _ = conn.Close(); <-s.ended })
	return s
}

// resolver asks this server alone.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", s.conn.LocalAddr().String())
	}}
}

func (s *nameServer) set(name string, servers ...*etcdtest.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv[name] = nil
	for _, server := range servers {
		u, _ := url.Parse(server.Endpoint)
		port, _ := strconv.Atoi(u.Port())
		s.srv[name] = append(s.srv[name], uint16(port))
	}
}

// setFail makes it answer every question with SERVFAIL.
func (s *nameServer) setFail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = true
}

func (s *nameServer) serve() {
	defer close(s.ended)
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		s.answer(&m)
		if out, err := m.Pack(); err == nil {
			_, _ = s.conn.WriteTo(out, from)
		}
	}
}

func (s *nameServer) answer(m *dnsmessage.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := m.Questions[0]
	name := strings.ToLower(q.Name.String())
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true}
	m.Additionals = nil
	ports, known := s.srv[name]
	switch {
	case s.fail:
		m.RCode = dnsmessage.RCodeServerFailure
	case q.Type == dnsmessage.TypeSRV && known:
		for _, port := range ports {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.SRVResource{Priority: 1, Port: port, Target: dnsmessage.MustNewName("member.etcd.test.")},
			})
		}
	case q.Type == dnsmessage.TypeA && name == "member.etcd.test.":
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	case name != "member.etcd.test.":
		m.RCode = dnsmessage.RCodeNameError
	}
}

// TestSRV finds etcd by DNS: by the records for clients, with and without a suffix; it says so where there are none, and begins once there are;
// and it looks again when all that DNS had named are gone.
func TestSRV(t *testing.T) {
	servertest.Slow(t)
	dns := startNameServer(t)
	first, second := etcdtest.Start(t, etcdtest.Options{})[0], etcdtest.Start(t, etcdtest.Options{})[0]
	handle := func(suffix string) *etcd3.Backend {
		return open(t, etcd3.Config{SRV: "cluster.test", SRVSuffix: suffix, Resolver: dns.resolver()})
	}
	b := handle("")
	for ctx := within(t, limit); ; { // the end of the request may cut a look short, and then it says so
		_, err := b.Read(within(t, short), "/")
		wantError(t, err, dcs.ErrUnavailable, "")
		if strings.Contains(err.Error(), "domain cluster.test: ") && strings.Contains(err.Error(), "DNS knows no etcd in this domain") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("without records: %v", err)
		}
	}
	dns.set("_etcd-client._tcp.cluster.test.", first)
	dns.set("_etcd-client-blue._tcp.cluster.test.", second)
	put(t, b, "/k", "first", nil)
	put(t, handle("blue"), "/k", "second", nil)
	if e := get(t, b, "/k"); string(e.Value) != "first" {
		t.Errorf("with a suffix, the same servers were found")
	}
	first.Kill()
	dns.set("_etcd-client._tcp.cluster.test.", second)
	if e := get(t, b, "/k"); string(e.Value) != "second" {
		t.Errorf("the servers that DNS names now were not found: %+v", e)
	}
}

// TestSRVFailure: a name server that does not answer for the records of TLS is no reason to take those without.
func TestSRVFailure(t *testing.T) {
	dns := startNameServer(t)
	dns.setFail()
	b := open(t, etcd3.Config{SRV: "cluster.test", Resolver: dns.resolver()})
	_, err := b.Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, "")
	if strings.Contains(err.Error(), "DNS knows no etcd") {
		t.Errorf("a failure is taken for an answer: %v", err)
	}
}

// TestFollowMembers: an agent that was told of one member of three goes on when that one dies, and learns of one that replaces another.
func TestFollowMembers(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Members: 3})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)[:1], FollowMembers: true})
	x := session(t, b, 2*time.Second) // looks at once, and every 20 s
	put(t, b, "/k", "v", nil)
	// The look is over when the member that was told of may die.
	for known := 0; known < 3; {
		_, said, err := b.AskLegacy(within(t, limit), "/")
		if err != nil {
			t.Fatal(err)
		}
		known = len(said)
		if _, err := x.KeepAlive(within(t, limit)); err != nil {
			t.Fatal(err)
		}
	}
	servers[0].Kill()
	if e := get(t, b, "/k"); e == nil {
		t.Error("the key is missing")
	}
	other := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)[1:]})
	put(t, b, "/k", "w", nil)
	if r, err := other.Get(within(t, limit), "/k"); err != nil || string(r.Kvs[0].Value) != "w" {
		t.Errorf("another etcd was written to: %v, %v", r, err)
	}
}

// TestFollowNobodyElse: a member that says it is at an address where another etcd answers is not looked for there.
func TestFollowNobodyElse(t *testing.T) {
	servertest.Slow(t)
	stranger := etcdtest.Start(t, etcdtest.Options{})[0]
	server := etcdtest.Start(t, etcdtest.Options{Args: []string{"--advertise-client-urls", stranger.Endpoint}})[0]
	b := open(t, etcd3.Config{Endpoints: []string{server.Endpoint}, FollowMembers: true})
	x := session(t, b, 30*time.Second)
	for range 20 {
		if _, err := x.KeepAlive(within(t, limit)); err != nil {
			t.Fatal(err)
		}
	}
	if _, said, err := b.AskLegacy(within(t, limit), "/"); err != nil || len(said) != 1 {
		t.Errorf("the endpoints are %+v, %v", said, err)
	}
}

// TestSRVOverTLS: DNS names the servers of TLS first, and where it does, those without are not asked; the name in the record is the one that
// the certificate must bear.
func TestSRVOverTLS(t *testing.T) {
	servertest.Slow(t)
	dns := startNameServer(t)
	ca := authority(t, "ca")
	client := issue(t, ca, "client")
	files := &etcd3.TLS{CAFile: ca.File, CertFile: client.Cert, KeyFile: client.Key}
	start := func(name string, hosts ...string) *etcdtest.Server {
		return etcdtest.Start(t, etcdtest.Options{TLS: &servertest.TLS{CA: ca.File, Server: issue(t, ca, name, hosts...), Client: client}})[0]
	}
	secure, plain := start("server", "127.0.0.1", "member.etcd.test"), etcdtest.Start(t, etcdtest.Options{})[0]
	dns.set("_etcd-client-ssl._tcp.cluster.test.", secure)
	dns.set("_etcd-client._tcp.cluster.test.", plain)
	b := open(t, etcd3.Config{SRV: "cluster.test", Resolver: dns.resolver(), TLS: files})
	put(t, b, "/k", "v", nil)
	if get(t, open(t, etcd3.Config{Endpoints: []string{plain.Endpoint}}), "/k") != nil {
		t.Error("the server without TLS was written to")
	}
	if get(t, open(t, etcd3.Config{Endpoints: []string{secure.Endpoint}, TLS: files}), "/k") == nil {
		t.Error("the server that speaks TLS was not written to")
	}
	dns.set("_etcd-client-ssl-odd._tcp.cluster.test.", start("odd", "127.0.0.1"))
	odd := open(t, etcd3.Config{SRV: "cluster.test", SRVSuffix: "odd", Resolver: dns.resolver(), TLS: files})
	_, err := odd.Read(within(t, short), "/")
	wantError(t, err, dcs.ErrUnavailable, "the server's certificate does not name this address")
}
