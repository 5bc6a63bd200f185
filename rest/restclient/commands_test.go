package restclient

import (
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/rest"
	"github.com/tanist-ha/tanist/rest/resttest"
)

func TestCommandsAgainstTheServer(t *testing.T) {
	cluster, now := resttest.Cluster("n1", "n2"), resttest.Started()
	node := resttest.NewNode(now, resttest.Primary("n1", now, cluster))
	node.Explanation = ha.Explanation{Name: "n1", Rule: "leading.renew", Events: []ha.HistoryItem{{Rule: "leading.renew", Sentence: "x"}}}
	url := tanist(t, node, resttest.NewStore(cluster), rest.Access{Username: "admin", Password: "secret"})
	c := newClient(t, Options{Username: "admin", Password: "secret"})
	ctx := t.Context()
	type answer struct {
		code int
		body string
	}
	check := func(name string, want answer) func(Answer, error) {
		return func(a Answer, err error) {
			t.Helper()
			if err != nil || a.Code != want.code || want.body != "" && string(a.Body) != want.body {
				t.Errorf("%s: %d %q %v, want %d %q", name, a.Code, a.Body, err, want.code, want.body)
			}
		}
	}
	check("switchover", answer{412, "leader name does not match"})(c.Switchover(ctx, url, HandoverRequest{Leader: "n2"}))
	check("failover", answer{412, "candidate does not exists"})(c.Failover(ctx, url, HandoverRequest{Candidate: "n9"}))
	check("scheduled", answer{202, "Switchover scheduled"})(c.Switchover(ctx, url, HandoverRequest{Leader: "n1", ScheduledAt: "2036-01-01T00:00:00Z"}))
	check("cancel", answer{200, "scheduled switchover deleted"})(c.CancelSwitchover(ctx, url))
	check("patch", answer{200, `{"ttl":20}`})(c.PatchConfig(ctx, url, []byte(`{"ttl":20}`)))
	check("put", answer{200, `{"ttl":25}`})(c.PutConfig(ctx, url, []byte(`{"ttl":25}`)))
	check("no password", answer{401, "no auth header received"})(newClient(t, Options{}).CancelSwitchover(ctx, url))

	if s, err := c.Status(ctx, url); err != nil || s.Patroni.Name != "n1" || s.TanistStart != "start-of-n1" || s.ServerVersion != 170005 {
		t.Errorf("status %+v %v", s, err)
	}
	if e, err := c.Explain(ctx, url); err != nil || cmp.Diff(node.Explanation, e) != "" {
		t.Errorf("explain %+v %v", e, err)
	}
	if e, err := c.Events(ctx, url); err != nil || len(e) != 1 {
		t.Errorf("events %+v %v", e, err)
	}
}

// An agent must know its own answer, and take any other for somebody who lives there.
func TestAlive(t *testing.T) {
	now := resttest.Started()
	url := tanist(t, resttest.NewNode(now, ha.Status{StartID: "mine"}), resttest.NewStore(dcs.Cluster{}), rest.Access{})
	c := newClient(t, Options{})
	if id, ok := c.Alive(t.Context(), url); id != "mine" || !ok {
		t.Errorf("%q %v", id, ok)
	}
	if id, ok := c.Alive(t.Context(), answering(t, 503, "")); id != "" || !ok {
		t.Errorf("Patroni: %q %v", id, ok)
	}
	if id, ok := c.Alive(t.Context(), "http://127.0.0.1:1/patroni"); id != "" || ok {
		t.Errorf("nobody: %q %v", id, ok)
	}
}

func TestOldPatroniIsAskedForAFailover(t *testing.T) {
	url := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/switchover" {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+string(body))
	})
	a, err := newClient(t, Options{}).Switchover(t.Context(), url, HandoverRequest{Leader: "n1", Candidate: "n2"})
	if want := `POST /failover {"leader":"n1","candidate":"n2"}`; err != nil || string(a.Body) != want {
		t.Errorf("%s %v", a.Body, err)
	}
}

// A redirection must not carry a password elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serving(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirection was followed") })
	url := serving(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) })
	if a, err := newClient(t, Options{Username: "u", Password: "p"}).CancelSwitchover(t.Context(), url); err != nil || a.Code != http.StatusFound {
		t.Errorf("%+v %v", a, err)
	}
}
