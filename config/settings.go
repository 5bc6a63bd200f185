package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// localOnly are keys below postgresql that the dynamic configuration cannot set.
var localOnly = []string{"connect_address", "proxy_address", "listen", "config_dir", "data_dir", "pgpass", "authentication"}

// sharedKeys are keys below postgresql that may stand in the local file and in the dynamic configuration. The local
// value replaces the dynamic one as a whole, but for parameters, which are merged.
var sharedKeys = []string{
	"parameters", "pg_hba", "pg_ident", "recovery_conf", "use_pg_rewind", "rewind", "remove_data_directory_on_rewind_failure",
	"remove_data_directory_on_diverged_timelines", "use_slots", "create_replica_methods", "create_replica_method", "basebackup",
	"callbacks", "pre_promote", "before_stop", "pg_ctl_timeout", "use_unix_socket", "use_unix_socket_repl", "krbsrvname",
	"custom_conf", "config_base_name",
}

// roleKeys replace or extend their base keys on members of one role. They are not built.
func roleKeys() []string {
	var keys []string
	for _, base := range []string{"parameters_", "pg_hba_", "pg_ident_"} {
		for _, role := range []string{"primary", "replica", "standby_leader"} {
			keys = append(keys, base+role)
		}
	}
	return keys
}

// markSettings makes known what settings are read from, the methods of replica creation included.
func markSettings(s *section) {
	for _, k := range slices.Concat(sharedKeys, roleKeys(), localOnly) {
		s.known[k] = true
	}
	for k, v := range s.values {
		if m, ok := v.(map[string]any); ok && m["command"] != nil {
			s.known[k] = true
		}
	}
	for _, key := range []string{"create_replica_methods", "create_replica_method"} {
		if list, ok := s.values[key].([]any); ok {
			for _, m := range list {
				s.known[pyStr(m)] = true
			}
		}
	}
}

// postgres builds the settings of the server. dyn is the dynamic document. What is wrong with the merged values is left
// in the reader that it returns.
func (b *settingsBuilder) postgres(dyn *section) *reader {
	fromDynamic := dyn.sub("postgresql")
	params := map[string]string{} // of the dynamic configuration, names in lower case
	readParameters(fromDynamic.sub("parameters"), params, func(string) bool { return true })
	controlled, err := postgres.ControlledValues(params)
	for _, e := range split(err) {
		b.notice("%s", e)
	}
	s := b.effective(fromDynamic)
	pg := postgres.Settings{
		Controlled:            controlled,
		HBA:                   s.texts("pg_hba"),
		Ident:                 s.texts("pg_ident"),
		UsePgRewind:           s.boolean("use_pg_rewind", s.has("pg_rewind")),
		RemoveOnRewindFailure: s.boolean("remove_data_directory_on_rewind_failure", false),
		RemoveOnDiverged:      s.boolean("remove_data_directory_on_diverged_timelines", false),
		UseSlots:              fromDynamic.boolean("use_slots", true),
		Callbacks:             b.callbacks(s),
		PrePromote:            s.text("pre_promote", ""),
		BeforeStop:            s.text("before_stop", ""),
		CtlTimeout:            seconds(s.integer("pg_ctl_timeout", 60, 0, forever, "s")),
	}
	maps.DeleteFunc(params, func(name, _ string) bool { return postgres.IsControlled(name) })
	b.localParameters(s, params)
	pg.Parameters, pg.RecoveryConf = b.splitRecovery(s, params)
	pg.BaseBackup = b.baseBackup(s)
	b.notBuiltPostgres(s)
	b.s.Postgres = pg
	return s.r
}

// effective is the section postgresql as the local file overlays the dynamic one. Parameters are not merged here.
func (b *settingsBuilder) effective(dyn *section) *section {
	t := newTree(sourceDynamic)
	values := map[string]any{}
	for k, v := range dyn.values {
		if !slices.Contains(localOnly, k) && k != "parameters" {
			values[k] = v
		}
	}
	local, _ := b.c.tree.values["postgresql"].(map[string]any)
	for k, v := range local {
		if k != "use_slots" {
			values[k] = v
		}
	}
	take := func(from *tree, wanted func(key string) bool) {
		for at, p := range from.places {
			parts := strings.SplitN(at, sep, 3)
			if len(parts) > 1 && parts[0] == "postgresql" && wanted(parts[1]) {
				t.places[at] = p
			}
		}
	}
	isLocal := func(k string) bool { _, ok := local[k]; return ok }
	take(dyn.r.tree, func(k string) bool { return !isLocal(k) })
	take(b.c.tree, isLocal)
	return &section{r: &reader{tree: t}, path: []string{"postgresql"}, values: values, known: map[string]bool{}}
}

// localParameters merges the local file's parameters over params. Controlled ones are passed over there; Load warns of
// them.
func (b *settingsBuilder) localParameters(s *section, params map[string]string) {
	readParameters(s.sub("parameters"), params, func(name string) bool { return !postgres.IsControlled(name) })
}

// readParameters puts the parameters of s into out. null takes one away.
func readParameters(s *section, out map[string]string, take func(name string) bool) {
	for _, k := range sortedKeys(s.values) {
		name := strings.ToLower(k)
		if !take(name) {
			continue
		}
		if !postgres.ValidGUCName(name) {
			s.r.fail(s.at(k), "is not the name of a parameter", "")
			continue
		}
		v := s.get(k)
		if v == nil {
			delete(out, name)
			continue
		}
		text, ok := parameterText(v)
		if !ok {
			s.wrong(k, "one value", "write a list as one text: 'a, b'")
			continue
		}
		out[name] = text
	}
}

// parameterText is a scalar as postgresql.conf has it.
func parameterText(v any) (string, bool) {
	switch v := v.(type) {
	case bool:
		return onOff(v), true
	case int64, float64:
		return pyStr(v), true
	case string:
		return v, !strings.Contains(v, "\x00")
	}
	return "", false
}

// recoveryParameters are settings of standbys, which older files keep in recovery_conf.
var recoveryParameters = []string{
	"archive_cleanup_command", "recovery_end_command", "recovery_min_apply_delay", "restore_command", "primary_conninfo",
	"primary_slot_name", "promote_trigger_file", "trigger_file", "standby_mode",
}

func isRecovery(name string) bool {
	return slices.Contains(recoveryParameters, name) || strings.HasPrefix(name, "recovery_target")
}

// agentRecovery are those that the agent decides itself.
func agentRecovery(name string) bool {
	return strings.HasPrefix(name, "recovery_target") ||
		slices.Contains([]string{"primary_conninfo", "primary_slot_name", "promote_trigger_file", "trigger_file", "standby_mode"}, name)
}

// splitRecovery parts params into those of the server and those of a standby. Standby settings among the parameters
// replace recovery_conf as a whole.
func (b *settingsBuilder) splitRecovery(s *section, params map[string]string) (server, recovery map[string]string) {
	server, recovery = map[string]string{}, map[string]string{}
	for name, v := range params {
		if isRecovery(name) {
			recovery[name] = v
		} else {
			server[name] = v
		}
	}
	given := map[string]string{}
	readParameters(s.sub("recovery_conf"), given, isRecoveryOrUnknown(s))
	if len(recovery) == 0 {
		recovery = given
	}
	for name, v := range recovery {
		if !agentRecovery(name) {
			continue
		}
		delete(recovery, name)
		if strings.HasSuffix(name, "trigger_file") && v != "" {
			b.unhonoured(name)
		}
	}
	return server, recovery
}

// isRecoveryOrUnknown passes settings of standbys and notes everything else in recovery_conf.
func isRecoveryOrUnknown(s *section) func(string) bool {
	return func(name string) bool {
		if !isRecovery(name) {
			s.r.fail(append(s.at("recovery_conf"), name), "is not a setting of standbys", "write it below postgresql.parameters")
			return false
		}
		return true
	}
}

// callbackNames are the events that commands may be run for.
var callbackNames = []string{"on_start", "on_stop", "on_restart", "on_reload", "on_role_change"}

func (b *settingsBuilder) callbacks(s *section) map[string]string {
	calls := s.sub("callbacks")
	out := map[string]string{}
	for _, name := range callbackNames {
		if command := calls.text(name, ""); command != "" {
			out[name] = command
		}
	}
	return out
}

// forbiddenBaseBackup would break what the agent does with pg_basebackup itself.
var forbiddenBaseBackup = []string{"pgdata", "format", "wal-method", "xlog-method", "gzip", "version", "dbname", "host", "port", "username", "password"}

func (b *settingsBuilder) baseBackup(s *section) []string {
	opts, problems := readOptions(s, "basebackup", forbiddenBaseBackup)
	for _, p := range problems {
		s.r.fail(p.path, p.what, p.hint)
	}
	return slices.DeleteFunc(opts, func(o string) bool {
		bad := o == "--compress" || strings.HasPrefix(o, "--compress=") && !strings.HasPrefix(o, "--compress=server-")
		if bad {
			b.notice("postgresql.basebackup: compress is used only with compression on the server (server-gzip and so on)")
		}
		return bad
	})
}

func (b *settingsBuilder) notBuiltPostgres(s *section) {
	for _, key := range []string{"create_replica_methods", "create_replica_method"} {
		if methods := s.words(key); len(methods) > 0 && !slices.Equal(methods, []string{"basebackup"}) {
			b.unhonoured("postgresql." + key)
			break
		}
	}
	for _, key := range slices.Concat([]string{"rewind"}, roleKeys()) {
		if s.has(key) {
			b.unhonoured("postgresql." + key)
		}
	}
}
