package etcd3_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testcert"
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

// TestTLS: both sides show certificates; what does not fit is an error that says where to look; renewed files are taken up.
func TestTLS(t *testing.T) {
	servertest.Slow(t)
	ca, stranger := authority(t, "ca"), authority(t, "stranger")
	client := issue(t, ca, "client")
	servers := etcdtest.Start(t, etcdtest.Options{TLS: &servertest.TLS{CA: ca.File, Server: issue(t, ca, "server", "127.0.0.1"), Client: client}})
	handle := func(tls *etcd3.TLS, endpoint string) *etcd3.Backend {
		return open(t, etcd3.Config{Endpoints: []string{endpoint}, TLS: tls})
	}
	good := &etcd3.TLS{CAFile: ca.File, CertFile: client.Cert, KeyFile: client.Key}
	put(t, handle(good, servers[0].Endpoint), "/k", "v", nil)
	bare := strings.TrimPrefix(servers[0].Endpoint, "https://")
	put(t, handle(good, bare), "/k", "v", nil)

	mine, theirs := issue(t, stranger, "client"), strings.Replace(servers[0].Endpoint, "127.0.0.1", "localhost", 1)
	for name, c := range map[string]struct {
		tls            *etcd3.TLS
		endpoint, hint string
	}{
		"wrong CA":            {&etcd3.TLS{CAFile: stranger.File, CertFile: client.Cert, KeyFile: client.Key}, servers[0].Endpoint, "the server's certificate does not come from the authority in cacert"},
		"another host":        {good, theirs, "the server's certificate does not name this address"},
		"no certificate":      {&etcd3.TLS{CAFile: ca.File}, servers[0].Endpoint, "the server did not accept the client certificate: check cert and key of the etcd section"},
		"strange cert":        {&etcd3.TLS{CAFile: ca.File, CertFile: mine.Cert, KeyFile: mine.Key}, servers[0].Endpoint, "the server did not accept the client certificate: check cert and key of the etcd section"},
		"http to https":       {nil, "http://" + bare, "the server may speak TLS (use https in the address), or be something else than etcd"},
		"file does not exist": {&etcd3.TLS{CAFile: ca.File + ".gone"}, servers[0].Endpoint, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := handle(c.tls, c.endpoint)
			_, err := b.Read(within(t, short/2), "/")
			wantError(t, err, dcs.ErrUnavailable, c.hint)
			_, err = b.Apply(within(t, short/2), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("w")}}})
			wantError(t, err, dcs.ErrUnavailable, c.hint)
		})
	}

	t.Run("renewed", func(t *testing.T) {
		own := issue(t, stranger, "renewed")
		b := handle(&etcd3.TLS{CAFile: ca.File, CertFile: own.Cert, KeyFile: own.Key}, servers[0].Endpoint)
		_, err := b.Read(within(t, short), "/")
		wantError(t, err, dcs.ErrUnavailable, "")
		replace(t, own.Key, client.Key)
		replace(t, own.Cert, client.Cert)
		if e := get(t, b, "/k"); e == nil {
			t.Fatal("the key is missing")
		}
	})
}

// replace puts the content of another file in place of file.
func replace(t *testing.T, file, by string) {
	t.Helper()
	raw, err := os.ReadFile(by)
	if err == nil {
		err = os.WriteFile(file+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPassword: etcd's own authentication, with tokens that expire and are lost.
func TestPassword(t *testing.T) {
	servertest.Slow(t)
	servers := etcdtest.Start(t, etcdtest.Options{Args: []string{"--auth-token-ttl=1"}})
	plain := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	user := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers), Username: "tanist", Password: "secret"})
	put(t, user, "/service/k", "v", nil) // without authentication on the server, the password is not asked for
	admin := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	enableAuth(t, admin, "tanist", "secret", "/service/")

	_, err := plain.Read(within(t, limit), "/service/")
	wantError(t, err, dcs.ErrUnavailable, "etcd asks for a user: set username and password in the etcd section")
	wrong := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers), Username: "tanist", Password: "guess"})
	_, err = wrong.Read(within(t, limit), "/service/")
	wantError(t, err, dcs.ErrUnavailable, "check username and password of the etcd section")
	_, err = wrong.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/service/k"}}})
	wantError(t, err, dcs.ErrUnavailable, "check username and password of the etcd section")
	_, err = wrong.Watch(within(t, limit), "/service/")
	wantError(t, err, dcs.ErrUnavailable, "check username and password of the etcd section")

	put(t, user, "/service/k", "w", nil)
	_, err = user.Read(within(t, limit), "/other/")
	wantError(t, err, dcs.ErrUnavailable, "grant the etcd user readwrite on the prefix of the namespace")
	_, err = user.Watch(within(t, limit), "/other/")
	wantError(t, err, dcs.ErrUnavailable, "")
	x := session(t, user, 30*time.Second)
	hints, err := user.Watch(within(t, limit), "/service/")
	if err != nil {
		t.Fatal(err)
	}
	v := put(t, user, "/service/leader", "a", x)
	for h := range hints {
		if h.Version == v {
			break
		}
	}
	tokensExpire(t)
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/service/leader", Session: x.ID()}}}); err != nil {
		t.Fatal(err)
	}
	servers[0].Kill() // tokens live in memory
	if err := servers[0].Restart(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	put(t, user, "/service/leader", "b", x)
	if _, err := x.KeepAlive(within(t, limit)); err != nil {
		t.Fatal(err)
	}
}

// tokensExpire lets the tokens' second pass, and some: no event stands for that.
func tokensExpire(t *testing.T) {
	t.Helper()
	<-time.After(2500 * time.Millisecond)
}

func enableAuth(t *testing.T, admin *clientv3.Client, user, password, prefix string) {
	t.Helper()
	ctx := within(t, limit)
	steps := []func(context.Context) error{
		func(ctx context.Context) error { _, err := admin.RoleAdd(ctx, "root"); return err },
		func(ctx context.Context) error { _, err := admin.UserAdd(ctx, "root", "root"); return err },
		func(ctx context.Context) error { _, err := admin.UserGrantRole(ctx, "root", "root"); return err },
		func(ctx context.Context) error { _, err := admin.RoleAdd(ctx, "tanist"); return err },
		func(ctx context.Context) error {
			_, err := admin.RoleGrantPermission(ctx, "tanist", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func(ctx context.Context) error { _, err := admin.UserAdd(ctx, user, password); return err },
		func(ctx context.Context) error { _, err := admin.UserGrantRole(ctx, user, "tanist"); return err },
		func(ctx context.Context) error { _, err := admin.AuthEnable(ctx); return err },
	}
	for i, step := range steps {
		if err := step(ctx); err != nil {
			t.Fatalf("step %d of enabling authentication: %v", i, err)
		}
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for want, cfg := range map[string]etcd3.Config{
		"no endpoint is given":                    {},
		"unknown scheme ftp":                      {Endpoints: []string{"ftp://h:1"}},
		"no host and port in it":                  {Endpoints: []string{"http://"}},
		"user and password do not belong":         {Endpoints: []string{"http://u:secret@h:1"}},
		"not a URL":                               {Endpoints: []string{"http://u:%secret@h:1"}},
		"no host and port in it; write":           {Endpoints: []string{"u:secret@h:1"}},
		"a password is given without a user name": {Endpoints: []string{"h"}, Password: "p"},
		"a user name is given without a password": {Endpoints: []string{"h"}, Username: "u"},
		"without a client certificate":            {Endpoints: []string{"h"}, TLS: &etcd3.TLS{KeyFile: "k"}},
	} {
		if _, err := etcd3.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is told: %v", err)
		}
	}
}
