package embedetcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestFullDatabase: a database that has reached its quota takes writes again after the members have tidied up, which they do one at a time
// and with the leadership handed over; live data that does not fit is said, and stays.
func TestFullDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 16 MiB to three members")
	}
	const quota = 16 << 20
	configs, err := embedetcd.Local(3, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, log := &servertest.Log{}, make([]*servertest.Log, len(configs))
	for i := range configs {
		log[i] = &servertest.Log{}
		configs[i].QuotaBytes, configs[i].Logger = quota, slog.New(slog.NewTextHandler(io.MultiWriter(log[i], all), nil))
	}
	servers := startAll(t, configs)
	full := 0 // who takes the writes raises the alarm: if that is the leader, it has to give up the leadership to be rewritten
	for i, s := range servers {
		if s.Leads() {
			full = i
		}
	}
	b := open(t, etcd3.Config{Endpoints: servers[full].Endpoints(), InOrder: true})
	value := bytes.Repeat([]byte("x"), 512<<10)
	fill := func(key string) {
		t.Helper()
		for range 100 {
			_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: key, Value: value}}})
			switch {
			case err == nil:
			case strings.Contains(err.Error(), "space"):
				return
			default: // an election
				t.Logf("not yet: %v", err)
			}
		}
		t.Fatal("the quota is not in force")
	}
	fill("/versions")
	put := func() error {
		_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("v")}}})
		return err
	}
	if put() == nil {
		t.Fatal("a full database takes writes")
	}
	// tidyAll has each member look once, and shows that none rewrites its file while it leads.
	tidyAll := func() (all error) {
		for i, s := range servers {
			led, before := s.Leads(), rewritten(log[i])
			all = errors.Join(all, s.Tidy(within(t, limit)))
			if led && s.Leads() && rewritten(log[i]) != before {
				t.Errorf("the leader rewrote its database:\n%s", log[i])
			}
		}
		return all
	}
	// roomAgain is whether they make room; if not, they say why, and say it again: how much is in use is known when old versions are gone.
	roomAgain := func() bool {
		said := 0
		for range 200 {
			err := tidyAll()
			switch {
			case put() == nil:
				return true
			case err == nil:
			case !strings.Contains(err.Error(), "raise quota_backend_bytes"):
				t.Logf("not yet: %v", err)
			default:
				if said++; said == 20 {
					return false
				}
			}
		}
		t.Fatalf("they neither make room nor say why:\n%s", all)
		return false
	}
	if !roomAgain() {
		t.Fatal("old versions of a key are taken for live data")
	}
	// Not every file needs it: a member that wrote less in its last transactions may be below the quota with free pages inside.
	all.Wait(within(t, limit), t, "has reached its quota")
	all.Wait(within(t, limit), t, "rewrote the etcd database")
	all.Wait(within(t, limit), t, "has room again")

	// write makes room if it has to, and says whether there was some.
	write := func(key string, value []byte) bool {
		for range 20 {
			_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: key, Value: value}}})
			switch {
			case err == nil:
				return true
			case !strings.Contains(err.Error(), "space"): // an election
				t.Logf("not yet: %v", err)
			case !roomAgain():
				return false
			}
		}
		t.Fatal("what is called room is none")
		return false
	}
	// Live data that fills 84 in 100, and more; the rest are old versions.
	for live := range quota * 84 / 100 / len(value) {
		if !write(fmt.Sprint("/live", live), value) {
			t.Fatalf("%d values of %d bytes are too much", live, len(value))
		}
	}
	for more, room := 0, true; room; more++ {
		fill("/versions")
		room = roomAgain() && write(fmt.Sprint("/more", more), value[:len(value)/2])
	}
	if put() == nil {
		t.Fatal("a database full of live data takes writes")
	}
}

// TestFreeSpaceIsGivenBack: files that are mostly free space are rewritten, each of them; whoever leads hands the leadership over before.
func TestFreeSpaceIsGivenBack(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 48 MiB to three members")
	}
	configs, err := embedetcd.Local(3, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := make([]*servertest.Log, len(configs))
	for i := range configs {
		log[i] = &servertest.Log{}
		configs[i].Logger = slog.New(slog.NewTextHandler(log[i], nil))
	}
	servers := startAll(t, configs)
	ctx := within(t, 4*limit)
	client, err := clientv3.New(clientv3.Config{Endpoints: servers[0].Endpoints(), Context: ctx})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// must does what an election may stop for a moment.
	must := func(what string, f func() error) {
		t.Helper()
		for err := f(); err != nil; err = f() {
			if ctx.Err() != nil {
				t.Fatalf("%s: %v", what, err)
			}
			t.Logf("%s: not yet: %v", what, err)
		}
	}
	var last int64
	put := func(size int) {
		must("write", func() error {
			put, err := client.Put(ctx, "/versions", strings.Repeat("x", size))
			if err == nil {
				last = put.Header.Revision
			}
			return err
		})
	}
	for range 96 {
		put(512 << 10)
	}
	must("compact", func() error {
		_, err := client.Compact(ctx, last, clientv3.WithCompactPhysical())
		if errors.Is(err, rpctypes.ErrCompacted) {
			return nil
		}
		return err
	})
	led := leaders(servers)
	for done, handed, moved := false, false, false; !done; {
		if ctx.Err() != nil {
			t.Fatalf("not every member rewrote its database:\n%s\n%s\n%s", log[0], log[1], log[2])
		}
		put(1) // members count what is in use when they write
		done = true
		for i, s := range servers {
			was, before := led[i], rewritten(log[i])
			if err := s.Tidy(within(t, limit)); err != nil {
				t.Logf("not yet: %v", err)
			}
			now := leaders(servers)
			if was && now[i] && rewritten(log[i]) != before {
				t.Fatalf("the leader rewrote its database:\n%s", log[i])
			}
			handed = handed || strings.Contains(log[i].String(), "handing etcd's leadership over")
			moved = moved || !slices.Equal(led, now)
			led, done = now, done && rewritten(log[i]) > 0
		}
		if done && !handed && !moved {
			t.Error("who led rewrote its database, and nobody else has led")
		}
	}
}

// leaders says of each member whether it leads.
func leaders(servers []*embedetcd.Server) (leads []bool) {
	for _, s := range servers {
		leads = append(leads, s.Leads())
	}
	return leads
}

// rewritten counts how often a member rewrote its file.
func rewritten(log *servertest.Log) int {
	return strings.Count(log.String(), "rewrote the etcd database")
}

// TestAlarmOfAMemberThatIsGone: etcd keeps the alarm of a member that was removed or is dead, which nobody but the others can end.
func TestAlarmOfAMemberThatIsGone(t *testing.T) {
	servertest.Slow(t)
	servers, ctx := start(t, 3), within(t, 4*limit)
	client, err := clientv3.New(clientv3.Config{Endpoints: servers[0].Endpoints(), Context: ctx})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	b := open(t, etcd3.Config{Endpoints: append(servers[0].Endpoints(), servers[1].Endpoints()...)})
	put := func() error {
		_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("v")}}})
		return err
	}
	dead, err := client.Status(within(t, limit), servers[2].Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := servers[2].Stop(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	for what, id := range map[string]uint64{"removed": 4711, "dead": dead.Header.MemberId} {
		full := pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: pb.AlarmType_NOSPACE}
		for err := errors.New("not asked"); err != nil; {
			if _, err = pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(ctx, &full); ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		for err := put(); err == nil || !strings.Contains(err.Error(), "space"); err = put() {
			if err == nil || ctx.Err() != nil {
				t.Fatalf("with the alarm of a member that is %s: %v", what, err)
			}
			t.Logf("not yet: %v", err) // an election
		}
		for tries := 0; put() != nil; tries++ { // who leads may change
			if tries == 50 {
				t.Fatalf("the alarm of a member that is %s stays", what)
			}
			for _, s := range servers[:2] {
				if err := s.Tidy(within(t, limit)); err != nil {
					t.Logf("not yet: %v", err)
				}
			}
		}
	}
}

// TestDistantMembers: with 50 ms of delay in each direction between the members and the recommended settings, etcd keeps its leader, and
// the sessions of a ttl of 5 s live.
func TestDistantMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several elections' time")
	}
	configs := distant(t, 3, 50*time.Millisecond)
	servers := startAll(t, configs)
	leader := func() string {
		var leads []string
		for _, s := range servers {
			if s.Leads() {
				leads = append(leads, s.Endpoints()[0])
			}
		}
		return strings.Join(leads, ",")
	}
	before := leader()
	b := open(t, etcd3.Config{Endpoints: servers[2].Endpoints(), InOrder: true})
	ctx := within(t, limit)
	session, err := b.OpenSession(ctx, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(ctx, dcs.Txn{Do: []dcs.Write{{Key: "/leader", Value: []byte("x"), Session: session}}}); err != nil {
		t.Fatal(err)
	}
	var worst time.Duration
	end := time.After(10 * time.Second) // five elections' time, two of the session's
	for again := time.NewTicker(time.Second); ; {
		sent := time.Now()
		if _, err := session.Confirm(ctx, dcs.Txn{}); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(sent))
		select {
		case <-again.C:
			continue
		case <-end:
		}
		again.Stop()
		break
	}
	t.Logf("slowest confirmation: %v", worst)
	if after := leader(); before == "" || after != before {
		t.Fatalf("the leader was %q and is %q", before, after)
	}
	if got := get(t, b, "/leader"); got != "x" {
		t.Fatalf("the session's key is %q", got)
	}
}

// TestOrderlyStop: a member that leads hands the leadership over before it stops, so a client of another member goes on at once.
func TestOrderlyStop(t *testing.T) {
	servertest.Slow(t)
	_, servers := found(t, 3)
	var leader *embedetcd.Server
	var rest []*embedetcd.Server
	for _, s := range servers {
		if s.Leads() {
			leader = s
		} else {
			rest = append(rest, s)
		}
	}
	if leader == nil {
		t.Fatal("nobody leads")
	}
	b := open(t, etcd3.Config{Endpoints: rest[0].Endpoints()})
	ctx, cancel := context.WithCancel(within(t, limit))
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- leader.Stop(ctx) }()
	var worst time.Duration
	for done, after := false, 0; after < 20; {
		sent := time.Now()
		_, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: "/k", Value: []byte("v")}}})
		if errors.Is(err, dcs.ErrUnknown) { // the leader may have got it when it did not lead any more: etcd lets it time out
			t.Logf("a write after %v: %v", time.Since(sent), err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(sent))
		select {
		case err := <-stopped:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
		}
		if done {
			after++
		}
	}
	t.Logf("slowest write around the stop of the leader: %v", worst)
	if leads := rest[0].Leads() || rest[1].Leads(); !leads {
		t.Fatal("nobody leads after the stop")
	}
}
