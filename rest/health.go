package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// probe is one health check: what is asked, of which status, when.
type probe struct {
	*view
	now   time.Time
	query query
}

// endpoint is one row of the table of health checks.
type endpoint struct {
	paths    []string
	exact    bool     // the path must be one of paths; else it must contain one
	without  []string // and none of these
	tags     bool     // tag_NAME=VALUE in the query must fit the node's tags
	ok       func(probe) bool
	sentence string // when it is 200
}

// healthTable lists the health endpoints; the first one that matches a path answers. docs/rest.md shows it.
func healthTable() []endpoint {
	return []endpoint{
		{paths: []string{"standby_leader", "standby-leader"}, ok: probe.leadsStandbys,
			sentence: "the cluster follows a remote primary, and this node leads it: authority in force, server running"},
		{paths: []string{"leader"}, ok: probe.leads,
			sentence: "this node leads: as `/primary`, or as `/standby-leader` where the cluster follows a remote primary"},
		{paths: []string{"primary", "master", "read-write"}, ok: probe.primary,
			sentence: "clients may write here: the authority of the leader is in force at this moment, and the server is known to accept writes of ordinary clients"},
		{paths: []string{"/"}, exact: true, ok: probe.primary, sentence: "as `/primary`"},
		{paths: []string{"replica"}, tags: true, ok: probe.replica,
			sentence: "the server is a running standby without the tag `noloadbalance`, at most `lag` behind (`?lag=1MB`; default: any), and its replication has the state asked (`?replication_state=streaming`)"},
		{paths: []string{"read-only"}, without: []string{"sync", "quorum"}, tags: true, ok: probe.readOnly,
			sentence: "as `/primary`, `/standby-leader` or `/replica`"},
		{paths: []string{"health"}, tags: true, ok: probe.runs, sentence: "the server runs and answers"},
		{paths: []string{"/sync", "/synchronous"}, exact: true, tags: true, ok: probe.syncStandby,
			sentence: "as `/replica`, and the store lists the node as synchronous standby"},
		{paths: []string{"/quorum"}, exact: true, tags: true, ok: probe.quorumStandby,
			sentence: "as `/replica`, and the store lists the node as quorum standby"},
		{paths: []string{"/async", "/asynchronous"}, exact: true, tags: true, ok: probe.asyncStandby,
			sentence: "as `/replica`, and the store lists the node as neither"},
		{paths: []string{"/read-only-sync", "/read-only-synchronous"}, exact: true, tags: true, ok: probe.readOnlySync,
			sentence: "as `/primary`, `/standby-leader` or `/sync`"},
		{paths: []string{"/read-only-quorum"}, exact: true, tags: true, ok: probe.readOnlyQuorum,
			sentence: "as `/primary`, `/standby-leader` or `/quorum`"},
	}
}

// serveHealth answers a health check: GET with the status document, HEAD and OPTIONS with a status line.
func (h *Handler) serveHealth(w http.ResponseWriter, r *http.Request) {
	v := h.view()
	now := h.Node.Now()
	ok := h.healthy(r.URL.Path, probe{v, now, query(r.URL.RawQuery)})
	h.glance(v.st, now)
	if r.Method != http.MethodGet {
		bare(w, ok)
		return
	}
	code := http.StatusServiceUnavailable
	if ok {
		code = http.StatusOK
	}
	rawJSON(w, code, v.body)
}

// glancePause is how old a leader's last look at its server may be when somebody asks for its health. The answer is given from the last look; a
// server that hangs shows in the next answer but one.
const glancePause = 500 * time.Millisecond

// glance asks a leader for a fresh look, and waits for nothing: a health check never touches PostgreSQL.
func (h *Handler) glance(st *ha.Status, now time.Time) {
	if !st.Leads(now) || now.Sub(st.ObservedAt) < glancePause {
		return
	}
	last := h.glanced.Load()
	if at := now.UnixNano(); at-last >= int64(glancePause) && h.glanced.CompareAndSwap(last, at) {
		h.Node.Glance()
	}
}

func (h *Handler) healthy(path string, p probe) bool {
	for i := range h.health {
		if e := &h.health[i]; e.matches(path) {
			return e.ok(p) && (!e.tags || p.tagsFit())
		}
	}
	return false
}

func (e *endpoint) matches(path string) bool {
	if e.exact {
		return slices.Contains(e.paths, path)
	}
	return containsAny(path, e.paths) && !containsAny(path, e.without)
}

func containsAny(path string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(path, part) {
			return true
		}
	}
	return false
}

func (p probe) primary() bool {
	return !p.st.Settings.StandbyCluster && p.st.Writable(p.now) && p.fresh(p.now)
}

func (p probe) leadsStandbys() bool {
	return p.standbyLeader && p.st.Leads(p.now) && p.runs() && p.standby
}

func (p probe) leads() bool { return p.primary() || p.leadsStandbys() }

func (p probe) runs() bool { return p.running && p.fresh(p.now) }

func (p probe) replica() bool {
	if !p.runs() || !p.standby || p.leadsStandbys() || p.st.Settings.Tags.NoLoadBalance {
		return false
	}
	if want := p.query.get("replication_state"); want != "" && want != p.replication {
		return false
	}
	if limit, ok := parseBytes(p.query.get("lag")); ok {
		if lag, known := p.lag(false); known && lag > limit {
			return false
		}
	}
	return true
}

func (p probe) readOnly() bool { return p.leads() || p.replica() }

func (p probe) syncStandby() bool   { return p.sync && p.storeKnown(p.now) && p.replica() }
func (p probe) quorumStandby() bool { return p.quorum && p.storeKnown(p.now) && p.replica() }
func (p probe) asyncStandby() bool {
	return !p.sync && !p.quorum && p.storeKnown(p.now) && p.replica()
}

func (p probe) readOnlySync() bool {
	return p.storeKnown(p.now) && (p.leads() || p.syncStandby())
}

func (p probe) readOnlyQuorum() bool {
	return p.storeKnown(p.now) && (p.leads() || p.quorumStandby())
}

// tagsFit says whether the tags have each value that the query asks. A tag that is absent fits nothing.
func (p probe) tagsFit() bool {
	for k, want := range p.query.pairs() {
		name, asked := strings.CutPrefix(k, "tag_")
		if !asked {
			continue
		}
		if have, ok := p.st.Settings.Tags.All[name]; !ok || tagText(have) != want {
			return false
		}
	}
	return true
}

// tagText is what a query compares a tag with: text as it is, everything else as its JSON form in lower case.
func tagText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return strings.ToLower(fmt.Sprint(v))
	}
	return strings.ToLower(string(raw))
}
