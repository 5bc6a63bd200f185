package embedetcd_test

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/embedetcd/members"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testcert"
)

// secure describes n members that speak TLS to each other and to clients.
func secure(t testing.TB, n int) (configs []embedetcd.Config, ca *testcert.CA, files testcert.Files) {
	t.Helper()
	dir := t.TempDir()
	ca, err := testcert.New(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	if files, err = ca.Issue("member", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if configs, err = embedetcd.Local(n, dir, nil); err != nil {
		t.Fatal(err)
	}
	https := func(url string) string { return strings.Replace(url, "http:", "https:", 1) }
	var all []embedetcd.Peer
	for _, cfg := range configs {
		all = append(all, embedetcd.Peer{Name: cfg.Name, URL: https(cfg.PeerURLs[0])})
	}
	for i := range configs {
		cfg := &configs[i]
		cfg.ClientURLs, cfg.PeerURLs, cfg.InitialCluster = []string{https(cfg.ClientURLs[0])}, []string{https(cfg.PeerURLs[0])}, all
	}
	if err := configs[0].Validate(); err == nil || !strings.Contains(err.Error(), "https needs certificate and key") {
		t.Fatalf("https without certificates: %v", err)
	}
	withPassword := configs[0]
	withPassword.PeerURLs = []string{"https://u:secret@127.0.0.1:1"}
	if err := withPassword.Validate(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("an address with a password: %v", err)
	}
	for i := range configs {
		configs[i].ClientTLS = &embedetcd.TLS{CertFile: files.Cert, KeyFile: files.Key, CAFile: ca.File}
		configs[i].PeerTLS = configs[i].ClientTLS
	}
	return configs, ca, files
}

// TestTLS: members show certificates to each other, also those that found and that join, and clients show theirs. A renewed certificate is used without
// a restart; a stranger gets nowhere.
func TestTLS(t *testing.T) {
	servertest.Slow(t)
	configs, ca, files := secure(t, 3)
	servers := startAll(t, configs)
	address := strings.TrimPrefix(servers[0].Endpoints()[0], "https://")
	serial := func() string {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	if _, err := ca.Issue("member", "127.0.0.1"); err != nil { // in the same files
		t.Fatal(err)
	}
	if serial() == before {
		t.Error("the old certificate is still in use")
	}

	stop(t, servers[2])
	if err := os.RemoveAll(configs[2].DataDir); err != nil {
		t.Fatal(err)
	}
	startAll(t, configs[2:])
	put(t, open(t, etcd3.Config{Endpoints: servers[0].Endpoints(),
		TLS: &etcd3.TLS{CAFile: ca.File, CertFile: files.Cert, KeyFile: files.Key}}), "/k", "v")

	strangers, err := testcert.New(t.TempDir(), "strangers")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := strangers.Issue("stranger", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c, err := members.Open(servers[0].Endpoints(), &members.TLS{CertFile: stranger.Cert, KeyFile: stranger.Key, CAFile: ca.File})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if list, err := c.List(within(t, limit)); err == nil {
		t.Errorf("a stranger sees %v", list)
	}
}
