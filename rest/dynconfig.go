package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"

	"github.com/tanist-ha/tanist/dcs"
)

// getConfig returns the dynamic configuration as the store holds it: the order of its keys is the same on all members,
// which tools that hash it rely on. Without the store, the last known one is better than none.
func (h *Handler) getConfig(w http.ResponseWriter, r *http.Request) {
	c, err := h.load(r.Context())
	if err != nil {
		c = h.status().Cluster
	}
	if c.Config == nil {
		page(w, http.StatusBadGateway, "there is no dynamic configuration")
		return
	}
	rawJSON(w, http.StatusOK, c.Config.Raw)
}

// patchConfig merges the body into the dynamic configuration, if nobody else changes it meanwhile.
func (h *Handler) patchConfig(w http.ResponseWriter, r *http.Request) {
	patch, ok := readObject(w, r)
	if !ok {
		return
	}
	c, err := h.load(r.Context())
	if err != nil {
		page(w, http.StatusServiceUnavailable, "the store does not answer: "+err.Error())
		return
	}
	if c.Config == nil {
		page(w, http.StatusServiceUnavailable, "there is no dynamic configuration to patch")
		return
	}
	merged, changed, err := h.Patch(c.Config.Raw, patch)
	if err != nil {
		page(w, http.StatusBadRequest, "merge: "+err.Error())
		return
	}
	if !changed {
		rawJSON(w, http.StatusOK, c.Config.Raw)
		return
	}
	ctx, cancel := h.storeContext(r.Context())
	defer cancel()
	switch err := h.Store.PutConfig(ctx, c.Config.Version, merged); {
	case errors.Is(err, dcs.ErrConflict):
		page(w, http.StatusConflict, "somebody else changed the dynamic configuration meanwhile: try again")
	case errors.Is(err, dcs.ErrUnknown):
		page(w, http.StatusServiceUnavailable, "the store did not answer in time, and may have taken the change: read the configuration again")
	case err != nil:
		page(w, http.StatusServiceUnavailable, "write the dynamic configuration: "+err.Error())
	default:
		h.Logger.Info("dynamic configuration patched", "patch", string(patch), "client", r.RemoteAddr)
		rawJSON(w, http.StatusOK, merged)
	}
}

// putAttempts bounds how often a replacement is tried against others who write at the same time.
const putAttempts = 3

// putConfig replaces the dynamic configuration, whatever it was.
func (h *Handler) putConfig(w http.ResponseWriter, r *http.Request) {
	raw, ok := readObject(w, r)
	if !ok {
		return
	}
	var err error
	for range putAttempts {
		if err = h.replaceConfig(r, raw); !errors.Is(err, dcs.ErrConflict) {
			break
		}
	}
	if err != nil {
		page(w, http.StatusBadGateway, "write the dynamic configuration: "+err.Error())
		return
	}
	h.Logger.Info("dynamic configuration replaced", "client", r.RemoteAddr)
	rawJSON(w, http.StatusOK, raw)
}

func (h *Handler) replaceConfig(r *http.Request, raw []byte) error {
	c, err := h.load(r.Context())
	if err != nil {
		return err
	}
	var prev dcs.Version
	if c.Config != nil {
		if sameJSON(c.Config.Raw, raw) {
			return nil
		}
		prev = c.Config.Version
	}
	ctx, cancel := h.storeContext(r.Context())
	defer cancel()
	return h.Store.PutConfig(ctx, prev, raw)
}

// sameJSON says whether two documents have the same value.
func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
