package rest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/rest/resttest"
)

func TestConfig(t *testing.T) {
	fail := func(request string, err error) func(*resttest.Store) {
		return func(s *resttest.Store) {
			s.Fail = func(r string) error {
				if r == request {
					return err
				}
				return nil
			}
		}
	}
	absent := func(s *resttest.Store) { s.Change(func(c *dcs.Cluster) { c.Config = nil }) }
	for name, tc := range map[string]struct {
		method, body string
		arrange      func(*resttest.Store)
		code         int
		want         string // the answer, if it is JSON
		stored       string
	}{
		"get":                  {"GET", "", nil, 200, `{"ttl":30}`, `{"ttl":30}`},
		"get, absent":          {"GET", "", absent, 502, "", ""},
		"get, store away":      {"GET", "", fail("load", dcs.ErrUnavailable), 200, `{"ttl":30}`, `{"ttl":30}`},
		"patch":                {"PATCH", `{"ttl":20}`, nil, 200, `{"ttl":20}`, `{"ttl":20}`},
		"patch, unchanged":     {"PATCH", `{"ttl":30}`, fail("config", dcs.ErrConflict), 200, `{"ttl":30}`, `{"ttl":30}`},
		"patch, absent":        {"PATCH", `{"ttl":20}`, absent, 503, "", ""},
		"patch, lost a race":   {"PATCH", `{"ttl":20}`, fail("config", dcs.ErrConflict), 409, "", `{"ttl":30}`},
		"patch, fate unknown":  {"PATCH", `{"ttl":20}`, fail("config", dcs.ErrUnknown), 503, "", `{"ttl":30}`},
		"patch, store away":    {"PATCH", `{"ttl":20}`, fail("load", dcs.ErrUnavailable), 503, "", `{"ttl":30}`},
		"patch, no body":       {"PATCH", "", nil, 411, "", `{"ttl":30}`},
		"patch, not JSON":      {"PATCH", `{"ttl":`, nil, 400, "", `{"ttl":30}`},
		"patch, not an object": {"PATCH", `[1]`, nil, 400, "", `{"ttl":30}`},
		"patch, empty":         {"PATCH", `{}`, nil, 400, "", `{"ttl":30}`},
		"put":                  {"PUT", `{"z":1,"a":{}}`, nil, 200, `{"z":1,"a":{}}`, `{"z":1,"a":{}}`},
		"put, absent":          {"PUT", `{"ttl":20}`, absent, 200, `{"ttl":20}`, `{"ttl":20}`},
		"put, unchanged":       {"PUT", `{ "ttl": 30 }`, fail("config", dcs.ErrConflict), 200, `{ "ttl": 30 }`, `{"ttl":30}`},
		"put, refused":         {"PUT", `{"ttl":20}`, fail("config", dcs.ErrUnavailable), 502, "", `{"ttl":30}`},
	} {
		t.Run(name, func(t *testing.T) {
			st := primary()
			store := resttest.NewStore(st.Cluster)
			if tc.arrange != nil {
				tc.arrange(store)
			}
			h := newHandler(t, testConfig(resttest.NewNode(now, st), store))
			w := ask(h, tc.method, "/config", tc.body)
			if w.Code != tc.code || tc.want != "" && w.Body.String() != tc.want {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.want)
			}
			stored := ""
			if c := store.Change(func(*dcs.Cluster) {}); c.Config != nil {
				stored = string(c.Config.Raw)
			}
			if stored != tc.stored {
				t.Errorf("the store holds %q, want %q", stored, tc.stored)
			}
		})
	}
}

// A replacement wins against others who write at the same time.
func TestPutConfigTriesAgain(t *testing.T) {
	st := primary()
	store := resttest.NewStore(st.Cluster)
	first := true
	store.Fail = func(request string) error {
		if request == "config" && first {
			first = false
			store.Change(func(c *dcs.Cluster) { c.Config = &dcs.Config{Version: c.Version, Raw: []byte(`{"ttl":25}`)} })
		}
		return nil
	}
	h := newHandler(t, testConfig(resttest.NewNode(now, st), store))
	if w := ask(h, "PUT", "/config", `{"ttl":20}`); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestClusterHistoryFailsafe(t *testing.T) {
	st := primary()
	st.Cluster.Members = st.Cluster.Members[:2]
	st.Cluster.History = dcs.History{{Timeline: 3, LSN: 25623960, Reason: "no recovery target specified"}}
	store := resttest.NewStore(st.Cluster)
	h := newHandler(t, testConfig(resttest.NewNode(now, st), store))
	const members = `{"members":[{"name":"n1","role":"leader","state":"running","api_url":"http://127.0.0.1:8008/patroni","host":"127.0.0.1","port":5432,"timeline":4},` +
		`{"name":"n2","role":"replica","state":"streaming","api_url":"http://127.0.0.1:8008/patroni","host":"127.0.0.1","port":5432,"timeline":4,` +
		`"receive_lag":"unknown","receive_lsn":"unknown","replay_lag":"unknown","replay_lsn":"unknown","lag":0,"lsn":"0/6000000"}],"scope":"demo"}`
	for target, want := range map[string]string{
		"/cluster": members,
		"/history": `[[3,25623960,"no recovery target specified"]]`,
	} {
		if w := ask(h, "GET", target, ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s\nwant %s", target, w.Code, w.Body, want)
		}
	}
	if got := ask(h, "GET", "/failsafe", "").Code; got != http.StatusBadGateway {
		t.Errorf("failsafe off: %d", got)
	}
	store.Fail = func(string) error { return dcs.ErrUnavailable }
	for _, target := range []string{"/cluster", "/history"} {
		if got := ask(h, "GET", target, "").Code; got != http.StatusServiceUnavailable {
			t.Errorf("%s without the store: %d", target, got)
		}
	}
}

func TestWhatIsNotBuilt(t *testing.T) {
	h := handlerFor(t, primary())
	for target, want := range map[string]int{
		"POST /restart": 501, "POST /reload": 501, "POST /reinitialize": 501, "DELETE /restart": 404,
		"POST /nonsense": 501, "POST /": 501, "BREW /coffee": 501, "DELETE /primary": 501, "POST /citus": 501,
	} {
		method, path, _ := strings.Cut(target, " ")
		if w := ask(h, method, path, ""); w.Code != want || w.Body.Len() == 0 {
			t.Errorf("%s: %d %q, want %d and a sentence", target, w.Code, w.Body, want)
		}
	}
}
