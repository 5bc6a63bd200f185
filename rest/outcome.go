package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// await waits until the cluster has another leader, or the request is gone without one. It wakes when the node publishes
// a new view of the store, which a watch keeps up to date.
func (h *Handler) await(ctx context.Context, before dcs.Cluster, req handover) refusal {
	// That the request is gone means something only in a view that was read after it was written. Two ways to know: the
	// view has at least the version of a read made now, or an earlier view showed the request.
	after, err := h.load(ctx)
	known := err == nil && after.Version != 0
	if err == nil {
		if end, ok := outcome(before, after, req); ok {
			return end
		}
	}
	seen := false
	var end refusal
	_, err = h.Node.Wait(ctx, func(st *ha.Status) bool {
		c := st.Cluster
		if c.Version != 0 && c.Version < before.Version {
			return false // older than the question
		}
		seen = seen || c.Failover != nil
		last, ok := outcome(before, c, req)
		if !ok || leaderName(c) == leaderName(before) && !seen && (!known || c.Version < after.Version) {
			return false
		}
		end = last
		return true
	})
	if err == nil {
		return end
	}
	// The time is over, or the node stops: a last look, on its own time, rather than a guess.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if c, err := h.Store.Load(last); err == nil {
		if end, ok := outcome(before, c, req); ok {
			return end
		}
	}
	return refusal{http.StatusServiceUnavailable, wordsOf(req.action).Name + " status unknown"}
}

// whyRefused is the sentence with which this node, as the leader, has withdrawn a request since started; "" if it has not,
// or if the request was sent to a member that does not lead.
func (h *Handler) whyRefused(started time.Time) string {
	events := h.Node.Explain().Events
	for i := len(events) - 1; i >= 0 && !events[i].At.Before(started); i-- {
		if strings.HasPrefix(string(events[i].Rule), "leader.request-") {
			return events[i].Sentence
		}
	}
	return ""
}

// outcome says what became of the request, if c, read after it was written, shows it.
func outcome(before, c dcs.Cluster, req handover) (refusal, bool) {
	word, now := wordsOf(req.action), leaderName(c)
	switch {
	case now != "" && now != leaderName(before):
		if req.candidate != "" && req.candidate != now {
			return refusal{http.StatusOK, word.Done + ` over to "` + now + `" instead of "` + req.candidate + `"`}, true
		}
		return refusal{http.StatusOK, "Successfully " + word.done + ` over to "` + now + `"`}, true
	case c.Failover == nil && now == leaderName(before):
		return refusal{http.StatusServiceUnavailable, word.Name + " failed"}, true
	}
	return refusal{}, false
}

// words are the forms of an action that sentences need.
type words struct{ Name, Done, done string }

func wordsOf(action string) words {
	if action == failover {
		return words{"Failover", "Failed", "failed"}
	}
	return words{"Switchover", "Switched", "switched"}
}
