package rest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// newMetrics returns the handler of GET /metrics. A scrape computes everything from the published status; nothing is
// counted anywhere else.
func newMetrics(h *Handler) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{h}) // an unchecked collector: registering it cannot fail
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
}

// collector projects the status onto metrics.
type collector struct{ h *Handler }

// Describe tells nothing, since the constant labels come from the status.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := scrape{out: out, view: c.h.view(), now: c.h.Node.Now()}
	s.labels = prometheus.Labels{"scope": s.st.Scope, "name": s.st.Name}
	s.gauge("patroni_version", "Patroni version that the API is compatible with, two digits for each part.", versionNumber(c.h.Version))
	s.server()
	s.cluster()
	s.tanist(c.h.Release)
}

// scrape is one collection.
type scrape struct {
	*view
	out    chan<- prometheus.Metric
	now    time.Time
	labels prometheus.Labels
}

func (s scrape) send(kind prometheus.ValueType, name, help string, value float64, extra ...string) {
	labels := s.labels
	if len(extra) == 2 {
		labels = prometheus.Labels{extra[0]: extra[1]}
		for k, v := range s.labels {
			labels[k] = v
		}
	}
	s.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), kind, value)
}

func (s scrape) gauge(name, help string, value float64) {
	s.send(prometheus.GaugeValue, name, help, value)
}

func (s scrape) flag(name, help string, value bool) {
	one := 0.0
	if value {
		one = 1
	}
	s.gauge(name, help, one)
}

// counter is for Patroni's positions, which are counters there and cannot change their names.
func (s scrape) counter(name, help string, value float64) {
	s.send(prometheus.CounterValue, name, help, value)
}

// server tells of PostgreSQL.
func (s scrape) server() {
	sql := s.st.Observed.SQL
	var started, location, received, replayed, replayedAt, version, timeline float64
	var paused bool
	if sql != nil {
		started = epoch(sql.StartedAt)
		version, timeline, paused = float64(sql.ServerVersion), float64(sql.Timeline), sql.ReplayPaused
		if x := xlog(*sql); x.Location != nil {
			location = float64(*x.Location)
		} else {
			received, replayed = float64(x.Received), float64(x.Replayed)
		}
		if sql.ReplayedAt != nil {
			replayedAt = epoch(*sql.ReplayedAt)
		}
	}
	s.flag("patroni_postgres_running", "Value is 1 if PostgreSQL is running and answers, 0 otherwise.", s.running)
	s.gauge("patroni_postmaster_start_time", "Epoch seconds since PostgreSQL started.", started)
	s.flag("patroni_primary", "Value is 1 if this node is the primary, 0 otherwise.", sql != nil && !sql.InRecovery)
	s.counter("patroni_xlog_location", "Current location of the PostgreSQL transaction log, 0 if this node is not the primary.", location)
	s.flag("patroni_standby_leader", "Value is 1 if this node leads a standby cluster, 0 otherwise.", s.standby && s.standbyLeader)
	s.flag("patroni_replica", "Value is 1 if this node is a replica, 0 otherwise.", s.standby && !s.standbyLeader)
	s.flag("patroni_sync_standby", "Value is 1 if this node is a synchronous standby, 0 otherwise.", s.sync)
	s.flag("patroni_quorum_standby", "Value is 1 if this node is a quorum standby, 0 otherwise.", s.quorum)
	s.counter("patroni_xlog_received_location", "Received location of the PostgreSQL transaction log, 0 if this node is not a replica.", received)
	s.counter("patroni_xlog_replayed_location", "Replayed location of the PostgreSQL transaction log, 0 if this node is not a replica.", replayed)
	s.gauge("patroni_xlog_replayed_timestamp", "Commit time of the last replayed transaction in epoch seconds, 0 if there is none.", replayedAt)
	s.flag("patroni_xlog_paused", "Value is 1 if replay is paused, 0 otherwise.", paused)
	s.flag("patroni_postgres_streaming", "Value is 1 if PostgreSQL is streaming, 0 otherwise.", s.replication == "streaming")
	s.flag("patroni_postgres_in_archive_recovery", "Value is 1 if PostgreSQL is replicating from the archive, 0 otherwise.", s.replication == "in archive recovery")
	s.gauge("patroni_postgres_server_version", "Version of PostgreSQL as a number, 0 if it does not answer.", version)
	s.gauge("patroni_postgres_timeline", "PostgreSQL timeline, 0 if it is not known.", timeline)
	s.flag("patroni_pending_restart", "Value is 1 if a setting waits for a restart of PostgreSQL, 0 otherwise.", len(s.st.Observed.PendingRestart) > 0)
	s.gauge("patroni_postgres_state", "State of PostgreSQL. Values: "+stateHelp()+".", stateIndex(s.st.State))
}

// cluster tells of the store and of the modes of the cluster.
func (s scrape) cluster() {
	st := s.st
	s.flag("patroni_cluster_unlocked", "Value is 1 if nobody holds the leader key, 0 otherwise.", !st.ClusterAt.IsZero() && st.Cluster.Leader == nil)
	s.flag("patroni_failsafe_mode_is_active", "Value is 1 if failsafe mode is active, 0 otherwise.", st.FailsafeActive(s.now))
	s.gauge("patroni_dcs_last_seen", "Epoch seconds of the last answer of the store, 0 if there was none.", float64(int64(epoch(st.StoreSeen))))
	s.flag("patroni_is_paused", "Value is 1 if the cluster is in pause, 0 otherwise.", st.Settings.Paused)
	s.gauge("patroni_failover_priority", "Failover priority of this node, 0 if it never leads.", failoverPriority(st.Settings.Tags))
}

// tanist tells what Patroni has no names for.
func (s scrape) tanist(release string) {
	st := s.st
	s.send(prometheus.GaugeValue, "tanist_info", "Release of tanist; the value is always 1.", 1, "release", release)
	s.gauge("tanist_authority_seconds", "Seconds for which this node may let its server acknowledge commits if nothing renews its authority, 0 without authority.",
		max(0, authorityLeft(st, s.now)))
	s.flag("tanist_accepting", "Value is 1 if the server was last known to accept writes of clients, 0 otherwise.", st.Accepting)
	if !st.ObservedAt.IsZero() {
		s.gauge("tanist_observation_age_seconds", "Seconds since the server was last looked at.", max(0, s.now.Sub(st.ObservedAt).Seconds()))
	}
	s.counter("tanist_fence_fired_total", "How often the fence has ended the server; without a fault that explains it, a bug.", float64(st.FenceFired))
	s.counter("tanist_demotions_total", "How often the server was stopped because it had no right to write, or nobody guarded it.", float64(st.Demotions))
	s.counter("tanist_rule_overruns_total", "How often the decisions after one event did not come to an end; a bug in the rules.", float64(st.Overruns))
	for rule, count := range st.RuleCounts {
		s.send(prometheus.CounterValue, "tanist_rule_total", "How often a decision was made by each rule.", float64(count), "rule", string(rule))
	}
}

func authorityLeft(st *ha.Status, now time.Time) float64 {
	if !st.Leads(now) {
		return 0
	}
	return st.Authority.End().Sub(now).Seconds()
}

func failoverPriority(t ha.Tags) float64 {
	if t.NoFailover {
		return 0
	}
	return float64(t.FailoverPriority)
}

func epoch(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

// versionNumber turns "4.1.4" into 40104.
func versionNumber(v string) float64 {
	n := 0
	for part := range strings.SplitSeq(v, ".") {
		digits, _ := strconv.Atoi(part) // not a number: 0
		n = n*100 + digits
	}
	return float64(n)
}

// states lists the values of patroni_postgres_state in order.
func states() []dcs.State {
	return []dcs.State{
		dcs.StateInitializing, dcs.StateInitFailed, "running custom bootstrap script", "custom bootstrap failed", dcs.StateCreating,
		dcs.StateRunning, dcs.StateStarting, "starting after custom bootstrap", dcs.StateStartFailed, dcs.StateRestarting,
		dcs.StateRestartFailed, dcs.StateStopping, dcs.StateStopped, dcs.StateStopFailed, dcs.StateCrashed,
	}
}

func stateIndex(s dcs.State) float64 {
	for i, known := range states() {
		if s == known {
			return float64(i)
		}
	}
	return -1
}

func stateHelp() string {
	var b strings.Builder
	for i, s := range states() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(i) + "=" + string(s))
	}
	return b.String()
}
