package embedetcd_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tanist-ha/tanist/dcs/embedetcd"
)

// Three members in one process, as a test would have them. Three agents run one each.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "embedetcd-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	configs, err := embedetcd.Local(3, dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	members, err := embedetcd.StartAll(ctx, configs)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range members {
		fmt.Println("serves at", len(m.Endpoints()), "address; has ended:", m.Err())
	}
	for _, m := range members {
		if err := m.Stop(ctx); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// serves at 1 address; has ended: <nil>
	// serves at 1 address; has ended: <nil>
	// serves at 1 address; has ended: <nil>
}
