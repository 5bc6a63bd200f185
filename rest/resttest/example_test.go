package resttest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/rest/resttest"
)

// A test publishes what its node is; who waits for it wakes up.
func ExampleNode() {
	now, cluster := resttest.Started(), resttest.Cluster("n1", "n2")
	node := resttest.NewNode(now, resttest.Replica("n2", now, cluster))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go node.Publish(resttest.Primary("n2", now, cluster))
	st, err := node.Wait(ctx, func(st *ha.Status) bool { return st.Writable(now) })
	fmt.Println(st.Role, err)
	// Output: primary <nil>
}
