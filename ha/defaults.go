package ha

import (
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// DefaultSettings are what embedders whose [Parse] is their own start from. They are Patroni's: ttl 30 s, loop_wait 10 s, retry_timeout
// 10 s, maximum_lag_on_failover 1 MiB, primary_start_timeout 300 s, 5 s for the end of a hand-over, a replication slot for each member, the controlled settings of
// PostgreSQL at their defaults; but a server that diverged is rewound (use_pg_rewind). pg_hba.conf stays as initdb makes it, which lets no
// standby of another machine in: see [postgres.Settings].HBA.
func DefaultSettings() Settings {
	controlled, _ := postgres.ControlledValues(nil) // nothing is given that could be wrong
	return Settings{
		TTL: 30 * time.Second, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second,
		MaximumLagOnFailover: 1 << 20,
		PrimaryStartTimeout:  5 * time.Minute,
		PrimaryRaceBackoff:   2 * time.Second,
		HandoverTimeout:      5 * time.Second,
		Tags:                 Tags{FailoverPriority: 1, SyncPriority: 1},
		Postgres: postgres.Settings{
			Controlled: controlled, UsePgRewind: true, UseSlots: true, CtlTimeout: time.Minute,
		},
	}
}

// Always is the [Parse] of a node whose settings are s whatever the dynamic configuration says.
func Always(s Settings) Parse { return func([]byte) (Settings, error) { return s, nil } }
