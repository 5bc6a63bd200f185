package postgres

// Control is what tanist uses of pg_control (PostgreSQL documentation, pg_controldata).
type Control struct {
	SystemID                                                                             string // decimal
	State                                                                                ControlState
	Timeline                                                                             Timeline // of the latest checkpoint
	Checkpoint                                                                           LSN      // where the latest checkpoint record starts
	CheckpointEnd                                                                        LSN      `json:",omitempty"` // where that record ends, when it is a shutdown checkpoint; see func CheckpointEnd. Not in pg_control: added by who can read the log
	MinRecoveryEnd                                                                       LSN      `json:",omitempty"`
	MinRecoveryTimeline                                                                  Timeline `json:",omitempty"`
	BackupStart, BackupEnd                                                               LSN      `json:",omitempty"` // of a backup whose recovery has not become consistent yet
	BackupEndRequired                                                                    bool     `json:",omitempty"`
	Checksums                                                                            bool
	WALLogHints                                                                          bool
	MaxConnections, MaxWorkerProcesses, MaxWALSenders, MaxPreparedXacts, MaxLocksPerXact int
	CatalogVersion                                                                       uint32
	WALSegmentSize                                                                       int `json:",omitempty"` // bytes in a file of the log
}

// ControlState is the cluster state that pg_control records.
type ControlState string

// The states that pg_controldata prints.
const (
	ControlStartingUp         ControlState = "starting up"
	ControlShutDown           ControlState = "shut down"
	ControlShutDownInRecovery ControlState = "shut down in recovery"
	ControlShuttingDown       ControlState = "shutting down"
	ControlCrashRecovery      ControlState = "in crash recovery"
	ControlArchiveRecovery    ControlState = "in archive recovery"
	ControlInProduction       ControlState = "in production"
)
