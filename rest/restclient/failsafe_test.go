package restclient

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/ha"
)

// Only status 200 with the body "Accepted" is a yes, whoever answers.
func TestFailsafeAnswers(t *testing.T) {
	answering := func(code int, body string, headers ...string) string {
		return serving(t, func(w http.ResponseWriter, r *http.Request) {
			var asked map[string]any
			raw, _ := io.ReadAll(r.Body)
			if err := json.Unmarshal(raw, &asked); err != nil || r.Method != "POST" || r.URL.Path != "/failsafe" || asked["name"] != "n1" {
				t.Errorf("%s %s %s", r.Method, r.URL, raw)
			}
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		})
	}
	members := map[string]string{
		"accepts":  answering(200, "Accepted", "lsn", "128", "X-Tanist-Promise", "20.500"),
		"patroni":  answering(200, "Accepted"),
		"polite":   answering(200, "Accepted."),
		"leads":    answering(500, "Running as a leader"),
		"off":      answering(502, "<html><p>Error code: 502</p><p>Message: failsafe mode is off.</p></html>"),
		"confused": answering(200, "Accepted", "X-Tanist-Promise", "soon"),
		"nobody":   "http://127.0.0.1:1/patroni",
		"nowhere":  "",
	}
	got := map[string]ha.FailsafeAnswer{}
	ask := ha.FailsafeAsk{Name: "n1", ConnURL: "postgres://10.0.0.1:5432/postgres", APIURL: "http://10.0.0.1:8008/patroni", Slots: map[string]uint64{}}
	for _, a := range newClient(t, Options{}).Failsafe(t.Context(), members, ask) {
		if a.Name == "nobody" || a.Name == "nowhere" {
			a.Problem = "" // whatever the system says
		}
		got[a.Name] = a
	}
	want := map[string]ha.FailsafeAnswer{
		"accepts":  {Name: "accepts", Accepted: true, Promise: 20500 * time.Millisecond, LSN: 128},
		"patroni":  {Name: "patroni", Accepted: true},
		"polite":   {Name: "polite", Problem: "status 200: Accepted."},
		"leads":    {Name: "leads", Problem: "status 500: Running as a leader"},
		"off":      {Name: "off", Problem: "status 502: failsafe mode is off."},
		"confused": {Name: "confused", Problem: "its promise cannot be read: soon"},
		"nobody":   {Name: "nobody"},
		"nowhere":  {Name: "nowhere"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
