package dcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// UnmarshalJSON reads what a member published, whoever wrote it: unknown fields are ignored, and fields of a wrong type are
// left empty. It fails only if b is no JSON object.
func (m *MemberData) UnmarshalJSON(b []byte) error {
	data, _, err := parseMember(b)
	if err != nil {
		return err
	}
	*m = data
	return nil
}

// decodeMember reads the value of a member key, in today's form or in the one that Patroni wrote before 1.0.
func decodeMember(value []byte) (MemberData, []string) {
	if bytes.HasPrefix(value, []byte("postgres")) {
		data, err := legacyMember(string(value))
		if err != nil {
			return MemberData{}, []string{err.Error()}
		}
		return data, nil
	}
	data, problems, err := parseMember(value)
	if err != nil {
		return MemberData{}, []string{"its value " + err.Error() + "; the member is there, but nothing is known about it"}
	}
	return data, problems
}

func parseMember(b []byte) (MemberData, []string, error) {
	f, err := parseFields(b)
	if err != nil {
		return MemberData{}, nil, err
	}
	m := MemberData{
		ConnURL:          f.str("conn_url"),
		APIURL:           f.str("api_url"),
		State:            State(f.str("state")),
		Role:             Role(f.str("role")),
		Version:          f.str("version"),
		ProxyURL:         f.str("proxy_url"),
		Tags:             f.tags("tags"),
		XLogLocation:     f.number("xlog_location"),
		ReceiveLSN:       f.number("receive_lsn"),
		ReplayLSN:        f.number("replay_lsn"),
		ReplicationState: f.str("replication_state"),
		Tanist:           f.str("tanist"),
		TanistTTL:        f.number("tanist_ttl"),
		TanistWatchdog:   f.str("tanist_watchdog"),
	}
	if m.Role == "master" { // before Patroni 4
		m.Role = RolePrimary
	}
	if v, ok := f.boolean("checkpoint_after_promote"); ok {
		m.CheckpointAfterPromote = &v
	}
	m.PendingRestart, _ = f.boolean("pending_restart")
	m.PendingRestartReason = f.pendingChanges("pending_restart_reason")
	m.Pause, _ = f.boolean("pause")
	m.TanistUnfenced, _ = f.boolean("tanist_unfenced")
	switch n := f.number("timeline"); {
	case n <= 0xffffffff:
		m.Timeline = uint32(n)
	default:
		f.bad = append(f.bad, "timeline")
	}
	var schedule map[string]json.RawMessage
	if f.read("scheduled_restart", &schedule) {
		m.ScheduledRestart, _ = f.raw("scheduled_restart")
	}
	return m, f.problems(), nil
}

// tags reads an object of any values. One that JSON allows and Go's numbers cannot hold is left out.
func (f *fields) tags(name string) map[string]any {
	var raw map[string]json.RawMessage
	if !f.read(name, &raw) || len(raw) == 0 {
		return nil
	}
	tags := make(map[string]any, len(raw))
	for k, r := range raw {
		var v any
		if json.Unmarshal(r, &v) != nil {
			f.bad = append(f.bad, name+"."+k)
			continue
		}
		tags[k] = v
	}
	return tags
}

// pendingChanges reads settings and their old and new values, which some versions wrote as numbers or booleans.
func (f *fields) pendingChanges(name string) map[string]PendingChange {
	var raw map[string]map[string]json.RawMessage
	if !f.read(name, &raw) || len(raw) == 0 {
		return nil
	}
	changes := make(map[string]PendingChange, len(raw))
	for setting, c := range raw {
		changes[setting] = PendingChange{OldValue: scalar(c["old_value"]), NewValue: scalar(c["new_value"])}
	}
	return changes
}

// scalar is a JSON string's text, or another value as it stands; null and absence are "".
func scalar(r json.RawMessage) string {
	var s string
	if len(r) == 0 || string(r) == "null" {
		return ""
	}
	if json.Unmarshal(r, &s) == nil {
		return s
	}
	return string(r)
}

// legacyMember parses postgres://host/db?application_name=API_URL.
func legacyMember(value string) (MemberData, error) {
	u, err := url.Parse(value)
	if err != nil || !strings.HasPrefix(value, u.Scheme+"://") {
		return MemberData{}, errors.New("its value looks like a connection URL of an old Patroni and cannot be parsed as one")
	}
	api := u.Query().Get("application_name")
	u.RawQuery = ""
	return MemberData{ConnURL: u.String(), APIURL: api}, nil
}

// encodeMember renders m in Patroni's order of fields.
func encodeMember(m MemberData) ([]byte, error) {
	b, err := Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the member key: %w", err)
	}
	return b, nil
}
