package restclient

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/rest"
	"github.com/tanist-ha/tanist/rest/resttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for; nothing is measured with it.
const patience = 20 * time.Second

func newClient(t testing.TB, opt Options) *Client {
	t.Helper()
	c, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answering serves one answer to every request.
func answering(t testing.TB, code int, body string) string {
	t.Helper()
	return serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	})
}

func serving(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL + "/patroni"
}

// tanist serves the real API of a scripted node.
func tanist(t testing.TB, node ha.Asker, store rest.Store, access rest.Access) string {
	t.Helper()
	h, err := rest.NewHandler(rest.Config{
		Node: node, Store: store, Peers: resttest.Peers{}, Version: "4.1.4", Release: "0.1.0", Access: access,
		Patch:  func(_, patch []byte) ([]byte, bool, error) { return patch, true, nil },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return serving(t, h.ServeHTTP)
}

func member(name, apiURL string) dcs.Member {
	return dcs.Member{Name: name, Data: dcs.MemberData{APIURL: apiURL}}
}
