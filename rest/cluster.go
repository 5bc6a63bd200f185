package rest

import (
	"net/http"

	"github.com/tanist-ha/tanist/internal/overview"
	"github.com/tanist-ha/tanist/internal/restapi"
)

// getCluster shows the cluster as the store holds it now.
func (h *Handler) getCluster(w http.ResponseWriter, r *http.Request) {
	c, err := h.load(r.Context())
	if err != nil {
		page(w, http.StatusServiceUnavailable, "the store does not answer: "+err.Error())
		return
	}
	writeJSON(w, http.StatusOK, overview.Of(h.status().Scope, c))
}

func (h *Handler) getHistory(w http.ResponseWriter, r *http.Request) {
	c, err := h.load(r.Context())
	if err != nil {
		page(w, http.StatusServiceUnavailable, "the store does not answer: "+err.Error())
		return
	}
	writeJSON(w, http.StatusOK, restapi.History(c.History))
}
