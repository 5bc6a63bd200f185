package consul

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
)

// TestRenewalAfterAGap (safety 2.1, 2.3): a renewal that comes later than a TTL after the last one that counts may have been answered by a
// leader that was deposed, and so may the one after it. Until a transaction has gone through between two renewals, each confirmation
// makes such a pair.
func TestRenewalAfterAGap(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		what, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
		asked = append(asked, what)
		w.Header().Set("X-Consul-Index", "9")
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("Content-Type", "application/json")
		switch what {
		case "session":
			fmt.Fprint(w, `[{"ID":"me"}]`)
		case "kv":
			fmt.Fprint(w, `[{"Key":"leader","Value":"YQ==","CreateIndex":5,"ModifyIndex":5,"LockIndex":1,"Session":"me"}]`)
		}
	}))
	defer srv.Close()
	b, err := New(Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	begin := time.Now()
	x := &session{backend: b, id: "me", ttl: time.Hour, granted: b.era.now(), last: begin.Add(-2 * time.Hour)}
	if _, err := x.KeepAlive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !x.last.Before(begin) {
		t.Error("a renewal after a gap counts by itself")
	}
	compare := dcs.Txn{If: []dcs.Cond{{Key: "/leader", Created: 5, Session: "me"}}}
	for range 2 {
		if _, err := x.Confirm(t.Context(), compare); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"session", "session", "kv", "session", "session", "kv"}, asked); diff != "" {
		t.Errorf("a keepalive, a confirmation after a gap, and one after that: want -, got +:\n%s", diff)
	}
	if x.last.Before(begin) {
		t.Error("a pair of renewals does not count")
	}
}
