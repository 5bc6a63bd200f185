package postgres_test

import (
	"fmt"

	"github.com/tanist-ha/tanist/postgres"
)

// A standby on timeline 1 received more of the old primary's log than the standby that was promoted: what lies behind the
// switch point does not count.
func ExampleCompare() {
	history, _ := postgres.ParseHistory("1\t0/5000000\tno recovery target specified\n")
	lost := postgres.Position{Timeline: 1, LSN: 0x7000000}
	promoted := postgres.Position{Timeline: 2, LSN: 0x5000100}

	order, _ := postgres.Compare(lost, promoted, 2, history)
	effective, _ := postgres.Effective(lost, 2, history)
	fmt.Println(order, effective)
	// Output: -1 0/5000000
}

// The old primary was killed and comes back: may it follow the new one?
func ExampleDiverged() {
	upstream := postgres.Lineage{
		SystemID: "7000000000000000001", Timeline: 2, LSN: 0x6000000,
		History: postgres.History{{Parent: 1, LSN: 0x5000060}},
	}
	local := postgres.Standing{
		SystemID: "7000000000000000001",
		Position: postgres.Position{Timeline: 1, LSN: 0x5000100}, Wrote: true, End: 0x5000178,
	}
	v := postgres.Diverged(local, upstream)
	fmt.Printf("%s: %s\n", v.Divergence, v.Reason)
	// Output: rewind: the upstream left timeline 1 at 0/5000060, its shutdown checkpoint is at 0/5000100
}

func ExampleConninfo() {
	c, err := postgres.ParseConninfo("postgres://replicator:hush@10.0.0.1:5432/postgres?sslmode=require")
	if err != nil {
		fmt.Println(err)
		return
	}
	c["application_name"] = "node a"
	fmt.Println(c)
	fmt.Println(c.Format())
	// Output:
	// host=10.0.0.1 port=5432 user=replicator dbname=postgres application_name='node a' password=*** sslmode=require
	// host=10.0.0.1 port=5432 user=replicator dbname=postgres application_name='node a' password=hush sslmode=require
}

func ExampleControlledValues() {
	values, warnings := postgres.ControlledValues(map[string]string{"max_connections": "20", "MAX_WAL_SENDERS": "0x10"})
	fmt.Println(values["max_connections"], values["max_wal_senders"], values["wal_keep_size"])
	fmt.Println(warnings)
	// Output:
	// 100 16 128MB
	// max_connections: "20" is below the least value 25; the default 100 is used
}
