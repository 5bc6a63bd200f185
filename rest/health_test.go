package rest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// What load balancers ask, by the state of a node. Paths that are not named answer 503.
func TestHealthByRole(t *testing.T) {
	const paths = "/ /primary /master /read-write /leader /standby-leader /standby_leader /replica /read-only /read-only-sync " +
		"/read-only-quorum /sync /async /quorum /health"
	for name, tc := range map[string]struct {
		st ha.Status
		ok string
	}{
		"primary with authority":  {primary(), "/ /primary /master /read-write /leader /read-only /read-only-sync /read-only-quorum /health"},
		"authority has ended":     {with(primary(), func(st *ha.Status) { st.Authority.Sent = now.Add(-30 * time.Second) }), "/health"},
		"primary without the key": {with(primary(), func(st *ha.Status) { st.Authority = ha.Authority{} }), "/health"},
		"leader that is being promoted": {with(replica(), func(st *ha.Status) {
			st.Authority = ha.Authority{Sent: now, TTL: 30 * time.Second}
		}), "/replica /read-only /async /health"},
		"leader whose server crashed": {with(primary(), func(st *ha.Status) {
			st.State, st.Accepting, st.Observed.SQL, st.Observed.Postmaster = dcs.StateCrashed, false, nil, nil
		}), ""},
		"leader whose server hangs":   {with(primary(), func(st *ha.Status) { st.Accepting, st.Observed.SQL = false, nil }), ""},
		"bootstrapping, closed":       {with(primary(), func(st *ha.Status) { st.Accepting, st.Observed.Closed = false, true }), ""},
		"replica":                     {replica(), "/replica /read-only /async /health"},
		"synchronous standby":         {inSync("on"), "/replica /read-only /read-only-sync /sync /health"},
		"quorum standby":              {inSync("quorum"), "/replica /read-only /read-only-quorum /quorum /health"},
		"replica, noloadbalance":      {with(replica(), func(st *ha.Status) { st.Settings.Tags.NoLoadBalance = true }), "/health"},
		"replica, starting":           {with(replica(), func(st *ha.Status) { st.State, st.Observed.SQL = dcs.StateStarting, nil }), ""},
		"replica, last seen long ago": {with(replica(), func(st *ha.Status) { st.ObservedAt = now.Add(-31 * time.Second) }), ""},
		"replica, store away": {with(replica(), func(st *ha.Status) {
			st.StoreSeen, st.ClusterAt = now.Add(-31*time.Second), now.Add(-40*time.Second)
		}), "/replica /read-only /health"},
		"standby leader": {with(replica(), func(st *ha.Status) {
			st.Settings.StandbyCluster, st.Role, st.Authority = true, dcs.RoleStandbyLeader, ha.Authority{Sent: now, TTL: 30 * time.Second}
		}), "/leader /standby-leader /standby_leader /read-only /read-only-sync /read-only-quorum /health"},
		"primary, last seen long ago": {with(primary(), func(st *ha.Status) { st.ObservedAt = now.Add(-31 * time.Second) }), ""},
		"not started":                 {ha.Status{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := handlerFor(t, tc.st)
			for path := range strings.FieldsSeq(paths) {
				want := http.StatusServiceUnavailable
				if strings.Contains(" "+tc.ok+" ", " "+path+" ") {
					want = http.StatusOK
				}
				for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
					if got := ask(h, method, path, "").Code; got != want {
						t.Errorf("%s %s: %d, want %d", method, path, got, want)
					}
				}
			}
		})
	}
}

// The same path may be spelled in many ways; some must be exact.
func TestHealthSpellings(t *testing.T) {
	for target, want := range map[string][2]int{ // of the primary, of the synchronous standby
		"/x/primary":                           {200, 503},
		"/OPTIONS/master":                      {200, 503},
		"/OPTIONS/leader":                      {200, 503},
		"/OPTIONS/replica":                     {503, 200},
		"/OPTIONS/health":                      {200, 200},
		"/OPTIONS/sync":                        {503, 503},
		"/synchronous":                         {503, 200},
		"/asynchronous":                        {503, 503},
		"/read-only-synchronous":               {200, 200},
		"/x/read-only-sync":                    {503, 503},
		"/nonsense":                            {503, 503},
		"*":                                    {503, 503},
		"/replica?lag=1MB":                     {503, 200},
		"/replica?lag=nonsense":                {503, 200},
		"/replica?replication_state=streaming": {503, 200},
		"/replica?replication_state=startup":   {503, 503},
		"/replica?tag_dc=seoul":                {503, 200},
		"/replica?tag_dc=seoul&tag_n=1":        {503, 200},
		"/replica?tag_yes=true":                {503, 200},
		"/replica?tag_yes=":                    {503, 200},
		"/replica?tag_dc=tokyo":                {503, 503},
		"/replica?tag_dc=tokyo&tag_dc=seoul":   {503, 503},
		"/replica?tag_none=1":                  {503, 503},
		"/primary?tag_none=1":                  {200, 503},
		"/health?tag_none=1":                   {503, 503},
		"/replica?tag_dc=se%6Ful":              {503, 200},
	} {
		lead := handlerFor(t, primary())
		follow := handlerFor(t, with(inSync("on"), func(st *ha.Status) {
			st.Settings.Tags.All = map[string]any{"dc": "seoul", "n": 1, "yes": true}
		}))
		if got := [2]int{ask(lead, "OPTIONS", target, "").Code, ask(follow, "GET", target, "").Code}; got != want {
			t.Errorf("%s: %v, want %v", target, got, want)
		}
	}
}

func TestHealthLag(t *testing.T) {
	h := handlerFor(t, with(replica(), func(st *ha.Status) {
		st.Cluster.Status.Optime = 0x6000000 + 2<<20
		st.Observed.SQL.LatestEnd = 0x6000000 + 1<<20
		st.Observed.SQL.Received = 0x6000000 + 2<<20
	}))
	for target, want := range map[string]int{
		"/replica": 200, "/replica?lag=2MB": 200, "/replica?lag=2097151": 503, "/replica?lag=1MB": 503, "/replica?lag=0": 503,
		"/readiness": 503, "/readiness?lag=2MB": 200, "/readiness?mode=write": 200, "/readiness?lag=0&mode=write": 200,
	} {
		if got := ask(h, "GET", target, "").Code; got != want {
			t.Errorf("%s: %d, want %d", target, got, want)
		}
	}
}

func TestReadiness(t *testing.T) {
	for name, tc := range map[string]struct {
		st   ha.Status
		want int
	}{
		"leader":        {primary(), 200},
		"replica":       {replica(), 200},
		"not streaming": {with(replica(), func(st *ha.Status) { st.Observed.SQL.Receiver = nil }), 503},
		"nobody knows where the leader is": {with(replica(), func(st *ha.Status) {
			st.StoreSeen, st.ClusterAt, st.Observed.SQL.LatestEnd = time.Time{}, time.Time{}, 0
		}), 503},
		"store away, the sender told": {with(replica(), func(st *ha.Status) { st.StoreSeen, st.ClusterAt = time.Time{}, time.Time{} }), 200},
		"primary without the key":     {with(primary(), func(st *ha.Status) { st.Authority = ha.Authority{} }), 503},
	} {
		if got := ask(handlerFor(t, tc.st), "OPTIONS", "/readiness", "").Code; got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

func TestLiveness(t *testing.T) {
	late := func(by time.Duration) func(*ha.Status) { return func(st *ha.Status) { st.NextLoop = now.Add(-by) } }
	for name, tc := range map[string]struct {
		st   ha.Status
		want int
	}{
		"in time":               {primary(), 200},
		"primary, late":         {with(primary(), late(29*time.Second)), 200},
		"primary, too late":     {with(primary(), late(30*time.Second)), 503},
		"replica, late":         {with(replica(), late(59*time.Second)), 200},
		"replica, too late":     {with(replica(), late(60*time.Second)), 503},
		"replica, paused, late": {with(with(replica(), late(time.Hour)), func(st *ha.Status) { st.Settings.Paused = true }), 200},
		"not started":           {ha.Status{}, 503},
	} {
		w := ask(handlerFor(t, tc.st), "GET", "/liveness", "")
		if w.Code != tc.want || w.Body.Len() != 0 {
			t.Errorf("%s: %d %q, want %d and no body", name, w.Code, w.Body, tc.want)
		}
		if got := w.Header().Get("X-Tanist-Start"); got != tc.st.StartID {
			t.Errorf("%s: start id %q", name, got)
		}
	}
}

// The body of a health check is made once for a status, and again for the next one.
func TestHealthFollowsTheStatus(t *testing.T) {
	st := primary()
	h := handlerFor(t, st)
	first := ask(h, "GET", "/primary", "").Body.String()
	if again := ask(h, "GET", "/primary", "").Body.String(); again != first || !strings.Contains(first, `"role":"primary"`) {
		t.Fatalf("bodies %q and %q", first, again)
	}
	if before, after := h.view(), h.view(); before != after {
		t.Error("the view of one status was made twice")
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]uint64{"0": 0, "10MB": 10 << 20, "1.5GB": 3 << 29, "0x10": 16, "010": 8, "1 kB": 1024, "16": 16, "2TB": 2 << 40} {
		if got, ok := parseBytes(s); !ok || got != want {
			t.Errorf("%s: %d %v, want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "abc", "-1", "1XB", "MB", "99999999999TB"} {
		if got, ok := parseBytes(s); ok {
			t.Errorf("%s: %d", s, got)
		}
	}
}
