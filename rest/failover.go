package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/overview"
)

// The two ways to ask for another leader, as sentences spell them.
const (
	switchover = "switchover" // from a named leader, in order
	failover   = "failover"   // to a named candidate, whoever leads
)

// handover is a request for another leader.
type handover struct {
	action            string
	leader, candidate string
	scheduledAt       *time.Time
}

// refusal is an answer that ends a request; the zero value lets it go on.
type refusal struct {
	code int
	text string
}

func (h *Handler) postSwitchover(w http.ResponseWriter, r *http.Request) {
	h.handOver(w, r, switchover)
}

func (h *Handler) postFailover(w http.ResponseWriter, r *http.Request) { h.handOver(w, r, failover) }

// handOver checks the request, writes it to the store, and waits there for what becomes of it.
func (h *Handler) handOver(w http.ResponseWriter, r *http.Request, action string) {
	raw, ok := readObject(w, r)
	if !ok {
		return
	}
	var body struct {
		Leader      string `json:"leader"`
		Candidate   string `json:"candidate"`
		Member      string `json:"member"` // an older name of candidate
		ScheduledAt string `json:"scheduled_at"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		page(w, http.StatusBadRequest, "read the request: "+err.Error())
		return
	}
	if body.Candidate == "" {
		body.Candidate = body.Member
	}
	h.Logger.Info("received a request", "action", action, "leader", body.Leader, "candidate", body.Candidate,
		"scheduled_at", body.ScheduledAt, "client", r.RemoteAddr)
	c, err := h.load(r.Context())
	if err != nil {
		text(w, http.StatusServiceUnavailable, "the store does not answer: "+err.Error())
		return
	}
	req, no := h.newHandover(action, body.Leader, body.Candidate, body.ScheduledAt, overview.ModeOf(c.Config))
	if no == (refusal{}) && req.scheduledAt == nil {
		no = h.possible(r.Context(), c, req)
	}
	if no == (refusal{}) {
		no = h.carryOut(w, r, c, req)
	}
	h.Logger.Info("answered a request", "action", req.action, "code", no.code, "answer", no.text)
	text(w, no.code, no.text)
}

// newHandover checks the request for itself. The order of the checks is part of the API.
func (h *Handler) newHandover(action, leader, candidate, at string, mode overview.Mode) (handover, refusal) {
	req := handover{action: action, leader: leader, candidate: candidate}
	bad := func(s string) (handover, refusal) { return req, refusal{http.StatusBadRequest, s} }
	if action == failover && candidate == "" {
		return bad("Failover could be performed only to a specific candidate")
	}
	if action == switchover && leader == "" {
		return bad("Switchover could be performed only from a specific leader")
	}
	if at != "" {
		if action == failover {
			return bad("Failover can't be scheduled")
		}
		if mode.Paused {
			return bad("Can't schedule switchover in the paused state")
		}
		t, no := parseSchedule(at, h.Node.Now())
		if no != (refusal{}) {
			return req, no
		}
		req.scheduledAt = &t
	}
	if mode.Paused && candidate == "" {
		return bad("Switchover is possible only to a specific candidate in a paused state")
	}
	if action == failover && leader != "" {
		h.Logger.Warn("a failover that names the leader is a switchover: use POST /switchover", "leader", leader)
		req.action = switchover
	}
	if leader == candidate {
		return bad("Switchover target and source are the same")
	}
	return req, refusal{}
}

// parseSchedule reads the time of a switchover.
func parseSchedule(at string, now time.Time) (time.Time, refusal) {
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04Z07:00",
		"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07",
		"2006-01-02 15:04:05.999999999 Z07:00", "2006-01-02 15:04:05.999999999 Z0700", "2006-01-02 15:04Z07:00", "2006-01-02 15:04Z07",
		"2006-01-02T15:04:05.999999999Z07",
	} {
		t, err := time.Parse(layout, at)
		switch {
		case err != nil:
			continue
		case t.Before(now):
			return t, refusal{http.StatusUnprocessableEntity, "Cannot schedule switchover in the past"}
		}
		return t, refusal{}
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if _, err := time.Parse(layout, at); err == nil {
			return time.Time{}, refusal{http.StatusBadRequest, "Timezone information is mandatory for the scheduled switchover"}
		}
	}
	return time.Time{}, refusal{http.StatusUnprocessableEntity,
		"Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"}
}

// possible says why no candidate could take over now.
func (h *Handler) possible(ctx context.Context, c dcs.Cluster, req handover) refusal {
	no := func(s string) refusal { return refusal{http.StatusPreconditionFailed, s} }
	if req.leader != "" && leaderName(c) != req.leader {
		return no("leader name does not match")
	}
	candidates, why := pickCandidates(c, req)
	if why != "" {
		return no(why)
	}
	for _, answer := range h.Peers.Poll(ctx, candidates) {
		if answer.Reachable && answer.Position.LSN != 0 && !answer.Tags.NoFailover && !answer.WatchdogFailed {
			return refusal{}
		}
	}
	return no(req.action + " is not possible: no good candidates have been found")
}

// pickCandidates lists the members that the request allows, or says why there are none.
//
// Synchronous mode restricts them only where /sync is kept: a cluster whose leader does not honour the mode has no such
// list, and a planned switchover loses nothing there that it could keep.
func pickCandidates(c dcs.Cluster, req handover) ([]dcs.Member, string) {
	synchronous := overview.ModeOf(c.Config).Synchronous && c.Sync != nil && c.Sync.Leader != ""
	inSync := func(name string) bool {
		role := syncRole(c, name)
		return role == "sync_standby" || role == "quorum_standby"
	}
	var out []dcs.Member
	for _, m := range c.Members {
		switch {
		case req.candidate != "" && m.Name != req.candidate:
		case req.candidate == "" && (m.Name == leaderName(c) || m.Data.APIURL == ""):
		case req.candidate == "" && synchronous && !inSync(m.Name):
		default:
			out = append(out, m)
		}
	}
	switch {
	case req.candidate != "" && synchronous && req.action == switchover && !inSync(req.candidate):
		return nil, "candidate name does not match with sync_standby"
	case len(out) > 0:
		return out, ""
	case req.candidate != "":
		return nil, "candidate does not exists"
	case synchronous:
		return nil, req.action + " is not possible: can not find sync_standby"
	}
	return nil, req.action + " is not possible: cluster does not have members except leader"
}

func leaderName(c dcs.Cluster) string {
	if c.Leader == nil {
		return ""
	}
	return c.Leader.Name
}

// carryOut writes the request to the store and waits for its end.
func (h *Handler) carryOut(w http.ResponseWriter, r *http.Request, before dcs.Cluster, req handover) refusal {
	wish := dcs.Failover{Leader: req.leader, Candidate: req.candidate, ScheduledAt: req.scheduledAt}
	if err := h.putFailover(r.Context(), before, wish); err != nil {
		h.Logger.Warn("the failover key was not written", "err", err)
		return refusal{http.StatusServiceUnavailable, "failed to write failover key into DCS"}
	}
	if req.scheduledAt != nil {
		return refusal{http.StatusAccepted, "Switchover scheduled"}
	}
	patience := 2 * max(10*time.Second, h.status().Settings.LoopWait)
	// A server's write timeout is meant for answers that are made at once.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience + lookTimeout + 10*time.Second))
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	started := h.Node.Now()
	end := h.await(ctx, before, req)
	if why := h.whyRefused(started); why != "" && end.code != http.StatusOK {
		end.text += ": " + why
	}
	return end
}

// putFailover writes the request over the one that was read. A write of unknown fate counts if it is there afterwards.
func (h *Handler) putFailover(ctx context.Context, before dcs.Cluster, wish dcs.Failover) error {
	var prev dcs.Version
	if before.Failover != nil {
		prev = before.Failover.Version
	}
	put, cancel := h.storeContext(ctx)
	defer cancel()
	err := h.Store.PutFailover(put, prev, wish)
	if !errors.Is(err, dcs.ErrUnknown) {
		return err
	}
	c, readErr := h.load(ctx)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if f := c.Failover; f != nil && f.Leader == wish.Leader && f.Candidate == wish.Candidate {
		return nil
	}
	if leaderName(c) != leaderName(before) {
		return nil // it was there, and has been carried out
	}
	return err
}

// deleteSwitchover withdraws a scheduled switchover.
func (h *Handler) deleteSwitchover(w http.ResponseWriter, r *http.Request) {
	c, err := h.load(r.Context())
	if err != nil {
		text(w, http.StatusServiceUnavailable, "the store does not answer: "+err.Error())
		return
	}
	if c.Failover == nil || c.Failover.ScheduledAt == nil {
		text(w, http.StatusNotFound, "no switchover is scheduled")
		return
	}
	ctx, cancel := h.storeContext(r.Context())
	defer cancel()
	switch err := h.Store.ClearFailover(ctx, c.Failover.Version); {
	case errors.Is(err, dcs.ErrConflict):
		page(w, http.StatusConflict, "somebody else changed it meanwhile: look again")
	case err != nil:
		text(w, http.StatusServiceUnavailable, "delete the scheduled switchover: "+err.Error())
	default:
		h.Logger.Info("scheduled switchover deleted", "client", r.RemoteAddr)
		text(w, http.StatusOK, "scheduled switchover deleted")
	}
}
