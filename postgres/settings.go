package postgres

import "time"

// Settings is the part of the configuration that may change while the agent runs, local and dynamic already merged.
// Maps and slices are not changed after the value was handed over.
type Settings struct {
	Parameters            map[string]string // GUCs to write; names in lower case
	Controlled            map[string]string // the GUCs that are the same on all members; given on the command line
	HBA                   []string          // pg_hba.conf; empty: the file is not ours
	Ident                 []string
	RecoveryConf          map[string]string
	UsePgRewind           bool
	UseSlots              bool
	RemoveOnRewindFailure bool              // remove_data_directory_on_rewind_failure
	RemoveOnDiverged      bool              // remove_data_directory_on_diverged_timelines
	Callbacks             map[string]string // on_start, on_stop, on_role_change, on_restart, on_reload: a shell-split command
	PrePromote            string
	BeforeStop            string
	BaseBackup            []string      // options of pg_basebackup, already in the form --name=value
	CtlTimeout            time.Duration // pg_ctl_timeout
}
