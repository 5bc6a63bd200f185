package restapi

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// Modes are the cluster-wide modes that change what the API shows. They are read from the dynamic configuration.
type Modes struct {
	Paused         bool
	Synchronous    bool // also when Quorum
	Quorum         bool
	StandbyCluster bool
}

// ReadModes reads the modes that cfg sets; nil sets none. A value that cannot be understood counts as not set.
func ReadModes(cfg *dcs.Config) Modes {
	if cfg == nil {
		return Modes{}
	}
	var raw struct {
		Pause          any `json:"pause"`
		Synchronous    any `json:"synchronous_mode"`
		StandbyCluster any `json:"standby_cluster"`
	}
	if err := json.Unmarshal(cfg.Raw, &raw); err != nil {
		return Modes{}
	}
	m := Modes{Paused: isTrue(raw.Pause)}
	m.Quorum = strings.EqualFold(fmt.Sprint(raw.Synchronous), "quorum")
	m.Synchronous = m.Quorum || isTrue(raw.Synchronous)
	if remote, ok := raw.StandbyCluster.(map[string]any); ok {
		m.StandbyCluster = remote["host"] != nil || remote["port"] != nil || remote["restore_command"] != nil
	}
	return m
}

// isTrue reads a truth value as Patroni does.
func isTrue(v any) bool {
	switch strings.ToLower(fmt.Sprint(v)) {
	case "true", "on", "yes", "1":
		return true
	}
	return false
}

// SyncStandby says whether the /sync key lists name. Names are compared without regard to case.
func SyncStandby(s *dcs.Sync, name string) bool {
	if s == nil {
		return false
	}
	for listed := range strings.SplitSeq(s.Standby, ",") {
		if listed = strings.TrimSpace(listed); listed != "" && strings.EqualFold(listed, name) {
			return true
		}
	}
	return false
}
