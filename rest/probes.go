package rest

import (
	"net/http"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/restapi"
)

// serveLiveness says whether the agent's loop runs.
func (h *Handler) serveLiveness(w http.ResponseWriter, r *http.Request) {
	st, now := h.status(), h.Node.Now()
	limit := 2 * st.Settings.TTL
	if st.Role == dcs.RolePrimary && st.State == dcs.StateRunning {
		limit = st.Settings.TTL
	}
	next := st.NextLoop
	if next.IsZero() {
		next = st.At
	}
	h.answerProbe(w, r, st.Settings.Paused || now.Before(next.Add(limit)))
}

// serveReadiness says whether the node can do its part: lead, or stand by closely.
func (h *Handler) serveReadiness(w http.ResponseWriter, r *http.Request) {
	p := probe{h.view(), h.Node.Now(), query(r.URL.RawQuery)}
	h.answerProbe(w, r, p.st.Leads(p.now) || p.ready())
}

// answerProbe has no body. GET tells the id of the run, by which an agent knows its own answer.
func (h *Handler) answerProbe(w http.ResponseWriter, r *http.Request, ok bool) {
	if r.Method != http.MethodGet {
		bare(w, ok)
		return
	}
	w.Header().Set(restapi.StartHeader, h.status().StartID)
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (p probe) ready() bool {
	if !p.runs() || !p.standby || p.replication != "streaming" {
		return false
	}
	if !p.storeKnown(p.now) && p.st.Observed.SQL.LatestEnd == 0 {
		return false // nothing tells where the leader is
	}
	limit := uint64(max(p.st.Settings.MaximumLagOnFailover, 0))
	if asked, ok := parseBytes(p.query.get("lag")); ok {
		limit = asked
	}
	lag, known := p.lag(p.query.get("mode") == "write")
	return !known || lag <= limit
}
