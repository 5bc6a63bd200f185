package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/internal/restapi"
)

// getFailsafe shows what the store last told, so that it answers while the store is away.
func (h *Handler) getFailsafe(w http.ResponseWriter, _ *http.Request) {
	members := h.status().Cluster.Failsafe
	if len(members) == 0 {
		page(w, http.StatusBadGateway, "failsafe mode is off")
		return
	}
	writeJSON(w, http.StatusOK, members)
}

// failsafeTimeout bounds how long the node may think about a leader's question; the leader waits no longer.
const failsafeTimeout = 2 * time.Second

// accepted is the whole answer that a leader takes for a yes.
const accepted = "Accepted"

// postFailsafe answers a leader that asks to be accepted while the store is away. The promise counts from before the answer is sent.
func (h *Handler) postFailsafe(w http.ResponseWriter, r *http.Request) {
	raw, ok := readObject(w, r)
	if !ok {
		return
	}
	var ask ha.FailsafeAsk
	if err := json.Unmarshal(raw, &ask); err != nil || ask.Name == "" {
		page(w, http.StatusBadRequest, "the body does not say who asks")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), failsafeTimeout)
	defer cancel()
	a, err := h.Node.Submit(ctx, ha.Failsafe{Ask: ask})
	switch {
	case err != nil:
		text(w, http.StatusServiceUnavailable, "the node does not answer: "+err.Error())
	case a.Off:
		page(w, http.StatusBadGateway, "failsafe mode is off")
	case a.Promise <= 0:
		text(w, http.StatusInternalServerError, a.Refused)
	default:
		if s := a.Observed.SQL; s != nil {
			w.Header().Set("lsn", strconv.FormatUint(uint64(s.Position().LSN), 10))
		}
		w.Header().Set(restapi.PromiseHeader, strconv.FormatFloat(a.Promise.Seconds(), 'f', 3, 64))
		text(w, http.StatusOK, accepted)
	}
}
