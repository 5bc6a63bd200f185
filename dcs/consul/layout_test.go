package consul_test

import (
	"net/http"
	"testing"

	"github.com/tanist-ha/tanist/dcs/consul"
	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/internal/consultest"
)

// TestLayout holds names (without the leading slash), values and sessions of a cluster's keys to Patroni's, as Consul's own interface shows them.
func TestLayout(t *testing.T) {
	s := quick(t)
	name := func(key string) string { return key[1:] }
	dcstest.Layout(t, open(t, consul.Config{URL: "http://" + s.Address}), name, func(t testing.TB, folder string) map[string]dcstest.Stored {
		var pairs []consultest.KV
		if err := s.Do(within(t, limit), http.MethodGet, "/v1/kv/"+name(folder)+"?recurse&consistent", nil, &pairs); err != nil {
			t.Fatal(err)
		}
		all := map[string]dcstest.Stored{}
		for _, kv := range pairs {
			all[kv.Key] = dcstest.Stored{Value: string(kv.Value), Bound: kv.Session != ""}
		}
		return all
	})
}
