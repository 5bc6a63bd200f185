package etcd3_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// TestNoSpace: an etcd whose quota is used up takes no write, and says how to make room; a leader goes on proving that it leads.
func TestNoSpace(t *testing.T) {
	// etcd learns of its size when it commits to disk, by default every 100 ms: until then, any number of writes fits.
	servers := etcdtest.Start(t, etcdtest.Options{Args: []string{"--quota-backend-bytes", "65536", "--backend-batch-limit", "1"}})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	x := session(t, b, 60*time.Second)
	put(t, b, "/leader", "a", x)
	fill := dcs.Txn{Do: []dcs.Write{{Key: "/big", Value: make([]byte, 32<<10)}}}
	var err error
	for range 20 {
		if _, err = b.Apply(within(t, limit), fill); err != nil {
			break
		}
	}
	const hint = "etcd's quota is used up: compact, defragment, then `etcdctl alarm disarm`"
	wantError(t, err, dcs.ErrUnknown, hint)
	_, err = b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("v")}}})
	wantError(t, err, dcs.ErrUnknown, hint)
	if _, err := x.Confirm(within(t, limit), dcs.Txn{If: []dcs.Cond{{Key: "/leader", Session: x.ID()}}}); err != nil {
		t.Errorf("the leader cannot prove that it leads: %v", err)
	}
	_, err = b.OpenSession(within(t, limit), 30*time.Second)
	wantError(t, err, dcs.ErrUnknown, hint)
}

// TestNoSpaceMayHideSuccess: etcd looks at its quota before a write is proposed and again when it is applied. A write that passes the first look
// and not the second is applied, and answered as if the quota had refused it (etcd's issue 16659).
func TestNoSpaceMayHideSuccess(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{Args: []string{"--quota-backend-bytes", "2097152", "--backend-batch-limit", "1"}})
	b := open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)})
	type refusal struct {
		key string
		err error
	}
	var last [32]refusal
	var wg sync.WaitGroup
	ctx := within(t, 2*limit)
	for i := range last {
		wg.Go(func() { // writes until the store refuses
			for n := 0; last[i].err == nil; n++ {
				last[i].key = fmt.Sprintf("/%d/%d", i, n)
				_, last[i].err = b.Apply(ctx, dcs.Txn{Do: []dcs.Write{{Key: last[i].key, Value: make([]byte, 8<<10)}}})
			}
		})
	}
	wg.Wait()
	hidden := 0
	for _, r := range last {
		if !strings.Contains(r.err.Error(), "space exceeded") {
			t.Errorf("another error: %v", r.err)
		}
		if get(t, b, r.key) != nil {
			hidden++
		}
		wantError(t, r.err, dcs.ErrUnknown, "")
	}
	t.Logf("%d of %d refused writes were applied", hidden, len(last))
	if hidden == 0 {
		t.Error("no write was applied and said to be refused")
	}
}

// TestRebindWithoutRoom: the quota ends between the grant of a session of another ttl and the move of the leader key to it. The leader goes on
// proving that it leads, under the session that has the key, and moves it when there is room again.
func TestRebindWithoutRoom(t *testing.T) {
	servers := etcdtest.Start(t, etcdtest.Options{})
	admin := official(t, clientv3.Config{Endpoints: etcdtest.Endpoints(servers)})
	var ends bool
	b := granting{open(t, etcd3.Config{Endpoints: etcdtest.Endpoints(servers)}), func() {
		if ends {
			alarm(t, admin, pb.AlarmRequest_ACTIVATE)
		}
	}}
	c := dcs.NewClient(b, dcs.Options{Scope: "c", Name: "a"})
	ctx := within(t, limit)
	if _, err := c.KeepAlive(ctx, dcs.KeepAlive{TTL: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	held, err := c.Acquire(ctx, dcs.Acquire{})
	if err != nil {
		t.Fatal(err)
	}
	ends = true
	longer := dcs.Renew{Leader: held.Leader, TTL: 60 * time.Second}
	if _, err := c.Renew(ctx, longer); !errors.Is(err, dcs.ErrSettled) {
		t.Fatalf("the move without room: %v", err)
	}
	for range 2 {
		if again, err := c.Renew(ctx, longer); err != nil || again.TTL != held.TTL || again.Leader != held.Leader {
			t.Fatalf("without room: %+v, %v; want %+v", again, err, held)
		}
	}
	alarm(t, admin, pb.AlarmRequest_DEACTIVATE)
	ends = false
	if moved, err := c.Renew(ctx, longer); err != nil || moved.TTL != longer.TTL || moved.Leader.Created != held.Leader.Created {
		t.Errorf("with room again: %+v, %v", moved, err)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

// granting calls granted after each grant of a session.
type granting struct {
	dcs.Backend
	granted func()
}

func (g granting) OpenSession(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	x, err := g.Backend.OpenSession(ctx, ttl)
	if err == nil {
		g.granted()
	}
	return x, err
}

// alarm raises or clears the alarm that a quota raises.
func alarm(t *testing.T, admin *clientv3.Client, action pb.AlarmRequest_AlarmAction) {
	t.Helper()
	maintenance := pb.NewMaintenanceClient(admin.ActiveConnection())
	if _, err := maintenance.Alarm(within(t, limit), &pb.AlarmRequest{Action: action, Alarm: pb.AlarmType_NOSPACE, MemberID: 1}); err != nil {
		t.Fatal(err)
	}
}
