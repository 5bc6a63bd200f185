package rest

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// scrapeValues reads the samples of an answer; the labels that all have are checked and dropped.
func scrapeValues(t *testing.T, body string) map[string]string {
	t.Helper()
	values := map[string]string{}
	sample := regexp.MustCompile(`^(\w+)\{([^}]*)\} (\S+)$`)
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || !strings.Contains(m[2], `name="n`) || !strings.Contains(m[2], `scope="demo"`) {
			t.Errorf("line %q", line)
			continue
		}
		key := m[1]
		for pair := range strings.SplitSeq(m[2], ",") {
			if !strings.HasPrefix(pair, "name=") && !strings.HasPrefix(pair, "scope=") {
				key += " " + pair
			}
		}
		values[key] = m[3]
	}
	return values
}

func TestMetrics(t *testing.T) {
	replayed := now
	for name, tc := range map[string]struct {
		st   ha.Status
		want map[string]string // beside zeros
	}{
		"primary": {
			with(primary(), func(st *ha.Status) {
				st.Authority.Sent = now.Add(-10 * time.Second)
				st.ObservedAt = now.Add(-2 * time.Second)
				st.Overruns = 3
				st.RuleCounts = map[ha.RuleID]uint64{"leading.renew": 7, "vacant.behind": 2}
				st.Observed.PendingRestart = map[string][2]string{"max_connections": {"100", "101"}}
			}),
			map[string]string{
				"patroni_version": "40104", "patroni_postgres_running": "1", "patroni_postmaster_start_time": "1.784535302118211e+09",
				"patroni_primary": "1", "patroni_xlog_location": "1.00663296e+08", "patroni_postgres_server_version": "170005",
				"patroni_postgres_timeline": "4", "patroni_dcs_last_seen": "1.784538902e+09", "patroni_pending_restart": "1",
				"patroni_postgres_state": "5", "patroni_failover_priority": "1", `tanist_info release="0.1.0"`: "1",
				"tanist_authority_seconds": "20", "tanist_accepting": "1", "tanist_observation_age_seconds": "2", "tanist_rule_overruns_total": "3",
				`tanist_rule_total rule="leading.renew"`: "7", `tanist_rule_total rule="vacant.behind"`: "2",
			},
		},
		"synchronous standby": {
			with(inSync("on"), func(st *ha.Status) { st.Observed.SQL.ReplayedAt, st.Observed.SQL.ReplayPaused = &replayed, true }),
			map[string]string{
				"patroni_version": "40104", "patroni_postgres_running": "1", "patroni_postmaster_start_time": "1.784535302118211e+09",
				"patroni_replica": "1", "patroni_sync_standby": "1", "patroni_xlog_received_location": "1.00663296e+08",
				"patroni_xlog_replayed_location": "1.00663296e+08", "patroni_xlog_replayed_timestamp": "1.784538902118211e+09",
				"patroni_xlog_paused": "1", "patroni_postgres_streaming": "1", "patroni_postgres_server_version": "170005",
				"patroni_postgres_timeline": "4", "patroni_dcs_last_seen": "1.784538902e+09", "patroni_postgres_state": "5",
				"patroni_failover_priority": "1", `tanist_info release="0.1.0"`: "1",
			},
		},
		"stopped, in pause, nobody leads": {
			with(replica(), func(st *ha.Status) {
				st.State, st.Observed.SQL, st.Settings.Paused, st.Cluster.Leader = dcs.StateStopped, nil, true, nil
				st.Settings.Tags.NoFailover = true
			}),
			map[string]string{
				"patroni_version": "40104", "patroni_cluster_unlocked": "1", "patroni_is_paused": "1", "patroni_postgres_state": "12",
				"patroni_dcs_last_seen": "1.784538902e+09", `tanist_info release="0.1.0"`: "1",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(handlerFor(t, tc.st), "GET", "/metrics", "")
			if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
				t.Fatalf("%d %v\n%s", w.Code, w.Header(), w.Body)
			}
			got := scrapeValues(t, w.Body.String())
			maps.DeleteFunc(got, func(_, v string) bool { return v == "0" })
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// Dashboards know these names and types.
func TestMetricNamesAndTypes(t *testing.T) {
	body := ask(handlerFor(t, primary()), "GET", "/metrics", "").Body.String()
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (patroni_\w+ \w+)$`).FindAllStringSubmatch(body, -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	want := []string{
		"patroni_cluster_unlocked gauge", "patroni_dcs_last_seen gauge", "patroni_failover_priority gauge", "patroni_failsafe_mode_is_active gauge",
		"patroni_is_paused gauge", "patroni_pending_restart gauge", "patroni_postgres_in_archive_recovery gauge", "patroni_postgres_running gauge",
		"patroni_postgres_server_version gauge", "patroni_postgres_state gauge", "patroni_postgres_streaming gauge", "patroni_postgres_timeline gauge",
		"patroni_postmaster_start_time gauge", "patroni_primary gauge", "patroni_quorum_standby gauge", "patroni_replica gauge",
		"patroni_standby_leader gauge", "patroni_sync_standby gauge", "patroni_version gauge", "patroni_xlog_location counter",
		"patroni_xlog_paused gauge", "patroni_xlog_received_location counter", "patroni_xlog_replayed_location counter",
		"patroni_xlog_replayed_timestamp gauge",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if !strings.Contains(body, "5=running") || !strings.Contains(body, "14=crashed") {
		t.Error("the help of patroni_postgres_state lists no values")
	}
}
