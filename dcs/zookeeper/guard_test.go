package zookeeper_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/zookeeper"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/zktest"
)

// TestOvertaken: somebody changes the store between the look of a transaction and its writes. What makes a condition false is a conflict, and
// everything else costs another look. A stranger is one who does not know the guard, as Patroni: to ZooKeeper, a handle with another folder.
func TestOvertaken(t *testing.T) {
	s := zktest.Start(t, zktest.Options{})[0]
	p := proxy(t, s)
	b := open(t, zookeeper.Config{Hosts: []string{p.Addr()}})
	friend := open(t, zookeeper.Config{Hosts: []string{s.Addr}})
	stranger := open(t, zookeeper.Config{Hosts: []string{s.Addr}, Folder: "/service"})
	again := func(t *testing.T, b dcs.Backend, key string) { // the same name, value and number of writes: another life
		if _, err := b.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: folder + key, Delete: true}}}); err != nil {
			t.Fatal(err)
		}
		put(t, b, key, "a", nil)
	}
	for name, tc := range map[string]struct {
		between  func(t *testing.T)
		conflict bool
	}{
		"friend makes the key anew":       {func(t *testing.T) { again(t, friend, "leader") }, true},
		"friend writes the key":           {func(t *testing.T) { put(t, friend, "leader", "b", nil) }, true},
		"friend creates the absent one":   {func(t *testing.T) { put(t, friend, "sync", "{}", nil) }, true},
		"friend creates ours":             {func(t *testing.T) { put(t, friend, "new", "b", nil) }, true},
		"friend writes another":           {func(t *testing.T) { put(t, friend, "config", "{}", nil) }, false},
		"stranger writes the key":         {func(t *testing.T) { put(t, stranger, "leader", "b", nil) }, true},
		"stranger writes it with its own": {func(t *testing.T) { put(t, stranger, "leader", "a", nil) }, true},
		"stranger creates ours":           {func(t *testing.T) { put(t, stranger, "new", "b", nil) }, true},
		"stranger writes another":         {func(t *testing.T) { put(t, stranger, "config", "{}", nil) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"sync", "new", "leader"} {
				if _, err := friend.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: folder + key, Delete: true}}}); err != nil {
					t.Fatal(err)
				}
			}
			put(t, friend, "leader", "a", nil)
			e := get(t, b, "leader")
			hit := false
			onWrite(p, func() { hit = true; tc.between(t) })
			_, err := b.Apply(within(t, limit), dcs.Txn{
				If: []dcs.Cond{
					{Key: folder + "leader", Created: e.Created, Version: e.Version},
					{Key: folder + "sync", Absent: true},
					{Key: folder + "new", Absent: true},
				},
				Do: []dcs.Write{{Key: folder + "new", Value: []byte("a")}},
			})
			if !hit {
				t.Fatal("nobody came between")
			}
			if tc.conflict != errors.Is(err, dcs.ErrConflict) || !tc.conflict && err != nil {
				t.Fatalf("got %v", err)
			}
			if n := get(t, friend, "new"); !tc.conflict && (n == nil || string(n.Value) != "a") || tc.conflict && n != nil && string(n.Value) == "a" {
				t.Fatalf("after %v the store holds %+v", err, n)
			}
		})
	}
}

// TestOneMoment: while two keys are always written together, nobody reads them apart, on whichever member.
func TestOneMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	servers := zktest.Start(t, zktest.Options{Members: 3})
	writer := open(t, zookeeper.Config{Hosts: []string{servers[0].Addr}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			v := []byte(strconv.Itoa(i))
			_, err := writer.Apply(within(t, limit), dcs.Txn{Do: []dcs.Write{{Key: folder + "a", Value: v}, {Key: folder + "m/b", Value: v}}})
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	}()
	b := open(t, zookeeper.Config{Hosts: []string{servers[1].Addr}})
	reads, last := 0, dcs.Version(0)
	for {
		snap, err := b.Read(within(t, limit), folder)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(snap.Entries); n != 0 && (n != 2 || string(snap.Entries[0].Value) != string(snap.Entries[1].Value) ||
			snap.Entries[0].Version != snap.Entries[1].Version) || snap.Version < last {
			t.Fatalf("read %d: %+v after %d", reads, snap, last)
		}
		reads, last = reads+1, snap.Version
		select {
		case <-done:
			t.Logf("%d reads beside 200 writes", reads)
			return
		default:
		}
	}
}

// TestFolders: a folder is no key, empty keys are, and the guard shows nowhere.
func TestFolders(t *testing.T) {
	s := zktest.Start(t, zktest.Options{})[0]
	b := open(t, zookeeper.Config{Hosts: []string{s.Addr}})
	hints, err := b.Watch(within(t, limit), folder)
	if err != nil {
		t.Fatal(err)
	}
	x := session(t, b, 4*time.Second)
	put(t, b, "members/a", "{}", x)
	put(t, b, "initialize", "", nil)
	if err := x.Close(within(t, limit)); err != nil {
		t.Fatal(err)
	}
	snap, err := b.Read(within(t, limit), folder)
	if err != nil || len(snap.Entries) != 1 || snap.Entries[0].Key != folder+"initialize" || snap.Entries[0].Value == nil {
		t.Fatalf("%+v, %v", snap.Entries, err)
	}
	if all, err := b.Read(within(t, limit), "/"); err != nil || len(all.Entries) != 1 {
		t.Fatalf("everything: %+v, %v", all.Entries, err)
	}
	put(t, b, "config", "{}", nil)
	put(t, b, "config", "{1}", nil)
	for h := range hints {
		switch h.Key {
		case folder + "config":
			return
		case "", folder + "members/a":
		default:
			t.Fatalf("hint of %q", h.Key)
		}
	}
}

// TestOutside: keys that the guard does not protect, and requests that ZooKeeper cannot serve, are refused before anything is sent.
func TestOutside(t *testing.T) {
	b := open(t, zookeeper.Config{Hosts: []string{servertest.FreeAddress(t)}})
	for name, tx := range map[string]dcs.Txn{
		"another folder": {Do: []dcs.Write{{Key: "/service/other/leader"}}},
		"the guard":      {Do: []dcs.Write{{Key: folder + "tanist-guard"}}},
		"a condition":    {If: []dcs.Cond{{Key: "/leader", Absent: true}}},
		"contradictory":  {If: []dcs.Cond{{Key: folder + "leader", Absent: true, Version: 1}}},
	} {
		_, err := b.Apply(within(t, limit), tx)
		if err == nil || errors.Is(err, dcs.ErrUnavailable) || errors.Is(err, dcs.ErrUnknown) || errors.Is(err, dcs.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
