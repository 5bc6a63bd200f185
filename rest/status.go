package rest

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/internal/restapi"
	"github.com/tanist-ha/tanist/postgres"
)

const (
	// lookTimeout bounds how long GET /patroni waits for a fresh observation; then the last one is told with its age.
	lookTimeout = 500 * time.Millisecond
	// awaitTimeout bounds the long poll of ?wait_lsn; the client asks again.
	awaitTimeout = time.Second
)

// getPatroni answers the poll of an election.
func (h *Handler) getPatroni(w http.ResponseWriter, r *http.Request) {
	var command ha.Command = ha.Look{}
	timeout := lookTimeout
	if asked := query(r.URL.RawQuery).get("wait_lsn"); asked != "" {
		lsn, ok := parseLSN(asked)
		if !ok {
			page(w, http.StatusBadRequest, "wait_lsn is not a position such as 0/3000060")
			return
		}
		command, timeout = ha.Await{LSN: lsn}, awaitTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	answer, err := h.Node.Submit(ctx, command)
	st := h.status() // after the answer: what it taught the node may be published by now
	obs, at := st.Observed, st.ObservedAt
	if err == nil && answer.ObservedAt.After(at) {
		obs, at = answer.Observed, answer.ObservedAt
	}
	v := h.view()
	if v.st != st {
		v = newView(st)
	}
	doc := h.document(v, obs)
	if !at.IsZero() {
		doc.TanistAge = max(h.Node.Now().Sub(at), 0).Seconds()
	}
	w.Header().Set(restapi.StartHeader, st.StartID)
	writeJSON(w, http.StatusOK, doc)
}

// parseLSN reads a position as PostgreSQL prints it, or in bytes.
func parseLSN(s string) (postgres.LSN, bool) {
	if lsn, err := postgres.ParseLSN(s); err == nil {
		return lsn, true
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return postgres.LSN(n), err == nil
}

// getExplain answers "why".
func (h *Handler) getExplain(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, h.Node.Explain())
}

// getEvents lists the last changed decisions.
func (h *Handler) getEvents(w http.ResponseWriter, _ *http.Request) {
	events := h.Node.Explain().Events
	if events == nil {
		events = []ha.HistoryItem{}
	}
	writeJSON(w, http.StatusOK, events)
}

func (h *Handler) getMetrics(w http.ResponseWriter, r *http.Request) { h.metrics.ServeHTTP(w, r) }
