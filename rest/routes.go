package rest

import "net/http"

// routeKey finds a route: the method and the first component of the path.
type routeKey struct{ method, name string }

// route is an endpoint that is not a health check.
type route struct {
	method, name string
	guarded      bool // allow-list, client certificate and password are asked
	sentence     string
	serve        func(h *Handler, w http.ResponseWriter, r *http.Request)
}

// routeTable lists the routes; docs/rest.md shows it.
func routeTable() []route {
	table := []route{
		{"GET", "patroni", false, "Status of this node, on one fresh observation. `?wait_lsn=X` answers when the position has reached X, or after one second.", (*Handler).getPatroni},
		{"GET", "cluster", false, "Members with roles, positions and lags, read from the store.", (*Handler).getCluster},
		{"GET", "history", false, "Timeline switches: `[[timeline, position, reason, time, new leader], …]`.", (*Handler).getHistory},
		{"GET", "config", false, "Dynamic configuration; 502 if there is none.", (*Handler).getConfig},
		{"PATCH", "config", true, "Merges the body into the dynamic configuration (null removes) and returns all of it; 409 if somebody else changed it meanwhile, 503 if there is none.", (*Handler).patchConfig},
		{"PUT", "config", true, "Replaces the dynamic configuration.", (*Handler).putConfig},
		{"GET", "metrics", false, "Metrics for Prometheus, under Patroni's names.", (*Handler).getMetrics},
		{"POST", "switchover", true, "Hands the leadership over in order: `{\"leader\":…, \"candidate\":…, \"scheduled_at\":…}`. Answers when it is done.", (*Handler).postSwitchover},
		{"POST", "failover", true, "Makes the candidate leader, also where nobody leads: `{\"candidate\":…}`. Answers when it is done.", (*Handler).postFailover},
		{"DELETE", "switchover", true, "Deletes a scheduled switchover; 404 if there is none.", (*Handler).deleteSwitchover},
		{"GET", "failsafe", false, "Members of failsafe mode as the store last told; 502 if there are none.", (*Handler).getFailsafe},
		{"POST", "failsafe", true, "A leader asks to be accepted while the store is away: `{\"name\":…, \"conn_url\":…, \"api_url\":…, \"slots\":…}`. 200 and `Accepted` is a promise not to race for a ttl, which `X-Tanist-Promise` tells in seconds; 500 refuses, 502 says that failsafe_mode is off.", (*Handler).postFailsafe},
		{"POST", "reload", true, "501: not built in this release.", notBuilt(http.StatusNotImplemented, "reload is not built in this release: send SIGHUP to the agent, or change the dynamic configuration")},
		{"POST", "restart", true, "501: not built in this release.", notBuilt(http.StatusNotImplemented, "restart is not built in this release: a switchover restarts the server of the old leader")},
		{"DELETE", "restart", true, "404: restarts cannot be scheduled in this release.", notBuilt(http.StatusNotFound, "no restart is scheduled")},
		{"POST", "reinitialize", true, "501: not built in this release.", notBuilt(http.StatusNotImplemented, "reinitialize is not built in this release: stop the agent, empty the data directory and start it again")},
		{"GET", "explain", false, "Why the node does what it does: the rule in force, its sentence, the rules passed over and why.", (*Handler).getExplain},
		{"GET", "events", false, "The last changed decisions, newest last.", (*Handler).getEvents},
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		table = append(table,
			route{method, "liveness", false, "200 while the agent's loop runs. The answer is a status line; to GET it adds " + "`X-Tanist-Start`, the random id of the run.", (*Handler).serveLiveness},
			route{method, "readiness", false, "200 for the leader, and for a standby that streams and lags less than `lag` (default: maximum_lag_on_failover), by what it applied, or wrote with `mode=write`.", (*Handler).serveReadiness})
	}
	return table
}

// notBuilt answers with a code and a sentence.
func notBuilt(code int, sentence string) func(*Handler, http.ResponseWriter, *http.Request) {
	return func(_ *Handler, w http.ResponseWriter, _ *http.Request) { text(w, code, sentence) }
}
