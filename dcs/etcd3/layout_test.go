package etcd3_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/tanist-ha/tanist/dcs/dcstest"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// TestLayout holds names, values and leases of a cluster's keys to Patroni's, as etcd's own HTTP interface shows them.
func TestLayout(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	dcstest.Layout(t, open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)}), nil, func(t testing.TB, folder string) map[string]dcstest.Stored {
		end := []byte(folder)
		end[len(end)-1]++
		question, err := json.Marshal(map[string][]byte{"key": []byte(folder), "range_end": end})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.Post(servers[0].Endpoint+"/v3/kv/range", "application/json", bytes.NewReader(question))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		var answer struct {
			KVs []struct {
				Key, Value []byte
				Lease      string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		all := map[string]dcstest.Stored{}
		for _, kv := range answer.KVs {
			all[string(kv.Key)] = dcstest.Stored{Value: string(kv.Value), Bound: kv.Lease != ""}
		}
		return all
	})
}
