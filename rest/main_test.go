package rest

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/rest/resttest"
)

var update = flag.Bool("update", false, "write docs/rest.md anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the moment at which statuses of tests are published.
var now = resttest.Started().Add(time.Hour)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// testConfig is a handler's configuration over scripted parts. The merge is simple: the patch replaces everything.
func testConfig(node ha.Asker, store Store) Config {
	return Config{
		Node: node, Store: store, Peers: resttest.Peers{}, Version: "4.1.4", Release: "0.1.0", Logger: quiet(),
		Patch: func(old, patch []byte) ([]byte, bool, error) { return patch, !sameJSON(old, patch), nil },
	}
}

func newHandler(t testing.TB, cfg Config) *Handler {
	t.Helper()
	h, err := NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// handlerFor serves the node that has published st, over a store that holds its cluster.
func handlerFor(t testing.TB, st ha.Status) *Handler {
	t.Helper()
	return newHandler(t, testConfig(resttest.NewNode(now, st), resttest.NewStore(st.Cluster)))
}

// ask sends one request to the handler.
func ask(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	return askContext(context.Background(), h, method, target, body)
}

func askContext(ctx context.Context, h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(ctx, method, target, reader)
	if body != "" {
		r.Header.Set("Content-Length", "1") // a server keeps the header; its value is in the request
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func primary() ha.Status { return resttest.Primary("n1", now, resttest.Cluster("n1", "n2", "n3")) }
func replica() ha.Status { return resttest.Replica("n2", now, resttest.Cluster("n1", "n2", "n3")) }

// with returns st after edit.
func with(st ha.Status, edit func(st *ha.Status)) ha.Status {
	edit(&st)
	return st
}

// inSync returns a replica that /sync lists under the given mode.
func inSync(mode string) ha.Status {
	return with(replica(), func(st *ha.Status) {
		st.Cluster.Config = &dcs.Config{Version: 90, Raw: []byte(`{"synchronous_mode":"` + mode + `"}`)}
		st.Cluster.Sync = &dcs.Sync{Leader: "n1", Standby: "n2,n3"}
	})
}

// decode reads a JSON answer.
func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("answer %d %q: %v", w.Code, w.Body, err)
	}
	return v
}

func contains(s, part string) bool { return strings.Contains(s, part) }
