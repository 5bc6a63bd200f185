package overview_test

import (
	"encoding/json"
	"fmt"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/overview"
)

func Example() {
	cluster := dcs.Cluster{
		Leader: &dcs.Leader{Name: "n1"},
		Members: []dcs.Member{{Name: "n1", Data: dcs.MemberData{
			ConnURL: "postgres://10.1.0.10:5432/postgres", APIURL: "http://10.1.0.10:8008/patroni",
			State: dcs.StateRunning, Role: dcs.RolePrimary, Timeline: 4,
		}}},
	}
	raw, err := json.Marshal(overview.Of("demo", cluster))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(raw))
	// Output: {"members":[{"name":"n1","role":"leader","state":"running","api_url":"http://10.1.0.10:8008/patroni","host":"10.1.0.10","port":5432,"timeline":4}],"scope":"demo"}
}
