package restapi_test

import (
	"encoding/json"
	"fmt"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/restapi"
)

func ExampleHistory() {
	raw, _ := json.Marshal(restapi.History(dcs.History{
		{Timeline: 1, LSN: 25623960, Reason: "no recovery target specified", Timestamp: "2026-07-20T08:15:02+00:00", Leader: "n1"},
		{Timeline: 2, LSN: 25624128, Reason: "no recovery target specified"},
	}))
	fmt.Println(string(raw))
	// Output: [[1,25623960,"no recovery target specified","2026-07-20T08:15:02+00:00","n1"],[2,25624128,"no recovery target specified"]]
}

// The position of a primary and of a standby have different fields.
func ExampleXLog() {
	at := uint64(100663296)
	primary, _ := json.Marshal(restapi.XLog{Location: &at})
	standby, _ := json.Marshal(restapi.XLog{Received: at, Replayed: at})
	fmt.Printf("%s\n%s\n", primary, standby)
	// Output:
	// {"location":100663296}
	// {"received_location":100663296,"replayed_location":100663296,"replayed_timestamp":null,"paused":false}
}
