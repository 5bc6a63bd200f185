package consul_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
)

func TestServiceName(t *testing.T) {
	for scope, want := range map[string]string{
		"main": "main", "My_Cluster.1 a": "my-cluster-1-a", "käse": "ku0228se", "a/b": "au0047b", strings.Repeat("x", 300): strings.Repeat("x", 230),
	} {
		if got := (consul.Service{Scope: scope}).Name(); got != want {
			t.Errorf("%q: %q, want %q", scope, got, want)
		}
	}
}

// TestServiceInTheCatalog: the member is found by its role, checked by its health endpoint, follows its role, and is gone when it
// is taken away.
func TestServiceInTheCatalog(t *testing.T) {
	asked := make(chan string, 100)
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
	}))
	t.Cleanup(api.Close)
	srv := quick(t)
	b := open(t, consul.Config{URL: srv.URL})
	s := consul.Service{
		Scope: "my_main", Member: "a", Role: dcs.RolePrimary, ConnURL: "postgres://10.0.0.1:5433/postgres", APIURL: api.URL + "/patroni",
		Tags: []string{"blue"}, CheckInterval: time.Second, TTL: 30 * time.Second,
	}
	type found struct {
		ServiceID, ServiceAddress string
		ServicePort               int
		ServiceTags               []string
	}
	// shown waits until the catalog agrees: the agent tells the servers in its own time.
	shown := func(want ...found) {
		t.Helper()
		var got []found
		for ctx := within(t, limit); ctx.Err() == nil; <-time.After(50 * time.Millisecond) {
			if err := srv.Do(ctx, http.MethodGet, "/v1/catalog/service/my-main?consistent", nil, &got); err != nil {
				t.Fatal(err)
			}
			if cmp.Equal(want, got) || len(want)+len(got) == 0 {
				return
			}
		}
		t.Fatalf("want -, got +:\n%s", cmp.Diff(want, got))
	}
	wait := func(path string) {
		t.Helper()
		timeout := time.After(limit)
		for {
			select {
			case got := <-asked:
				if got == path {
					return
				}
			case <-timeout:
				t.Fatalf("the check does not ask %s", path)
			}
		}
	}
	for _, c := range []struct {
		role dcs.Role
		path string
		tags []string
	}{
		{dcs.RolePrimary, "/primary", []string{"blue", "primary", "master"}},
		{dcs.RoleStandbyLeader, "/standby-leader", []string{"blue", "standby-leader"}},
		{dcs.RoleReplica, "/replica", []string{"blue", "replica"}},
	} {
		s.Role = c.role
		if err := b.Register(within(t, limit), s); err != nil {
			t.Fatal(err)
		}
		shown(found{"my_main/a", "10.0.0.1", 5433, c.tags})
		wait(c.path)
	}
	var checks []struct {
		ServiceID  string
		Definition struct{ HTTP, Interval string }
	}
	if err := srv.Do(within(t, limit), http.MethodGet, "/v1/health/checks/my-main?consistent", nil, &checks); err != nil || len(checks) != 1 {
		t.Fatalf("checks %+v, %v", checks, err)
	}
	registered := func(want bool) {
		t.Helper()
		if got, err := b.Registered(within(t, limit), s); err != nil || got != want {
			t.Errorf("registered: %t, %v; want %t", got, err, want)
		}
	}
	registered(true)
	for range 2 {
		if err := b.Deregister(within(t, limit), s); err != nil {
			t.Fatal(err)
		}
		shown()
		registered(false)
	}
	byHand := map[string]any{"ID": s.ID(), "Name": s.Name(), "Address": "10.0.0.1", "Port": 5433}
	if err := srv.Do(within(t, limit), http.MethodPut, "/v1/agent/service/register", byHand, nil); err != nil {
		t.Fatal(err)
	}
	registered(false) // an operator's
	if bad := (consul.Service{ConnURL: "postgres://h/x"}); b.Register(within(t, limit), bad) == nil {
		t.Error("registered a service without a port")
	}
	if !slices.Equal(s.Tags, []string{"blue"}) {
		t.Errorf("the caller's tags became %v", s.Tags)
	}
}
