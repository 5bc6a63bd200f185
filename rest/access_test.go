package rest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/rest/resttest"
)

func TestAccess(t *testing.T) {
	const from = "10.0.0.5:40000"
	type request struct {
		remote         string
		user, password string
		tls            *tls.ConnectionState
	}
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}
	login := Access{Username: "admin", Password: "secret"}
	for name, tc := range map[string]struct {
		access  Access
		request request
		code    int
		text    string
	}{
		"open":                    {Access{}, request{}, 404, "no switchover is scheduled"},
		"no password":             {login, request{}, 401, "no auth header received"},
		"wrong password":          {login, request{user: "admin", password: "Secret"}, 401, "not authenticated"},
		"wrong user":              {login, request{user: "root", password: "secret"}, 401, "not authenticated"},
		"right password":          {login, request{user: "admin", password: "secret"}, 404, "no switchover is scheduled"},
		"not on the list":         {Access{Allowlist: []string{"10.0.0.4", "10.1.0.0/16"}}, request{}, 403, "Access is denied"},
		"address on the list":     {Access{Allowlist: []string{"10.0.0.5"}}, request{}, 404, "no switchover is scheduled"},
		"network on the list":     {Access{Allowlist: []string{"10.0.0.0/24"}}, request{}, 404, "no switchover is scheduled"},
		"host on the list":        {Access{Allowlist: []string{"localhost"}}, request{remote: "127.0.0.1:1"}, 404, "no switchover is scheduled"},
		"IPv4 in IPv6":            {Access{Allowlist: []string{"10.0.0.5"}}, request{remote: "[::ffff:10.0.0.5]:1"}, 404, "no switchover is scheduled"},
		"IPv6":                    {Access{Allowlist: []string{"fd00::/8"}}, request{remote: "[fd00::1]:1"}, 404, "no switchover is scheduled"},
		"a member":                {Access{AllowlistIncludeMembers: true}, request{remote: "10.0.0.7:1"}, 404, "no switchover is scheduled"},
		"not a member":            {Access{AllowlistIncludeMembers: true}, request{}, 403, "Access is denied"},
		"list before password":    {Access{Username: "admin", Password: "secret", Allowlist: []string{"10.0.0.4"}}, request{user: "admin", password: "secret"}, 403, "Access is denied"},
		"certificate missing":     {Access{Verify: VerifyOptional}, request{tls: &tls.ConnectionState{}}, 403, "client certificate required"},
		"certificate there":       {Access{Verify: VerifyOptional}, request{tls: verified}, 404, "no switchover is scheduled"},
		"certificate, no TLS":     {Access{Verify: VerifyOptional}, request{}, 404, "no switchover is scheduled"},
		"certificate no password": {Access{Username: "a", Password: "b", Verify: VerifyRequired}, request{tls: verified}, 401, "no auth header received"},
	} {
		t.Run(name, func(t *testing.T) {
			st := with(primary(), func(st *ha.Status) {
				st.Cluster.Members = []dcs.Member{{Name: "n2", Data: dcs.MemberData{APIURL: "http://10.0.0.7:8008/patroni"}}}
			})
			cfg := testConfig(resttest.NewNode(now, st), resttest.NewStore(st.Cluster))
			cfg.Access = tc.access
			h := newHandler(t, cfg)
			r := httptest.NewRequest("DELETE", "/switchover", nil)
			if r.RemoteAddr = from; tc.request.remote != "" {
				r.RemoteAddr = tc.request.remote
			}
			if r.TLS = tc.request.tls; tc.request.user != "" {
				r.SetBasicAuth(tc.request.user, tc.request.password)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.code || w.Body.String() != tc.text {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.text)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (challenge == `Basic realm="Patroni"`) != (tc.code == 401) {
				t.Errorf("challenge %q", challenge)
			}
			if got := ask(h, "GET", "/primary", "").Code; got != http.StatusOK {
				t.Errorf("reading: %d", got)
			}
		})
	}
}

// Everything that changes something is guarded; nothing that reads is.
func TestRoutesAreGuarded(t *testing.T) {
	for _, r := range routeTable() {
		reads := r.method == "GET" || r.method == "HEAD" || r.method == "OPTIONS"
		if r.guarded == reads && r.name != "failsafe" {
			t.Errorf("%s /%s: guarded %v", r.method, r.name, r.guarded)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, tc := range []struct{ tokens, want string }{
		{"", "tanist/0.1.0 Patroni/4.1.4"}, {"original", "tanist/0.1.0 Patroni/4.1.4"}, {"minimal", "Patroni/4.1.4"}, {"productonly", "Patroni"},
	} {
		cfg := testConfig(resttest.NewNode(now, primary()), resttest.NewStore(dcs.Cluster{}))
		cfg.ServerTokens = tc.tokens
		cfg.HTTPHeaders = map[string]string{"x-frame-options": "SAMEORIGIN"}
		cfg.HTTPSHeaders = map[string]string{"Strict-Transport-Security": "max-age=31536000"}
		h := newHandler(t, cfg)
		plain := ask(h, "GET", "/primary", "").Header()
		if plain.Get("Server") != tc.want || plain.Get("X-Frame-Options") != "SAMEORIGIN" || plain.Get("Strict-Transport-Security") != "" {
			t.Errorf("%q: plain %v", tc.tokens, plain)
		}
		r := httptest.NewRequest("GET", "https://x/primary", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if secure := w.Header(); secure.Get("X-Frame-Options") == "" || secure.Get("Strict-Transport-Security") == "" {
			t.Errorf("%q: secure %v", tc.tokens, secure)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	_, err := NewHandler(Config{
		ServerTokens: "loud",
		Access:       Access{Password: "secret", Allowlist: []string{""}, Verify: "perhaps"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Node is nil", "Store is nil", "ServerTokens", "verify_client", "authentication.username", "allowlist"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("the password is told")
	}
}
