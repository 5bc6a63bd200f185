package table_test

import (
	"fmt"
	"os"

	"github.com/tanist-ha/tanist/internal/overview"
	"github.com/tanist-ha/tanist/internal/table"
)

func ExampleMembers() {
	cluster := overview.Cluster{Scope: "demo", Members: []overview.Member{
		{Name: "n1", Role: "leader", State: "running", Host: "10.1.0.10", Port: 5432, Timeline: 4},
	}}
	if err := table.Members(cluster, "7543210987654321001", table.TSV, false).Print(os.Stdout, table.TSV); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Cluster	Member	Host	Role	State	TL	Receive LSN	Receive Lag	Replay LSN	Replay Lag
	// demo	n1	10.1.0.10	Leader	running	4
}
