package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/ha"
)

var _ ha.Parse = (*Config)(nil).Dynamic

func dynamic(t *testing.T, c *Config, raw string) ha.Settings {
	t.Helper()
	s, err := c.Dynamic([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTimeoutsAreMadeToFit(t *testing.T) {
	c := mustLoad(t, minimal)
	for _, v := range []struct {
		raw  string
		want [3]int // ttl, loop_wait, retry_timeout
		note string
	}{
		{`{}`, [3]int{30, 10, 10}, ""},
		{`{"ttl":30,"loop_wait":10,"retry_timeout":10}`, [3]int{30, 10, 10}, ""},
		{`{"ttl":20}`, [3]int{20, 1, 9}, "ttl 20, loop_wait 10 and retry_timeout 10 do not fit together (at least 20, 1 and 3, and loop_wait + 2 * retry_timeout at most ttl): used are ttl 20, loop_wait 1 and retry_timeout 9"},
		{`{"ttl":20,"loop_wait":10,"retry_timeout":5}`, [3]int{20, 10, 5}, ""},
		{`{"ttl":30,"retry_timeout":20}`, [3]int{30, 1, 14}, "ttl 30, loop_wait 10 and retry_timeout 20 do not fit together (at least 20, 1 and 3, and loop_wait + 2 * retry_timeout at most ttl): used are ttl 30, loop_wait 1 and retry_timeout 14"},
		{`{"ttl":5,"loop_wait":0,"retry_timeout":1}`, [3]int{20, 1, 3}, "ttl 5, loop_wait 0 and retry_timeout 1 do not fit together (at least 20, 1 and 3, and loop_wait + 2 * retry_timeout at most ttl): used are ttl 20, loop_wait 1 and retry_timeout 3"},
		{`{"ttl":30,"loop_wait":15,"retry_timeout":10}`, [3]int{30, 10, 10}, "ttl 30, loop_wait 15 and retry_timeout 10 do not fit together (at least 20, 1 and 3, and loop_wait + 2 * retry_timeout at most ttl): used are ttl 30, loop_wait 10 and retry_timeout 10"},
		{`{"ttl":20,"loop_wait":3,"retry_timeout":8}`, [3]int{20, 3, 8}, ""},
		{`{"ttl":"40","loop_wait":10.9}`, [3]int{40, 10, 10}, ""},
		{`{"ttl":-5,"loop_wait":1,"retry_timeout":3}`, [3]int{20, 1, 3}, "ttl -5, loop_wait 1 and retry_timeout 3 do not fit together (at least 20, 1 and 3, and loop_wait + 2 * retry_timeout at most ttl): used are ttl 20, loop_wait 1 and retry_timeout 3"},
		{`{"tanist":{"minimum_ttl":5},"ttl":5,"loop_wait":1,"retry_timeout":2}`, [3]int{5, 1, 2}, ""},
		{`{"tanist":{"minimum_ttl":5},"ttl":4,"loop_wait":0,"retry_timeout":0}`, [3]int{5, 1, 1}, "ttl 4, loop_wait 0 and retry_timeout 0 do not fit together (at least 5, 1 and 1, and loop_wait + 2 * retry_timeout at most ttl): used are ttl 5, loop_wait 1 and retry_timeout 1"},
		{`{"tanist":{"minimum_ttl":1},"ttl":4}`, [3]int{20, 1, 9}, ""},
	} {
		t.Run(v.raw, func(t *testing.T) {
			s := dynamic(t, c, v.raw)
			got := [3]int{int(s.TTL / time.Second), int(s.LoopWait / time.Second), int(s.RetryTimeout / time.Second)}
			if got != v.want {
				t.Errorf("got %v, want %v", got, v.want)
			}
			if s.WithPatroni.TTL < 20*time.Second || s.WithPatroni.RetryTimeout < 3*time.Second || s.WithPatroni.LoopWait < time.Second {
				t.Errorf("with Patroni: %+v", s.WithPatroni)
			}
			if len(s.Notices) > 0 && v.note == "" && !strings.Contains(s.Notices[len(s.Notices)-1], "minimum_ttl") || v.note != "" && strings.Join(s.Notices, "\n") != v.note {
				t.Errorf("notices %q, want %q", s.Notices, v.note)
			}
		})
	}
}

func TestHandoverTimeout(t *testing.T) {
	c := mustLoad(t, minimal)
	for raw, want := range map[string]time.Duration{
		`{}`:                                 5 * time.Second,
		`{"tanist":{"handover_timeout":60}}`: time.Minute,
		`{"tanist":{"handover_timeout":0}}`:  5 * time.Second, // refused, and said
	} {
		if s := dynamic(t, c, raw); s.HandoverTimeout != want || strings.Contains(raw, ":0") != strings.Contains(strings.Join(s.Notices, ""), "tanist.handover_timeout") {
			t.Errorf("%s: %v, %q", raw, s.HandoverTimeout, s.Notices)
		}
	}
}

// Whatever the three times are, what is used fits, and fits again unchanged.
func FuzzTimeouts(f *testing.F) {
	f.Add(int64(30), int64(10), int64(10), int64(20))
	f.Fuzz(func(t *testing.T, ttl, loop, retry, least int64) {
		if ttl > forever || loop > forever || retry > forever || least < 3 || least > 20 {
			return
		}
		floor := timeoutFloors{least, 1, 1}
		got := timeouts{ttl, loop, retry}.adjust(floor)
		if got.loop < 1 || got.retry < 1 || got.ttl < least || got.loop+2*got.retry > got.ttl {
			t.Errorf("%d %d %d at %d became %+v", ttl, loop, retry, least, got)
		}
		if again := got.adjust(floor); again != got {
			t.Errorf("%+v became %+v", got, again)
		}
	})
}

func TestDocumentsThatCannotBeUsedAreRefused(t *testing.T) {
	c := mustLoad(t, minimal)
	for raw, want := range map[string]string{
		`{"ttl":"often"}`:                 `dynamic configuration: ttl: must be a whole number of seconds, and is the text "often"; until it is corrected the settings in force stay`,
		`{"ttl":"30s","loop_wait":null}`:  "dynamic configuration: ttl: must be a whole number of seconds, and is the text \"30s\"; until it is corrected the settings in force stay\ndynamic configuration: loop_wait: must be a whole number of seconds, and is empty; until it is corrected the settings in force stay",
		`{"retry_timeout":[1]}`:           "dynamic configuration: retry_timeout: must be a whole number of seconds, and is a list; until it is corrected the settings in force stay",
		`{"ttl":99999999999999999999999}`: `dynamic configuration: ttl: must be a whole number of seconds, and is the text "99999999999999999999999"; until it is corrected the settings in force stay`,
		`[]`:                              "dynamic configuration: not a JSON object; the settings in force stay",
		`{"a":1`:                          "dynamic configuration: not a JSON object: unexpected end of JSON input; the settings in force stay",
		``:                                "dynamic configuration: not a JSON object: unexpected end of JSON input; the settings in force stay",
		strings.Repeat("x", 2<<20):        "dynamic configuration: not a JSON object: invalid character 'x' looking for beginning of value; the settings in force stay",
	} {
		_, err := c.Dynamic([]byte(raw))
		if err == nil || err.Error() != want {
			t.Errorf("%.60s: got  %v\nwant %s", raw, err, want)
		}
	}
}

func TestValuesThatCannotBeUsedGiveWayToDefaults(t *testing.T) {
	s := dynamic(t, mustLoad(t, minimal), `{"maximum_lag_on_failover":"1MB","check_timeline":7,"master_start_timeout":-1,"max_timelines_history":"x",
		"postgresql":{"use_pg_rewind":"maybe","pg_hba":"local","parameters":{"max_connections":10,"wal_level":"minimal","hot_standby":"off","port":1,"work_mem":{},"x y":1},
		"callbacks":{"on_start":[1]},"basebackup":["gzip",{"max-rate":"10M"},{"compress":"gzip"}],"recovery_conf":{"work_mem":"1MB"}}}`)
	want := []string{
		"port: ignored, as it is set by the agent",
		"wal_level: \"minimal\" is not one of hot_standby, replica, logical; the default replica is used",
		"hot_standby: \"off\" cannot be used here; the default on is used",
		"max_connections: \"10\" is below the least value 25; the default 100 is used",
		"postgresql.basebackup: compress is used only with compression on the server (server-gzip and so on)",
		"dynamic configuration: maximum_lag_on_failover: must be a whole number, and is the text \"1MB\"; the default is used",
		"dynamic configuration: max_timelines_history: must be a whole number, and is the text \"x\"; the default is used",
		"dynamic configuration: check_timeline: must be on or off, and is the number 7; the default is used",
		"dynamic configuration: master_start_timeout: must be between 0 and 315360000, and is the number -1; the default is used",
		"dynamic configuration: postgresql.parameters.work_mem: must be one value, and is a mapping; the default is used",
		"dynamic configuration: postgresql.parameters.x y: is not the name of a parameter; the default is used",
		"dynamic configuration: postgresql.pg_hba: must be a list, and is the text \"local\"; the default is used",
		"dynamic configuration: postgresql.use_pg_rewind: must be on or off, and is the text \"maybe\"; the default is used",
		"dynamic configuration: postgresql.callbacks.on_start: must be text, and is a list; the default is used",
		"dynamic configuration: postgresql.recovery_conf.work_mem: is not a setting of standbys; the default is used",
		"dynamic configuration: postgresql.basebackup[0]: the option gzip is not allowed; the default is used",
	}
	if d := cmp.Diff(want, s.Notices); d != "" {
		t.Error(d)
	}
	if s.MaximumLagOnFailover != 1<<20 || s.PrimaryStartTimeout != 5*time.Minute || s.Postgres.Controlled["max_connections"] != "100" {
		t.Errorf("%+v", s)
	}
	if d := cmp.Diff([]string{"--max-rate=10M"}, s.Postgres.BaseBackup); d != "" {
		t.Error(d)
	}
}

func TestWhatIsNotHonouredIsSaid(t *testing.T) {
	c := mustLoad(t, minimal+"  rewind: [debug]\n  parameters_primary: {work_mem: 1MB}\ntags: {nostream: true}\n")
	s := dynamic(t, c, `{"synchronous_mode":"quorum","synchronous_mode_strict":true,"failsafe_mode":"on","pause":true,"standby_cluster":{"host":"x"},
		"slots":{"a":null},"ignore_slots":[{"name":"b"}],"member_slots_ttl":"1h","master_stop_timeout":5,
		"postgresql":{"create_replica_methods":["pgbackrest","basebackup"],"recovery_conf":{"trigger_file":"/x","restore_command":"y"}}}`)
	var want []string
	for _, k := range []string{"synchronous_mode", "synchronous_mode_strict", "pause", "standby_cluster", "slots", "ignore_slots", "member_slots_ttl",
		"master_stop_timeout", "trigger_file", "postgresql.create_replica_methods", "postgresql.rewind", "postgresql.parameters_primary", "tags.nostream"} {
		want = append(want, k+" is set and NOT honoured")
	}
	if d := cmp.Diff(want, s.Notices); d != "" {
		t.Error(d)
	}
	if !s.Paused || !s.StandbyCluster || !s.Failsafe {
		t.Error("pause, standby_cluster and failsafe_mode are not seen")
	}
	for _, quiet := range []string{`{"synchronous_mode":false}`, `{"synchronous_mode":"off","pause":"false","standby_cluster":{"host":"","port":0},"slots":{},"ignore_slots":[],"primary_stop_timeout":0,"master_stop_timeout":3}`} {
		if s := dynamic(t, mustLoad(t, minimal), quiet); len(s.Notices) > 0 || s.Paused || s.StandbyCluster {
			t.Errorf("%s: %v", quiet, s.Notices)
		}
	}
}

func TestLocalOverDynamic(t *testing.T) {
	c := mustLoad(t, minimal+`  parameters: {Work_Mem: 8MB, max_connections: 500, log_statement: null, archive_mode: on, shared_buffers: 0x10}
  pg_hba: [local all all trust]
  callbacks: {on_stop: "/bin/b"}
  use_slots: false
  pg_ctl_timeout: 5min
`)
	s := dynamic(t, c, `{"ttl":40,"primary_start_timeout":0,"master_start_timeout":7,"maximum_lag_on_failover":"0x10","check_timeline":"yes",
		"postgresql":{"data_dir":"/evil","listen":"1:2","use_pg_rewind":true,"pg_hba":["x"],"pg_ident":["i"],"callbacks":{"on_start":"/bin/a"},"pre_promote":"/p",
		"parameters":{"work_mem":"4MB","MAX_CONNECTIONS":"0x80","log_statement":"all","pg_stat_statements.max":1000,"random_page_cost":1.5,"synchronous_commit":true},
		"recovery_conf":{"restore_command":"r","recovery_target_time":"now","primary_conninfo":"x"},"remove_data_directory_on_diverged_timelines":1}}`)
	p := s.Postgres
	got := map[string]any{
		"times": fmt.Sprint(s.TTL, s.PrimaryStartTimeout, p.CtlTimeout), "lag": s.MaximumLagOnFailover, "timeline": s.CheckTimeline,
		"parameters": p.Parameters, "max_connections": p.Controlled["max_connections"], "hba": p.HBA, "ident": p.Ident, "callbacks": p.Callbacks,
		"slots": p.UseSlots, "rewind": p.UsePgRewind, "recovery": p.RecoveryConf, "diverged": p.RemoveOnDiverged, "pre": p.PrePromote, "notices": s.Notices,
	}
	want := map[string]any{
		"times": "40s 0s 5m0s", "lag": int64(16), "timeline": true,
		"parameters": map[string]string{"work_mem": "8MB", "archive_mode": "on", "shared_buffers": "16", "pg_stat_statements.max": "1000",
			"random_page_cost": "1.5", "synchronous_commit": "on"},
		"max_connections": "128", "hba": []string{"local all all trust"}, "ident": []string{"i"}, "callbacks": map[string]string{"on_stop": "/bin/b"},
		"slots": true, "rewind": true, "recovery": map[string]string{"restore_command": "r"}, "diverged": true, "pre": "/p", "notices": []string(nil),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if c.PostgreSQL.DataDir != "/data" {
		t.Error("data_dir was taken from the dynamic configuration")
	}
}

func TestRecoveryParametersReplaceRecoveryConf(t *testing.T) {
	s := dynamic(t, mustLoad(t, minimal+"  parameters: {restore_command: a, recovery_target_time: x}\n  recovery_conf: {restore_command: b, recovery_min_apply_delay: 5}\n"), `{}`)
	if d := cmp.Diff(map[string]string{"restore_command": "a"}, s.Postgres.RecoveryConf); d != "" {
		t.Error(d)
	}
	if len(s.Postgres.Parameters) > 0 {
		t.Errorf("%v are left", s.Postgres.Parameters)
	}
}

func TestSegmentsBecomeASize(t *testing.T) {
	s := dynamic(t, mustLoad(t, minimal), `{"postgresql":{"parameters":{"wal_keep_segments":100}}}`)
	if got := s.Postgres.Controlled["wal_keep_size"]; got != "1600MB" {
		t.Errorf("wal_keep_size is %s", got)
	}
}

// Whatever the store holds, a member goes on: settings or an error, no panic, and times that can be computed with.
func FuzzDynamic(f *testing.F) {
	for _, raw := range []string{`{}`, `{"ttl":5,"tanist":{"minimum_ttl":"5"}}`, `{"postgresql":[]}`, `{"postgresql":{"parameters":1,"basebackup":{"a":null}}}`,
		`{"slots":[],"standby_cluster":1,"postgresql":{"callbacks":[],"recovery_conf":{"a":{}}}}`, `{"a\u0000b":1}`} {
		f.Add(raw)
	}
	c, _, err := Load(Options{Path: "testdata/on-premises-node1.yml"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := c.Dynamic([]byte(raw))
		if err != nil {
			return
		}
		if s.TTL < 3*time.Second || s.LoopWait < time.Second || s.RetryTimeout < time.Second || s.LoopWait+2*s.RetryTimeout > s.TTL {
			t.Errorf("%v %v %v", s.TTL, s.LoopWait, s.RetryTimeout)
		}
	})
}
