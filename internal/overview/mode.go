package overview

import (
	"encoding/json"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// Mode is what the dynamic configuration says about the cluster as a whole.
type Mode struct {
	Paused         bool
	Synchronous    bool // synchronous_mode is on, or quorum
	Quorum         bool
	StandbyCluster bool
}

// ModeOf reads it tolerantly: what cannot be understood counts as off.
func ModeOf(c *dcs.Config) Mode {
	if c == nil {
		return Mode{}
	}
	var raw struct {
		Pause       any `json:"pause"`
		Synchronous any `json:"synchronous_mode"`
		Standby     any `json:"standby_cluster"`
	}
	if json.Unmarshal(c.Raw, &raw) != nil {
		return Mode{}
	}
	m := Mode{Paused: truth(raw.Pause), Synchronous: truth(raw.Synchronous)}
	if s, ok := raw.Synchronous.(string); ok && strings.EqualFold(s, "quorum") {
		m.Synchronous, m.Quorum = true, true
	}
	if standby, ok := raw.Standby.(map[string]any); ok {
		for _, key := range []string{"host", "port", "restore_command"} {
			if v := standby[key]; v != nil && v != "" {
				m.StandbyCluster = true
			}
		}
	}
	return m
}

// truth reads a boolean in the spellings that configuration files use.
func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case float64:
		return v == 1
	case string:
		switch strings.ToLower(v) {
		case "on", "true", "yes", "1":
			return true
		}
	}
	return false
}
