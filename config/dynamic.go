package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// sourceDynamic is how messages name the document that the store holds under /config.
const sourceDynamic = "dynamic configuration"

// dynamicKeys are the keys at the top level of the dynamic configuration.
var dynamicKeys = []string{
	"ttl", "loop_wait", "retry_timeout", "maximum_lag_on_failover", "maximum_lag_on_syncnode", "max_timelines_history",
	"check_timeline", "primary_start_timeout", "master_start_timeout", "primary_stop_timeout", "master_stop_timeout",
	"primary_race_backoff", "synchronous_mode", "synchronous_mode_strict", "synchronous_node_count", "failsafe_mode", "pause",
	"standby_cluster", "member_slots_ttl", "slots", "permanent_slots", "permanent_replication_slots", "ignore_slots",
	"postgresql", "tanist",
}

func isDynamicKey(k string) bool { return k != "postgresql" && slices.Contains(dynamicKeys, k) }

// forever bounds times, in seconds, so that they can be computed with.
const forever = 10 * 365 * 86400

// Dynamic merges the dynamic configuration, JSON as the store holds it under /config, with the local file into what is
// in force. raw nil stands for a cluster that has none yet: bootstrap.dcs is used. It is an ha.Parse.
//
// Timeouts that do not fit together are adjusted; a value that cannot be used gives way to its default; settings that
// this release does not honour are passed over. Each is said in Settings.Notices. An error means that nothing of raw may
// be used and what was in force stays: raw is not a JSON object, or ttl, loop_wait or retry_timeout is not a whole
// number.
func (c *Config) Dynamic(raw []byte) (ha.Settings, error) {
	t := c.bootstrapTree()
	if raw != nil {
		values, err := decodeObject(raw)
		if err != nil {
			return ha.Settings{}, &Error{Where{Source: sourceDynamic}, err.Error(), "the settings in force stay"}
		}
		t = &tree{values: values, source: sourceDynamic}
	}
	b := c.settings(t)
	if err := joinProblems(b.fatal); err != nil {
		return ha.Settings{}, err
	}
	for _, p := range b.problems {
		if !b.isLocal(p) { // Load has reported what is wrong in the local file
			b.notice("%s", message(p.Where, p.What, "the default is used"))
		}
	}
	b.s.Notices = b.notices
	return b.s, nil
}

// bootstrapTree is bootstrap.dcs as a document of its own.
func (c *Config) bootstrapTree() *tree {
	t := newTree(sourceDynamic)
	bootstrap, _ := c.tree.values["bootstrap"].(map[string]any)
	if values, ok := bootstrap["dcs"].(map[string]any); ok {
		t.values = values
	}
	prefix := joinPath([]string{"bootstrap", "dcs"}) + sep
	for path, p := range c.tree.places {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			p.key = "bootstrap.dcs." + showPath(strings.Split(rest, sep))
			t.places[rest] = p
		}
	}
	return t
}

// settingsBuilder turns one dynamic document and the local file into Settings.
type settingsBuilder struct {
	c        *Config
	s        ha.Settings
	fatal    []Error // the document must not be used
	problems []Error // a default is used instead
	notices  []string
}

func (b *settingsBuilder) notice(format string, args ...any) {
	b.notices = append(b.notices, fmt.Sprintf(format, args...))
}

// unhonoured says that name was asked for and is not built.
func (b *settingsBuilder) unhonoured(name string) { b.notice("%s is set and NOT honoured", name) }

// isLocal says whether p was found in the local file, outside of bootstrap.dcs.
func (b *settingsBuilder) isLocal(p Error) bool {
	return p.Source != sourceDynamic && !strings.HasPrefix(p.Key, "bootstrap.dcs.")
}

func (c *Config) settings(t *tree) *settingsBuilder {
	b := &settingsBuilder{c: c}
	r := &reader{tree: t}
	root := r.root()
	b.timeouts(root)
	b.failover(root)
	b.notBuilt(root)
	merged := b.postgres(root)
	b.problems = append(r.problems, merged.problems...)
	b.s.Tags = c.Tags
	b.s.Watchdog = c.Watchdog.settings()
	if c.Tags.NoStream {
		b.unhonoured("tags.nostream")
	}
	return b
}

// readSettings finds at load what is wrong with the settings of the local file and of bootstrap.dcs. A wrong value there
// is an error where it is local and a warning where the cluster would go on with a default.
func (c *Config) readSettings(r *reader) {
	b := c.settings(c.bootstrapTree())
	r.problems = append(r.problems, b.fatal...)
	for _, p := range b.problems {
		if b.isLocal(p) {
			r.problems = append(r.problems, p)
		} else {
			r.warnings = append(r.warnings, Warning{p.Where, p.What, "the default would be used"})
		}
	}
}

func (b *settingsBuilder) timeouts(s *section) {
	ttl := b.seconds(s, "ttl", 30)
	loop := b.seconds(s, "loop_wait", 10)
	retry := b.seconds(s, "retry_timeout", 10)
	floor := patroniFloors
	if own := s.sub("tanist"); own.has("minimum_ttl") {
		n := own.integer("minimum_ttl", 20, 3, 20, "s")
		floor = timeoutFloors{n, 1, 1}
		b.s.MinimumTTL = seconds(n)
	}
	asked := timeouts{ttl, loop, retry}
	used := asked.adjust(floor)
	if used != asked && len(b.fatal) == 0 {
		b.notice("ttl %d, loop_wait %d and retry_timeout %d do not fit together (at least %d, %d and %d, and loop_wait + 2 * retry_timeout at most ttl): used are ttl %d, loop_wait %d and retry_timeout %d",
			asked.ttl, asked.loop, asked.retry, floor.ttl, floor.loop, floor.retry, used.ttl, used.loop, used.retry)
	}
	b.s.TTL, b.s.LoopWait, b.s.RetryTimeout = seconds(used.ttl), seconds(used.loop), seconds(used.retry)
	p := asked.adjust(patroniFloors)
	b.s.WithPatroni = ha.Timeouts{TTL: seconds(p.ttl), LoopWait: seconds(p.loop), RetryTimeout: seconds(p.retry)}
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// seconds reads one of the three times whose type decides whether the whole document is taken.
func (b *settingsBuilder) seconds(s *section, key string, def int64) int64 {
	v, exists := s.values[key]
	s.known[key] = true
	if !exists {
		return def
	}
	n, ok := v.(int64)
	switch v := v.(type) {
	case float64: // as Python's int()
		n, ok = int64(v), math.Abs(v) < forever
	case string:
		n, ok = integerOf(strings.TrimSpace(v), "")
		ok = ok && strings.Trim(strings.TrimSpace(v), "+-0123456789") == ""
	}
	if !ok || n > forever || n < -forever {
		path := s.at(key)
		b.fatal = append(b.fatal, Error{s.r.tree.where(path), "must be a whole number of seconds, and is " + s.r.describe(path, v), "until it is corrected the settings in force stay"})
		return def
	}
	return n
}

// timeouts are ttl, loop_wait and retry_timeout in seconds; timeoutFloors the least that they may be.
type (
	timeouts      struct{ ttl, loop, retry int64 }
	timeoutFloors struct{ ttl, loop, retry int64 }
)

var patroniFloors = timeoutFloors{20, 1, 3}

// adjust makes the three fit: two attempts of retry_timeout and one loop_wait must end within ttl (Patroni does the
// same).
func (t timeouts) adjust(least timeoutFloors) timeouts {
	t = timeouts{max(t.ttl, least.ttl), max(t.loop, least.loop), max(t.retry, least.retry)}
	switch {
	case 1+2*t.retry > t.ttl:
		t.loop, t.retry = 1, (t.ttl-1)/2
	case t.loop+2*t.retry > t.ttl:
		t.loop = t.ttl - 2*t.retry
	}
	return t
}

func (b *settingsBuilder) failover(s *section) {
	b.s.MaximumLagOnFailover = s.integer("maximum_lag_on_failover", 1<<20, 0, math.MaxInt64, "")
	b.s.MaxTimelinesHistory = int(s.integer("max_timelines_history", 0, 0, math.MaxInt32, ""))
	b.s.CheckTimeline = s.boolean("check_timeline", false)
	b.s.PrimaryStartTimeout = seconds(s.integer(alias(s, "primary_start_timeout", "master_start_timeout"), 300, 0, forever, "s"))
	b.s.HandoverTimeout = seconds(s.sub("tanist").integer("handover_timeout", 5, 1, 3600, "s"))
	b.s.PrimaryRaceBackoff = seconds(s.integer("primary_race_backoff", 2, 0, forever, "s"))
}

// alias returns the newer name of a key if it is there, else the older.
func alias(s *section, newer, older string) string {
	if _, ok := s.values[newer]; ok {
		return newer
	}
	return older
}

// notBuilt says what the document asks for and this release does not do.
func (b *settingsBuilder) notBuilt(s *section) {
	on := func(key string) bool {
		v, _ := boolOf(s.get(key))
		return v
	}
	if text, _ := s.get("synchronous_mode").(string); on("synchronous_mode") || strings.EqualFold(text, "quorum") {
		b.unhonoured("synchronous_mode")
	}
	for _, key := range []string{"synchronous_mode_strict", "pause"} {
		if on(key) {
			b.unhonoured(key)
		}
	}
	b.s.Paused = on("pause")
	b.s.Failsafe = on("failsafe_mode")
	standby, _ := s.get("standby_cluster").(map[string]any)
	for _, k := range []string{"host", "port", "restore_command"} {
		if v := standby[k]; v != nil && v != "" && v != int64(0) && v != false {
			b.s.StandbyCluster = true
		}
	}
	if b.s.StandbyCluster {
		b.unhonoured("standby_cluster")
	}
	for _, k := range []string{"permanent_replication_slots", "permanent_slots", "slots"} {
		if m, _ := s.get(k).(map[string]any); len(m) > 0 {
			b.unhonoured(k)
			break
		}
	}
	if list, _ := s.get("ignore_slots").([]any); len(list) > 0 {
		b.unhonoured("ignore_slots")
	}
	if s.has("member_slots_ttl") {
		b.unhonoured("member_slots_ttl")
	}
	if key := alias(s, "primary_stop_timeout", "master_stop_timeout"); s.integer(key, 0, 0, forever, "s") > 0 {
		b.unhonoured(key)
	}
}

// checkDynamicKeys warns of unknown keys in bootstrap.dcs, where they can still be corrected.
func checkDynamicKeys(dcs *section) {
	for _, k := range dynamicKeys {
		dcs.known[k] = true
	}
	own := dcs.sub("tanist")
	own.known["minimum_ttl"], own.known["handover_timeout"] = true, true
	own.done()
	pg := dcs.sub("postgresql")
	markSettings(pg)
	for _, k := range localOnly {
		if pg.has(k) {
			pg.r.warn(pg.at(k), "does nothing here: it is taken from the local file only", "write it below postgresql")
		}
	}
	pg.done()
	dcs.done()
}

// orderedJSON writes a mapping of the tree as JSON, keys in the order of the file.
func (c *Config) orderedJSON(path []string, m map[string]any) []byte {
	o := &jsonObject{}
	for _, k := range c.tree.ordered(path, m) {
		if sub, ok := m[k].(map[string]any); ok {
			raw, err := readObject(c.orderedJSON(append(slices.Clone(path), k), sub))
			if err == nil {
				o.set(k, jsonValue{object: raw})
			}
			continue
		}
		if raw, err := marshal(jsonSafe(m[k])); err == nil {
			o.set(k, jsonValue{raw: raw})
		}
	}
	return o.append(nil)
}

// jsonSafe replaces what JSON cannot hold, infinite numbers, by their text.
func jsonSafe(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return pyStr(v)
		}
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = jsonSafe(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = jsonSafe(e)
		}
		return out
	}
	return v
}

// split returns the parts of a joined error.
func split(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
