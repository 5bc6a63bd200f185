package dcs

import (
	"encoding/json"
	"time"
)

// Cluster is everything the store holds about one cluster, decoded. It is a value: nobody changes it after Load.
type Cluster struct {
	Version         Version // of the read
	StoreID         string
	Initialize      *Initialize // nil: key absent
	Leader          *Leader     // nil: key absent or empty: the cluster is vacant
	Members         []Member    // sorted by name
	Config          *Config     // nil: absent or not a JSON object
	Status          Status
	Failover        *Failover // nil: absent or empty
	Sync            *Sync     // nil: absent or empty
	History         History
	HistoryVersion  Version
	Failsafe        map[string]string // member name to api_url; nil: absent or garbage
	Reserved        Reserved
	FailsafeVersion Version
	Problems        []string // sentences about keys that could not be understood, for people
}

// Initialize is the key that settles who may bootstrap: empty while that goes on, then the system identifier.
type Initialize struct {
	SystemID string
	Entry    Meta
}

// Meta is what the store knows about a key beside its value.
type Meta struct {
	Version Version
	Created Version
	Session string
}

// Leader is the leader key. Its value is a member's name, which proves nothing; Meta.Session does.
type Leader struct {
	Name string
	Meta Meta
}

// Member is one node's own key.
type Member struct {
	Name string
	Meta Meta
	Data MemberData
}

// Role is the role that a member publishes.
type Role string

// The roles of Patroni 4.
const (
	RolePrimary       Role = "primary"
	RolePromoted      Role = "promoted"
	RoleReplica       Role = "replica"
	RoleStandbyLeader Role = "standby_leader"
	RoleDemoted       Role = "demoted"
	RoleUninitialized Role = "uninitialized"
)

// State is the state of PostgreSQL that a member publishes. The strings are Patroni's.
type State string

// The states of Patroni 4 that tanist uses.
const (
	StateInitializing  State = "initializing new cluster"
	StateInitFailed    State = "initdb failed"
	StateCreating      State = "creating replica"
	StateRunning       State = "running"
	StateStarting      State = "starting"
	StateStartFailed   State = "start failed"
	StateRestarting    State = "restarting"
	StateRestartFailed State = "restart failed"
	StateStopping      State = "stopping"
	StateStopped       State = "stopped"
	StateStopFailed    State = "stop failed"
	StateCrashed       State = "crashed"
)

// MemberData is the JSON of a member key. Unknown fields are ignored; a field of the wrong type is treated as absent.
type MemberData struct {
	ConnURL                string                   `json:"conn_url"`
	APIURL                 string                   `json:"api_url"`
	State                  State                    `json:"state"`
	Role                   Role                     `json:"role"`
	Version                string                   `json:"version"`
	ProxyURL               string                   `json:"proxy_url,omitempty"`
	CheckpointAfterPromote *bool                    `json:"checkpoint_after_promote,omitempty"`
	Tags                   map[string]any           `json:"tags,omitempty"`
	PendingRestart         bool                     `json:"pending_restart,omitempty"`
	PendingRestartReason   map[string]PendingChange `json:"pending_restart_reason,omitempty"`
	XLogLocation           uint64                   `json:"xlog_location,omitempty"`
	ReceiveLSN             uint64                   `json:"receive_lsn,omitempty"`
	ReplayLSN              uint64                   `json:"replay_lsn,omitempty"`
	ReplicationState       string                   `json:"replication_state,omitempty"`
	Timeline               uint32                   `json:"timeline,omitempty"`
	ScheduledRestart       json.RawMessage          `json:"scheduled_restart,omitempty"`
	Pause                  bool                     `json:"pause,omitempty"`
	Tanist                 string                   `json:"tanist,omitempty"`          // the tanist version: a mark that this member is one of ours (safety 11.2)
	TanistTTL              uint64                   `json:"tanist_ttl,omitempty"`      // seconds that the session of its keys was asked for: no authority or guard of its agent's run outlives them
	TanistWatchdog         string                   `json:"tanist_watchdog,omitempty"` // WatchdogArmed or WatchdogFailed
	TanistUnfenced         bool                     `json:"tanist_unfenced,omitempty"` // no guard would end its server if its agent died
}

// What a member says of its watchdog.
const (
	WatchdogArmed  = "armed"  // it is a primary, and the watchdog would reset its machine
	WatchdogFailed = "failed" // it must have one and cannot arm it: it does not lead
)

// PendingChange is one setting that waits for a restart of PostgreSQL.
type PendingChange struct {
	OldValue string `json:"old_value"`
	NewValue string `json:"new_value"`
}

// Config is the dynamic configuration.
type Config struct {
	Version Version
	Raw     json.RawMessage // as found, so that unknown fields and the order of keys survive
}

// Status is the leader's position and the slots it keeps.
type Status struct {
	Optime      uint64            `json:"optime"`
	Slots       map[string]uint64 `json:"slots,omitempty"`
	RetainSlots []string          `json:"retain_slots,omitempty"`
}

// Failover is a request: with Leader a switchover, without it a failover.
type Failover struct {
	Version     Version    `json:"-"`
	Leader      string     `json:"leader,omitempty"`
	Candidate   string     `json:"member,omitempty"`
	ScheduledAt *time.Time `json:"scheduled_at,omitempty"`
}

// Sync is Patroni's /sync key. This release reads it and never acts against it.
type Sync struct {
	Version Version `json:"-"`
	Leader  string  `json:"leader"`
	Standby string  `json:"sync_standby"` // comma separated
	Quorum  int     `json:"quorum"`
}

// HistoryLine is one timeline switch.
type HistoryLine struct {
	Timeline  uint32
	LSN       uint64
	Reason    string
	Timestamp string // ISO 8601, may be ""
	Leader    string // may be ""
}

// History is the /history key: a JSON array of arrays.
type History []HistoryLine

// Reserved is the key that is tanist's own. Timeline is the highest timeline number that any leader has reserved: a promotion takes the next
// one in the transaction that acquires the leader key, so that two servers never call two branches by one number. (PostgreSQL
// picks the number from what it finds locally; a node that never heard of its predecessor's promotion would pick it again.)
type Reserved struct {
	Version  Version `json:"-"`
	Timeline uint32  `json:"timeline"`
}
