package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

// A simulator owns the time: nothing happens between its steps, and it is told what each step changed.
func Example() {
	ctx := context.Background()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	store := memory.New(memory.Options{
		Now:      func() time.Time { return now },
		OnChange: func(h dcs.Hint) { fmt.Println(now.Format("15:04:05"), h.Key, "changed at version", h.Version) },
	})
	b := store.Backend()
	session, _ := b.OpenSession(ctx, 30*time.Second)
	_, _ = b.Apply(ctx, dcs.Txn{
		If: []dcs.Cond{{Key: "/service/main/leader", Absent: true}},
		Do: []dcs.Write{{Key: "/service/main/leader", Value: []byte("a"), Session: session}},
	})
	now = now.Add(20 * time.Second)
	_, _ = session.KeepAlive(ctx)

	now, _ = store.NextExpiry() // the simulator's next event, if nothing else comes first
	fmt.Println("sessions ended:", store.Tick())
	_, err := session.KeepAlive(ctx)
	fmt.Println(err)
	// Output:
	// 00:00:00 /service/main/leader changed at version 2
	// 00:00:50 /service/main/leader changed at version 3
	// sessions ended: 1
	// keepalive: session 1001: session lost
}
