package rest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/rest/resttest"
)

const failsafeBody = `{"name":"n2","conn_url":"postgres://10.0.0.2:5432/postgres","api_url":"http://10.0.0.2:8008/patroni","slots":{"n1":128}}`

// A leader takes nothing but 200 and "Accepted" for a yes, and reads how long it lasts.
func TestFailsafePost(t *testing.T) {
	var asked ha.FailsafeAsk
	for _, tc := range []struct {
		name   string
		answer ha.Answer
		err    error
		code   int
		body   string
	}{
		{"accepted", ha.Answer{Promise: 30 * time.Second, Observed: primary().Observed}, nil, 200, "Accepted"},
		{"a leader itself", ha.Answer{Refused: "Running as a leader"}, nil, 500, "Running as a leader"},
		{"the mode is off", ha.Answer{Off: true, Refused: "failsafe_mode is off"}, nil, 502, "failsafe mode is off"},
		{"a frozen loop", ha.Answer{}, errors.New("no answer in time"), 503, "the node does not answer"},
	} {
		node := resttest.NewNode(now, primary())
		node.OnSubmit = func(_ context.Context, c ha.Command) (ha.Answer, error) {
			asked = c.(ha.Failsafe).Ask
			return tc.answer, tc.err
		}
		w := ask(newHandler(t, testConfig(node, resttest.NewStore(dcs.Cluster{}))), "POST", "/failsafe", failsafeBody)
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.body) || (tc.code == 200) != (w.Body.String() == "Accepted") {
			t.Errorf("%s: %d %q", tc.name, w.Code, w.Body)
		}
		promise, lsn := w.Header().Get("X-Tanist-Promise"), w.Header().Get("lsn")
		if yes := tc.code == 200; yes != (promise == "30.000") || yes != (lsn != "") {
			t.Errorf("%s: promise %q, lsn %q", tc.name, promise, lsn)
		}
		if asked.Name != "n2" || asked.Slots["n1"] != 128 {
			t.Errorf("%s: asked %+v", tc.name, asked)
		}
	}
}

func TestFailsafePostIsChecked(t *testing.T) {
	h := handlerFor(t, primary())
	for _, body := range []string{`{"conn_url":"x"}`, `{"name":7}`, `[]`, `{}`} {
		if w := ask(h, "POST", "/failsafe", body); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

// The status tells that failsafe mode is active, until it is not.
func TestFailsafeIsShown(t *testing.T) {
	st := primary()
	st.FailsafeUntil = now.Add(10 * time.Second)
	st.Cluster.Failsafe = map[string]string{"n1": "http://10.0.0.1:8008/patroni"}
	node := resttest.NewNode(now, st)
	h := newHandler(t, testConfig(node, resttest.NewStore(st.Cluster)))
	if w := ask(h, "GET", "/failsafe", ""); w.Code != 200 || w.Body.String() != `{"n1":"http://10.0.0.1:8008/patroni"}` {
		t.Errorf("GET /failsafe: %d %s", w.Code, w.Body)
	}
	shown := func() (status, metric bool) {
		return strings.Contains(ask(h, "GET", "/patroni", "").Body.String(), `"failsafe_mode_is_active":true`),
			strings.Contains(ask(h, "GET", "/metrics", "").Body.String(), "patroni_failsafe_mode_is_active{name=\"n1\",scope=\"demo\"} 1")
	}
	if status, metric := shown(); !status || !metric {
		t.Errorf("active: status %v, metric %v", status, metric)
	}
	node.Advance(11 * time.Second)
	if status, metric := shown(); status || metric {
		t.Errorf("over: status %v, metric %v", status, metric)
	}
}
