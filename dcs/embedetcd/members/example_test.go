package members_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/embedetcd/members"
)

// Three members, as an operator's tool sees them.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "members-example-")
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
	running, err := embedetcd.StartAll(ctx, configs)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range running {
		defer r.Stop(ctx)
	}
	cluster, err := members.Open(running[0].Endpoints(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	list, err := cluster.List(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	members.Look(ctx, list, nil)
	for _, m := range list {
		fmt.Println(m.Name, m.Healthy, m.Learner)
	}
	// Output:
	// m0 true false
	// m1 true false
	// m2 true false
}
