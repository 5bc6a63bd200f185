package etcd3_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestLegacy looks for a cluster in the keyspace of version 2 (safety 11.3): on Debian's etcd 3.4 with and without version 2, on one that
// has none any more, and where it cannot be seen.
func TestLegacy(t *testing.T) {
	v2 := etcdtest.Start(t, etcdtest.Options{Args: []string{"--enable-v2"}})[0].Endpoint
	plain := etcdtest.Start(t, etcdtest.Options{})[0].Endpoint
	newest := embedded(t)
	putV2(t, v2, "/service/old/initialize", "7543210987654321001")
	putV2(t, v2, "/service/old/members/a", "{}")
	putV2(t, v2, "/service/empty/members/a", "{}")
	deleteV2(t, v2, "/service/empty/members/a")
	nobody := "http://" + servertest.FreeAddress(t)
	locked := answering(t, http.StatusUnauthorized, `{"message":"Insufficient credentials"}`)
	other := answering(t, http.StatusOK, "welcome")
	for name, c := range map[string]struct {
		endpoints []string
		scope     string
		want      etcd3.Legacy
	}{
		"a cluster":                       {[]string{v2}, "old", etcd3.LegacyFound},
		"a cluster, and who cannot tell":  {[]string{nobody, plain, v2}, "old", etcd3.LegacyFound},
		"another cluster":                 {[]string{v2}, "new", etcd3.LegacyAbsent},
		"one that was removed":            {[]string{v2}, "empty", etcd3.LegacyAbsent},
		"absent, said for all of them":    {[]string{v2, nobody}, "new", etcd3.LegacyAbsent},
		"version 2 is off":                {[]string{plain}, "old", etcd3.LegacyAbsent},
		"off here, and who knows there":   {[]string{plain, nobody}, "old", etcd3.LegacyUnknown},
		"no version 2 any more":           {[]string{newest}, "old", etcd3.LegacyAbsent},
		"no version 2 any more, and more": {[]string{newest, nobody}, "old", etcd3.LegacyAbsent},
		"nobody there":                    {[]string{nobody}, "old", etcd3.LegacyUnknown},
		"a password that is not taken":    {[]string{locked}, "old", etcd3.LegacyUnknown},
		"something else":                  {[]string{other}, "old", etcd3.LegacyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, etcd3.Config{Endpoints: c.endpoints})
			got, said, err := b.AskLegacy(within(t, limit), "/service/"+c.scope+"/")
			if err != nil || got != c.want || len(said) != len(c.endpoints) {
				t.Errorf("got %v, %v; want %v. They said %+v", got, err, c.want, said)
			}
		})
	}
}

// TestLegacyOverTLS: version 2 is asked with the certificates of version 3.
func TestLegacyOverTLS(t *testing.T) {
	ca := authority(t, "ca")
	client := issue(t, ca, "client")
	server := etcdtest.Start(t, etcdtest.Options{TLS: &servertest.TLS{CA: ca.File, Server: issue(t, ca, "server", "127.0.0.1"), Client: client}})[0]
	for want, tls := range map[etcd3.Legacy]*etcd3.TLS{
		etcd3.LegacyAbsent:  {CAFile: ca.File, CertFile: client.Cert, KeyFile: client.Key},
		etcd3.LegacyUnknown: {CAFile: ca.File},
	} {
		b := open(t, etcd3.Config{Endpoints: []string{server.Endpoint}, TLS: tls})
		if got, said, err := b.AskLegacy(within(t, limit), "/service/old/"); err != nil || got != want {
			t.Errorf("got %v, %v; want %v. It said %+v", got, err, want, said)
		}
	}
}

func embedded(t *testing.T) string {
	t.Helper()
	configs, err := embedetcd.Local(1, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	members, err := embedetcd.StartAll(within(t, limit), configs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = members[0].Stop(context.Background()) })
	return members[0].Endpoints()[0]
}

func answering(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func putV2(t *testing.T, endpoint, key, value string) {
	t.Helper()
	requestV2(t, http.MethodPut, endpoint, key, url.Values{"value": {value}}.Encode())
}

func deleteV2(t *testing.T, endpoint, key string) {
	t.Helper()
	requestV2(t, http.MethodDelete, endpoint, key, "")
}

func requestV2(t *testing.T, method, endpoint, key, form string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, limit), method, endpoint+"/v2/keys"+key, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, key, resp.Status)
	}
}
