package etcd3_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/etcd3"
)

// Two handles race for a leader key, and the winner proves that he still holds it.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	endpoints, stop, err := someEtcd(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	b, err := etcd3.New(etcd3.Config{Endpoints: endpoints})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	race := func(name string) (dcs.Session, error) {
		session, err := b.OpenSession(ctx, 30*time.Second)
		if err != nil {
			return nil, err
		}
		_, err = b.Apply(ctx, dcs.Txn{
			If: []dcs.Cond{{Key: "/service/demo/leader", Absent: true}},
			Do: []dcs.Write{{Key: "/service/demo/leader", Value: []byte(name), Session: session}},
		})
		return session, err
	}
	winner, err := race("node1")
	fmt.Println("node1:", err)
	_, err = race("node2")
	fmt.Println("node2 lost:", errors.Is(err, dcs.ErrConflict))

	_, err = winner.Confirm(ctx, dcs.Txn{If: []dcs.Cond{{Key: "/service/demo/leader", Session: winner.ID()}}})
	fmt.Println("still the leader:", err == nil)
	// Output:
	// node1: <nil>
	// node2 lost: true
	// still the leader: true
}

// someEtcd runs an etcd of one member in this process.
func someEtcd(ctx context.Context) (endpoints []string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "etcd3-example-")
	if err != nil {
		return nil, nil, err
	}
	configs, err := embedetcd.Local(1, dir, nil)
	if err != nil {
		return nil, nil, err
	}
	members, err := embedetcd.StartAll(ctx, configs)
	if err != nil {
		return nil, nil, err
	}
	return members[0].Endpoints(), func() {
		_ = members[0].Stop(context.WithoutCancel(ctx))
		_ = os.RemoveAll(dir)
	}, nil
}
