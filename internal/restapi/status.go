package restapi

import (
	"encoding/json"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// StartHeader is the response header of GET /liveness and GET /patroni that carries the random id of the agent's run, so
// that an agent that probes an address knows its own answer.
const StartHeader = "X-Tanist-Start"

// PromiseHeader is the response header of POST /failsafe that tells for how many seconds this member will not race for the leader key,
// counted from its answer. Patroni's members send none.
const PromiseHeader = "X-Tanist-Promise"

// Status is the answer of GET /patroni, and the body of GET on a health endpoint.
type Status struct {
	State                dcs.State                    `json:"state"`
	PostmasterStartTime  string                       `json:"postmaster_start_time,omitempty"`
	Role                 dcs.Role                     `json:"role"`
	ServerVersion        int                          `json:"server_version,omitempty"`
	XLog                 *XLog                        `json:"xlog,omitempty"` // nil: the server did not answer; peers then count it as unreachable
	SyncStandby          bool                         `json:"sync_standby,omitempty"`
	QuorumStandby        bool                         `json:"quorum_standby,omitempty"`
	Timeline             uint32                       `json:"timeline,omitempty"`
	ReplicationState     string                       `json:"replication_state,omitempty"`
	Replication          []Replication                `json:"replication,omitempty"`
	Pause                bool                         `json:"pause,omitempty"`
	ClusterUnlocked      bool                         `json:"cluster_unlocked,omitempty"`
	FailsafeModeIsActive bool                         `json:"failsafe_mode_is_active,omitempty"`
	DCSLastSeen          int64                        `json:"dcs_last_seen"` // Unix seconds
	Tags                 map[string]any               `json:"tags,omitempty"`
	SystemID             string                       `json:"database_system_identifier,omitempty"`
	PendingRestart       bool                         `json:"pending_restart,omitempty"`
	PendingRestartReason map[string]dcs.PendingChange `json:"pending_restart_reason,omitempty"`
	Patroni              Agent                        `json:"patroni"`
	ScheduledRestart     json.RawMessage              `json:"scheduled_restart,omitempty"`
	WatchdogFailed       bool                         `json:"watchdog_failed,omitempty"`

	Tanist         string  `json:"tanist,omitempty"`          // release of the agent
	TanistStart    string  `json:"tanist_start,omitempty"`    // random id of its run
	TanistWatchdog string  `json:"tanist_watchdog,omitempty"` // what the watchdog does, where one is asked for
	TanistLeads    bool    `json:"tanist_leads,omitempty"`    // it has the right to let its server write, also while that is down
	TanistAge      float64 `json:"tanist_age,omitempty"`      // seconds since the observation that the answer rests on
}

// Agent names the agent that answers. Version is the Patroni version that it is compatible with: three plain numbers.
type Agent struct {
	Version string `json:"version"`
	Scope   string `json:"scope"`
	Name    string `json:"name"`
}

// Replication is one WAL sender.
type Replication struct {
	User         string  `json:"usename"`
	Application  string  `json:"application_name"`
	ClientAddr   *string `json:"client_addr"` // nil: a unix socket
	State        string  `json:"state"`
	SyncState    string  `json:"sync_state"`
	SyncPriority int     `json:"sync_priority"`
}

// XLog is the position of the server: Location of a primary, the others of a standby.
type XLog struct {
	Location          *uint64 `json:"location"`
	Received          uint64  `json:"received_location"`
	Replayed          uint64  `json:"replayed_location"`
	ReplayedTimestamp *string `json:"replayed_timestamp"` // nil: nothing replayed yet
	Paused            bool    `json:"paused"`
}

// MarshalJSON writes the form of a primary or of a standby.
func (x XLog) MarshalJSON() ([]byte, error) {
	if x.Location != nil {
		return json.Marshal(struct {
			Location uint64 `json:"location"`
		}{*x.Location})
	}
	type standby struct { // without Location
		Received          uint64  `json:"received_location"`
		Replayed          uint64  `json:"replayed_location"`
		ReplayedTimestamp *string `json:"replayed_timestamp"`
		Paused            bool    `json:"paused"`
	}
	return json.Marshal(standby{x.Received, x.Replayed, x.ReplayedTimestamp, x.Paused})
}

// Timestamp prints t as the API shows times: a blank between date and time, microseconds only if there are any.
func Timestamp(t time.Time) string {
	t = t.Truncate(time.Microsecond)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02 15:04:05-07:00")
	}
	return t.Format("2006-01-02 15:04:05.000000-07:00")
}
