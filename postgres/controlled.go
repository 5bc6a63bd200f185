package postgres

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Controlled is a setting that must be the same on all members, so that each can take any other's place: a standby does
// not start with less than its primary has. It is given on the command line, where no file can override it, and is
// changed in the dynamic configuration only.
type Controlled struct {
	Name    string
	Default string // empty where the agent itself supplies the value
	// Never: the agent knows the value (addresses, cluster_name); the user's is ignored.
	Never bool
	// InFile: written to postgresql.conf, not to the command line.
	InFile bool
	// Kind is how a value is checked.
	Kind GUCKind
	// Min is the smallest value of an integer, in Unit.
	Min  int64
	Unit string // base unit of an integer; empty: a bare number
}

// GUCKind is the type of a setting.
type GUCKind string

// The types among the controlled settings.
const (
	GUCString GUCKind = "string"
	GUCInt    GUCKind = "integer"
	GUCBool   GUCKind = "bool"
	GUCOnly   GUCKind = "always on" // only true values are taken
	GUCEnum   GUCKind = "enum"      // wal_level
)

// walSegment is the size of a segment that the older unit of wal_keep_* counts in, in MB. It is 16 whatever the cluster's
// is, as in Patroni.
const walSegment = 16

// ControlledParameters lists the controlled settings of the supported majors, in the order of the command line.
func ControlledParameters() []Controlled {
	return []Controlled{
		{Name: "listen_addresses", Never: true, Kind: GUCString},
		{Name: "port", Never: true, Kind: GUCInt},
		{Name: "cluster_name", Never: true, Kind: GUCString},
		{Name: "wal_level", Default: "replica", Kind: GUCEnum},
		{Name: "hot_standby", Default: "on", Kind: GUCOnly},
		{Name: "max_connections", Default: "100", Kind: GUCInt, Min: 25},
		{Name: "max_wal_senders", Default: "10", Kind: GUCInt, Min: 3},
		{Name: "max_prepared_transactions", Default: "0", Kind: GUCInt, Min: 0},
		{Name: "max_locks_per_transaction", Default: "64", Kind: GUCInt, Min: 32},
		{Name: "track_commit_timestamp", Default: "off", Kind: GUCBool},
		{Name: "max_replication_slots", Default: "10", Kind: GUCInt, Min: 4},
		{Name: "max_worker_processes", Default: "8", Kind: GUCInt, Min: 2},
		{Name: "wal_log_hints", Default: "on", Kind: GUCBool},
		{Name: "wal_keep_size", Default: "128MB", InFile: true, Kind: GUCInt, Min: walSegment, Unit: "MB"},
	}
}

// IsControlled says whether name, in any case, is a controlled setting. wal_keep_segments is one, by its successor.
func IsControlled(name string) bool {
	name = strings.ToLower(name)
	return name == "wal_keep_segments" || slices.ContainsFunc(ControlledParameters(), func(c Controlled) bool { return c.Name == name })
}

// Check normalises a user's value: integers to decimal ("0x20" to "32") with their unit, booleans to on and off. An
// error says why the value cannot be used; then the default holds, not the minimum.
func (c Controlled) Check(value string) (string, error) {
	switch c.Kind {
	case GUCInt:
		n, ok := ParseInt(value, c.Unit)
		if !ok {
			return "", fmt.Errorf("%s: %q is not an integer, or its unit does not fit", c.Name, value)
		}
		if n < c.Min {
			return "", fmt.Errorf("%s: %q is below the least value %d%s", c.Name, value, c.Min, c.Unit)
		}
		return strconv.FormatInt(n, 10) + c.Unit, nil
	case GUCBool, GUCOnly:
		b, ok := ParseBool(value)
		if !ok || c.Kind == GUCOnly && !b {
			return "", fmt.Errorf("%s: %q cannot be used here", c.Name, value)
		}
		if b {
			return "on", nil
		}
		return "off", nil
	case GUCEnum:
		switch v := strings.ToLower(value); v {
		case "hot_standby":
			return "replica", nil // its name since 9.6
		case "replica", "logical":
			return v, nil
		}
		return "", fmt.Errorf("%s: %q is not one of hot_standby, replica, logical", c.Name, value)
	}
	return value, nil
}

// ControlledValues merges the user's settings with the defaults: all controlled settings that the agent does not supply
// itself, those of InFile included. Settings of params that are not controlled are passed over; names are taken in any
// case. The error joins what could not be used, one for each setting, as warnings: the values are good all the same.
func ControlledValues(params map[string]string) (map[string]string, error) {
	given := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(params)) { // sorted, so that two spellings of a name give one result
		given[strings.ToLower(name)] = params[name]
	}
	var errs []error
	if segments, ok := given["wal_keep_segments"]; ok && given["wal_keep_size"] == "" {
		n, ok := ParseInt(segments, "")
		if !ok || n < 1 {
			errs = append(errs, fmt.Errorf("wal_keep_segments: %q is not a number of segments", segments))
		} else {
			given["wal_keep_size"] = strconv.FormatInt(n*walSegment, 10) + "MB"
		}
	}
	values := map[string]string{}
	for _, c := range ControlledParameters() {
		v, ok := given[c.Name]
		if c.Never {
			if ok {
				errs = append(errs, fmt.Errorf("%s: ignored, as it is set by the agent", c.Name))
			}
			continue
		}
		values[c.Name] = c.Default
		if !ok {
			continue
		}
		checked, err := c.Check(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w; the default %s is used", err, c.Default))
			continue
		}
		values[c.Name] = checked
	}
	return values, errors.Join(errs...)
}
