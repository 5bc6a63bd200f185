package ha

import (
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// Settings is everything that may change while a node runs: the cluster's dynamic configuration, merged with the local
// file. It is a value; its maps and slices are not changed after it was handed over.
type Settings struct {
	TTL          time.Duration // of the leader's session; at least 20 s unless MinimumTTL says less
	LoopWait     time.Duration // heartbeat; at least 1 s
	RetryTimeout time.Duration // bound of one operation on the store; at least 3 s
	// MinimumTTL is what tanist.minimum_ttl of the dynamic configuration allows TTL to be; 0: 20 s. With it LoopWait and
	// RetryTimeout may be 1 s.
	MinimumTTL time.Duration
	// WithPatroni are the three times as a cluster that holds Patroni members must have them (safety 11.2): at least 20, 1
	// and 3 s, whatever MinimumTTL says.
	WithPatroni Timeouts

	MaximumLagOnFailover int64         // bytes a candidate may be behind the last known position of the leader
	CheckTimeline        bool          // a candidate must be on the newest known timeline
	PrimaryStartTimeout  time.Duration // how long a crashed primary may take to start in place; 0: hand over
	PrimaryRaceBackoff   time.Duration // longest wait for WAL that still moves under a leader without a guard
	HandoverTimeout      time.Duration // how long a standby may take to receive the end of the log of a leader that was stopped
	MaxTimelinesHistory  int           // lines kept in /history; 0: all

	Tags     Tags
	Postgres postgres.Settings
	Watchdog WatchdogSettings

	// Notices are sentences about settings that this release does not honour, or that were adjusted; they are shown at each
	// start, in list and in explain.
	Notices []string
	// StandbyCluster: the cluster follows a remote primary. This release cannot; its nodes then never promote.
	StandbyCluster bool
	Failsafe       bool // failsafe_mode: a leader that all members still accept goes on while the store is away
	Paused         bool // pause is set; this release does not honour it (Notices says so), and publishes that it saw it
}

// WatchdogMode says what a node does about its watchdog.
type WatchdogMode string

// Modes of the watchdog.
const (
	WatchdogOff       WatchdogMode = ""          // it is left alone
	WatchdogAutomatic WatchdogMode = "automatic" // it is armed where it can be
	WatchdogRequired  WatchdogMode = "required"  // a node that cannot arm it does not lead
)

// WatchdogSettings say how the watchdog is used.
type WatchdogSettings struct {
	Mode WatchdogMode
	// SafetyMargin is how long before the end of the leader's session the machine is reset at the latest: the device counts the ttl less
	// this. Below zero: it counts half of the ttl.
	SafetyMargin time.Duration
}

// Timeouts are the times that decide how fast a failure is noticed.
type Timeouts struct{ TTL, LoopWait, RetryTimeout time.Duration }

// Tags are the member's own tags.
type Tags struct {
	NoFailover       bool
	FailoverPriority int // tie-break at equal positions; 1 unless set
	NoLoadBalance    bool
	CloneFrom        bool
	NoSync           bool
	SyncPriority     int // 1 unless set; 0 with NoSync
	NoStream         bool
	ReplicateFrom    string
	All              map[string]any // as published, after filtering
}
