package zookeeper_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
)

// A client of a cluster whose ensemble is down: the error says what an operator can do.
func Example() {
	b, err := zookeeper.New(zookeeper.Config{
		Hosts:  []string{"127.0.0.1:1", "[::1]:1"},
		Folder: dcs.Prefix("service", "main"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	client := dcs.NewClient(b, dcs.Options{Scope: "main", Name: "node1"})
	_, err = client.Load(ctx)
	var problem *dcs.StoreError
	if errors.As(err, &problem) {
		fmt.Println(errors.Is(err, dcs.ErrUnavailable), problem.Hint)
	}
	// Output: true nothing listens there: is ZooKeeper running?
}
