package consul_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/consul"
)

// Example makes this process the leader of a cluster, and proves that it is. CONSUL_HTTP_ADDR names the agent: http://127.0.0.1:8500
func Example() {
	b, err := consul.New(consul.Config{URL: os.Getenv("CONSUL_HTTP_ADDR"), SessionName: "example-a"})
	if err != nil {
		log.Panic(err)
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	session, err := b.OpenSession(ctx, 30*time.Second)
	if err != nil {
		log.Panic(err)
	}
	defer session.Close(ctx) // and with it the key
	_, err = b.Apply(ctx, dcs.Txn{
		If: []dcs.Cond{{Key: "/service/example/leader", Absent: true}},
		Do: []dcs.Write{{Key: "/service/example/leader", Value: []byte("a"), Session: session}},
	})
	if err != nil {
		log.Panic(err) // errors.Is(err, dcs.ErrConflict): somebody else leads
	}
	sent := time.Now()
	_, err = session.Confirm(ctx, dcs.Txn{If: []dcs.Cond{{Key: "/service/example/leader", Session: session.ID()}}})
	if err != nil {
		log.Panic(err)
	}
	fmt.Println("nobody else leads before", sent.Add(session.TTL()))
}

// TestExample runs the example on a real agent.
func TestExample(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", quick(t).URL)
	Example()
}
