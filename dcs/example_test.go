package dcs_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

// Two nodes, one leader key. The loser is told "no", not "maybe"; the winner proves its key, and gives it up.
func Example() {
	ctx := context.Background()
	store := memory.New(memory.Options{})
	a := dcs.NewClient(store.Backend(), dcs.Options{Scope: "main", Name: "a"})
	b := dcs.NewClient(store.Backend(), dcs.Options{Scope: "main", Name: "b"})

	replica := dcs.MemberData{State: dcs.StateRunning, Role: dcs.RoleReplica, Version: "4.1.4"}
	for _, c := range []*dcs.Client{a, b} {
		if _, err := c.KeepAlive(ctx, dcs.KeepAlive{TTL: 30 * time.Second, Member: replica}); err != nil {
			fmt.Println(err)
		}
	}

	race := dcs.Acquire{Expect: dcs.Expect{IgnoreInitialize: true}, Member: replica}
	held, err := a.Acquire(ctx, race)
	fmt.Println("a:", err, held.TTL)
	_, err = b.Acquire(ctx, race)
	fmt.Println("b:", errors.Is(err, dcs.ErrConflict), err)

	cluster, _ := b.Load(ctx)
	fmt.Println("leader:", cluster.Leader.Name, "members:", len(cluster.Members))

	held, err = a.Renew(ctx, dcs.Renew{Leader: held.Leader, TTL: 30 * time.Second, Status: &dcs.Status{Optime: 50331976}})
	fmt.Println("renewed:", err)
	err = a.Release(ctx, dcs.Release{Leader: held.Leader, Member: replica})
	fmt.Println("released:", err)
	_, err = a.Renew(ctx, dcs.Renew{Leader: held.Leader, TTL: 30 * time.Second})
	fmt.Println("renewed again:", err)

	// Output:
	// a: <nil> 30s
	// b: true acquire /service/main/leader: confirm: "/service/main/leader": condition does not hold
	// leader: a members: 2
	// renewed: <nil>
	// released: <nil>
	// renewed again: renew /service/main/leader: confirm: "/service/main/leader": condition does not hold
}

// What an old or broken writer left does not stop anybody: it is absent, and explained.
func ExampleDecode() {
	c := dcs.Decode("/service/main/", dcs.Snapshot{Entries: []dcs.Entry{
		{Key: "/service/main/config", Value: []byte(`ttl: 30`), Version: 4, Created: 4},
		{Key: "/service/main/members/a", Value: []byte(`{"state":"running","timeline":"three"}`), Version: 6, Created: 5, Session: "9"},
		{Key: "/service/main/optime/leader", Value: []byte(`50331976`), Version: 7, Created: 7},
	}})
	fmt.Println(c.Config == nil, c.Members[0].Data.State, c.Status.Optime)
	for _, p := range c.Problems {
		fmt.Println(p)
	}
	// Output:
	// true running 50331976
	// key "/service/main/config": its value is not a JSON object; the cluster runs as if there were no dynamic configuration
	// key "/service/main/members/a": its field "timeline" cannot be understood and is ignored
}
