package dcstest

import (
	"fmt"
	"testing"

	"github.com/tanist-ha/tanist/dcs"
)

var txnTests = []test{
	{name: "txn/create-only", run: testCreateOnly},
	{name: "txn/each-condition", run: testEachCondition},
	{name: "txn/all-or-nothing", run: testAllOrNothing},
	{name: "txn/several-keys-one-version", run: testOneVersion},
	{name: "txn/compare-only", run: testCompareOnly},
	{name: "txn/aba", run: testABA},
	{name: "txn/while-the-leader-key-lives", run: testWhile},
	{name: "txn/rebind", run: testRebind},
}

func testCreateOnly(t *testing.T, s *suite) {
	b := s.open(t)
	tx := dcs.Txn{
		If: []dcs.Cond{{Key: s.key("leader"), Absent: true}},
		Do: []dcs.Write{{Key: s.key("leader"), Value: []byte("a")}},
	}
	s.must(t, b, tx)
	before := s.read(t, b)
	_, err := b.Apply(s.ctx, tx)
	s.refused(t, b, before, err, dcs.ErrConflict)
	s.put(t, b, "empty", "", nil)
	before = s.read(t, b)
	_, err = b.Apply(s.ctx, dcs.Txn{
		If: []dcs.Cond{{Key: s.key("empty"), Absent: true}},
		Do: []dcs.Write{{Key: s.key("empty"), Value: []byte("a")}},
	})
	s.refused(t, b, before, err, dcs.ErrConflict) // an empty value is not absence
}

func testEachCondition(t *testing.T, s *suite) {
	b := s.open(t)
	x := s.longSession(t, b)
	other := s.longSession(t, b)
	s.put(t, b, "k", "v1", x)
	s.put(t, b, "k", "v2", x)
	e := s.get(t, b, "k")
	k := s.key("k")
	cases := []struct {
		name  string
		cond  dcs.Cond
		holds bool
	}{
		{"version", dcs.Cond{Key: k, Version: e.Version}, true},
		{"another version", dcs.Cond{Key: k, Version: e.Version + 1}, false},
		{"older version", dcs.Cond{Key: k, Version: e.Created}, e.Created == e.Version},
		{"created", dcs.Cond{Key: k, Created: e.Created}, true},
		{"another created", dcs.Cond{Key: k, Created: e.Created + 1}, false},
		{"session", dcs.Cond{Key: k, Session: x.ID()}, true},
		{"another session", dcs.Cond{Key: k, Session: other.ID()}, false},
		{"value", dcs.Cond{Key: k, Value: []byte("v2")}, true},
		{"old value", dcs.Cond{Key: k, Value: []byte("v1")}, false},
		{"empty value", dcs.Cond{Key: k, Value: []byte{}}, false},
		{"all", dcs.Cond{Key: k, Version: e.Version, Created: e.Created, Session: x.ID(), Value: []byte("v2")}, true},
		{"all but value", dcs.Cond{Key: k, Version: e.Version, Created: e.Created, Session: x.ID(), Value: []byte("v")}, false},
		{"absent", dcs.Cond{Key: k, Absent: true}, false},
		{"absent key is absent", dcs.Cond{Key: s.key("no"), Absent: true}, true},
		{"absent key has no version", dcs.Cond{Key: s.key("no"), Version: e.Version}, false},
		{"absent key was not created", dcs.Cond{Key: s.key("no"), Created: e.Created}, false},
		{"absent key has no session", dcs.Cond{Key: s.key("no"), Session: x.ID()}, false},
		{"absent key has no value", dcs.Cond{Key: s.key("no"), Value: []byte("v2")}, false},
		{"absent key has not an empty value", dcs.Cond{Key: s.key("no"), Value: []byte{}}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tx := dcs.Txn{If: []dcs.Cond{c.cond}, Do: []dcs.Write{{Key: s.key("written"), Value: []byte(c.name)}}}
			before := s.read(t, b)
			_, err := b.Apply(s.ctx, tx)
			if !c.holds {
				s.refused(t, b, before, err, dcs.ErrConflict)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e := s.get(t, b, "written"); e == nil || string(e.Value) != c.name {
				t.Fatalf("applied, and the store holds %+v", e)
			}
		})
	}
}

func testAllOrNothing(t *testing.T, s *suite) {
	b := s.open(t)
	s.put(t, b, "sync", "s", nil)
	sync := s.get(t, b, "sync")
	tx := func(absent string) dcs.Txn {
		return dcs.Txn{
			If: []dcs.Cond{
				{Key: s.key("leader"), Absent: true},
				{Key: s.key("sync"), Version: sync.Version},
				{Key: s.key(absent), Absent: true},
			},
			Do: []dcs.Write{
				{Key: s.key("leader"), Value: []byte("a")},
				{Key: s.key("members/a"), Value: []byte("{}")},
				{Key: s.key("sync"), Delete: true},
			},
		}
	}
	before := s.read(t, b)
	_, err := b.Apply(s.ctx, tx("sync")) // the last of three conditions fails
	s.refused(t, b, before, err, dcs.ErrConflict)
	s.must(t, b, tx("failsafe"))
	if s.get(t, b, "leader") == nil || s.get(t, b, "members/a") == nil || s.get(t, b, "sync") != nil {
		t.Fatalf("after the transaction:\n%s", describe(s.read(t, b)))
	}
}

func testOneVersion(t *testing.T, s *suite) {
	b := s.open(t)
	a := s.must(t, b, dcs.Txn{Do: []dcs.Write{
		{Key: s.key("a"), Value: []byte("1")}, {Key: s.key("b"), Value: []byte("2")},
	}})
	for _, k := range []string{"a", "b"} {
		if e := s.get(t, b, k); e.Version != a.Version || e.Created != a.Version {
			t.Fatalf("%s has version %d, created %d; Applied said %d", k, e.Version, e.Created, a.Version)
		}
	}
}

func testCompareOnly(t *testing.T, s *suite) {
	b := s.open(t)
	s.put(t, b, "k", "v", nil)
	before := s.read(t, b)
	s.must(t, b, dcs.Txn{If: []dcs.Cond{{Key: s.key("k"), Value: []byte("v")}}})
	_, err := b.Apply(s.ctx, dcs.Txn{If: []dcs.Cond{{Key: s.key("k"), Value: []byte("w")}}})
	s.refused(t, b, before, err, dcs.ErrConflict)
}

// testABA: the same name and value, and the same number of writes, but another life: under the same session, another one, and none.
func testABA(t *testing.T, s *suite) {
	b := s.open(t)
	x, y := s.longSession(t, b), s.longSession(t, b)
	create := func(x dcs.Session) dcs.Entry {
		s.must(t, b, dcs.Txn{
			If: []dcs.Cond{{Key: s.key("leader"), Absent: true}},
			Do: []dcs.Write{{Key: s.key("leader"), Value: []byte("a"), Session: x}},
		})
		return *s.get(t, b, "leader")
	}
	drop := func(life dcs.Entry) dcs.Txn {
		return dcs.Txn{
			If: []dcs.Cond{{Key: s.key("leader"), Created: life.Created}},
			Do: []dcs.Write{{Key: s.key("leader"), Delete: true}},
		}
	}
	var lives []dcs.Entry
	for _, session := range []dcs.Session{x, x, y, nil} {
		now := create(session)
		for _, old := range lives {
			if old.Incarnation() == now.Incarnation() {
				t.Fatalf("two lives are %+v", old.Incarnation())
			}
			before := s.read(t, b)
			_, err := b.Apply(s.ctx, drop(old))
			s.refused(t, b, before, err, dcs.ErrConflict)
			_, err = b.Apply(s.ctx, dcs.Txn{If: []dcs.Cond{{Key: s.key("leader"), Version: old.Version}}, Do: drop(old).Do})
			s.refused(t, b, before, err, dcs.ErrConflict)
		}
		s.must(t, b, drop(now))
		lives = append(lives, now)
	}
}

// testWhile: what a leader writes, he writes only while the life of the leader key is the one that he holds; its later writes do not matter.
func testWhile(t *testing.T, s *suite) {
	b, operator := s.open(t), s.open(t)
	x, y := s.longSession(t, b), s.longSession(t, b)
	s.put(t, b, "leader", "a", x)
	life := s.get(t, b, "leader").Incarnation()
	n := 0
	status := func() dcs.Txn {
		n++
		return dcs.Txn{
			If: []dcs.Cond{{Key: life.Key, Created: life.Created, Session: x.ID(), Value: []byte("a")}},
			Do: []dcs.Write{{Key: s.key("status"), Value: fmt.Append(nil, n)}, {Key: s.key("history"), Value: fmt.Append(nil, n)}},
		}
	}
	s.must(t, b, status())
	s.put(t, b, "leader", "a", x) // written again, and the same life
	s.must(t, b, status())
	for _, change := range []func(){
		func() { s.put(t, operator, "leader", "b", x) },
		func() { s.delete(t, operator, "leader") },
		func() { s.put(t, operator, "leader", "a", x) },
		func() { s.delete(t, operator, "leader"); s.put(t, operator, "leader", "a", y) },
		func() { s.delete(t, operator, "leader"); s.put(t, operator, "leader", "a", nil) },
	} {
		change()
		if e := s.get(t, b, "leader"); e != nil && e.Incarnation() == life && string(e.Value) == "a" {
			t.Fatalf("another life is called %+v", life)
		}
		before := s.read(t, b)
		_, err := b.Apply(s.ctx, status())
		s.refused(t, b, before, err, dcs.ErrConflict)
	}
}

// testRebind moves two keys from one session to another in one transaction, as a changed TTL does.
func testRebind(t *testing.T, s *suite) {
	b := s.open(t)
	old, fresh := s.longSession(t, b), s.longSession(t, b)
	s.put(t, b, "leader", "a", old)
	s.put(t, b, "members/a", "{}", old)
	tx := dcs.Txn{
		If: []dcs.Cond{
			{Key: s.key("leader"), Session: old.ID(), Value: []byte("a")},
			{Key: s.key("members/a"), Session: old.ID()},
		},
		Do: []dcs.Write{
			{Key: s.key("leader"), Value: []byte("a"), Session: fresh},
			{Key: s.key("members/a"), Value: []byte("{}"), Session: fresh},
		},
	}
	s.must(t, b, tx)
	before := s.read(t, b)
	_, err := b.Apply(s.ctx, tx) // its conditions do not hold any more
	s.refused(t, b, before, err, dcs.ErrConflict)
	if err := old.Close(s.ctx); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"leader", "members/a"} {
		if e := s.get(t, b, k); e == nil || e.Session != fresh.ID() {
			t.Fatalf("%s after the old session's end: %+v, want it under %s", k, e, fresh.ID())
		}
	}
	s.put(t, b, "leader", "a", nil) // a write without a session unbinds
	if err := fresh.Close(s.ctx); err != nil {
		t.Fatal(err)
	}
	if e := s.get(t, b, "leader"); e == nil || e.Session != "" {
		t.Fatalf("an unbound key after the end of its former session: %+v", e)
	}
	if e := s.get(t, b, "members/a"); e != nil {
		t.Fatalf("a bound key after the end of its session: %+v", e)
	}
}
