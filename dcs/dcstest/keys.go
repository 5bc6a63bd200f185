package dcstest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/tanist-ha/tanist/dcs"
)

func itoa(v dcs.Version) string { return strconv.FormatInt(int64(v), 10) }

var keyTests = []test{
	{name: "keys/write-read-delete", run: testCRUD},
	{name: "keys/read-sees-what-was-written", run: testFresh},
	{name: "keys/sorted-and-exact-prefix", run: testSorted},
	{name: "keys/large-value", run: testLargeValue},
	{name: "keys/any-bytes", run: testAnyBytes},
	{name: "keys/own-copy", run: testOwnCopy},
	{name: "keys/store-id", run: testStoreID},
}

func testCRUD(t *testing.T, s *suite) {
	a, b := s.open(t), s.open(t)
	if n := len(s.read(t, a).Entries); n != 0 {
		t.Fatalf("a fresh folder has %d entries", n)
	}
	first := s.put(t, a, "k", "one", nil)
	e := s.get(t, b, "k")
	if e == nil || string(e.Value) != "one" || e.Session != "" || e.Version == 0 || e.Created == 0 {
		t.Fatalf("another handle reads %+v", e)
	}
	if e.Version != first.Version || e.Created != first.Version {
		t.Fatalf("entry says version %d, created %d; Applied said %d", e.Version, e.Created, first.Version)
	}
	second := s.put(t, b, "k", "two", nil)
	e2 := s.get(t, a, "k")
	if e2 == nil || string(e2.Value) != "two" {
		t.Fatalf("after a second write: %+v", e2)
	}
	if e2.Created != e.Created || e2.Version == e.Version || e2.Version != second.Version {
		t.Fatalf("second write: entry %+v, first %+v, applied %+v", e2, e, second)
	}
	s.put(t, a, "k", "", nil)
	if e := s.get(t, b, "k"); e == nil || len(e.Value) != 0 {
		t.Fatalf("empty value: %+v", e)
	}
	s.delete(t, a, "k")
	if e := s.get(t, b, "k"); e != nil {
		t.Fatalf("after deletion: %+v", e)
	}
	s.delete(t, a, "k") // absent: no error
}

// testFresh: a Read sees all writes that ended before it, whoever made them.
func testFresh(t *testing.T, s *suite) {
	a, b := s.open(t), s.open(t)
	for i := range 30 {
		want := fmt.Sprint(i)
		s.put(t, a, "k", want, nil)
		if e := s.get(t, b, "k"); e == nil || string(e.Value) != want {
			t.Fatalf("%s was written, and another handle reads %+v", want, e)
		}
		if i%3 == 2 {
			a, b = b, a
		}
	}
}

func testSorted(t *testing.T, s *suite) {
	b := s.open(t)
	for _, k := range []string{"m/b", "z", "a", "m/a", "m/c", "b", "m/a-b"} {
		s.put(t, b, k, k, nil)
	}
	var got []string
	for _, e := range s.read(t, b).Entries {
		got = append(got, e.Key[len(s.prefix):])
	}
	if want := []string{"a", "b", "m/a", "m/a-b", "m/b", "m/c", "z"}; !slices.Equal(got, want) {
		t.Fatalf("got keys %v, want %v", got, want)
	}
	snap, err := b.Read(s.ctx, s.prefix+"m/")
	if err != nil || len(snap.Entries) != 4 {
		t.Fatalf("read of a subfolder: %d entries, %v", len(snap.Entries), err)
	}
}

func testLargeValue(t *testing.T, s *suite) {
	b := s.open(t)
	big := bytes.Repeat([]byte("tanist! "), 64<<10) // 512 KiB
	s.put(t, b, "big", string(big), nil)
	if e := s.get(t, b, "big"); e == nil || !bytes.Equal(e.Value, big) {
		t.Fatal("512 KiB did not come back as written")
	}
}

func testAnyBytes(t *testing.T, s *suite) {
	b := s.open(t)
	raw := make([]byte, 256)
	for i := range raw {
		raw[i] = byte(i)
	}
	s.put(t, b, "raw", string(raw), nil)
	if e := s.get(t, b, "raw"); e == nil || !bytes.Equal(e.Value, raw) {
		t.Fatalf("bytes did not come back as written: %q", e.Value)
	}
	s.must(t, b, dcs.Txn{If: []dcs.Cond{{Key: s.key("raw"), Value: raw}}}) // and compare
}

func testOwnCopy(t *testing.T, s *suite) {
	b := s.open(t)
	v := []byte("before")
	s.must(t, b, dcs.Txn{Do: []dcs.Write{{Key: s.key("k"), Value: v}}})
	copy(v, "after!")
	if e := s.get(t, b, "k"); string(e.Value) != "before" {
		t.Fatalf("the caller's later change of his buffer shows in the store: %q", e.Value)
	}
}

func testStoreID(t *testing.T, s *suite) {
	a, b := s.open(t), s.open(t)
	if x, y := s.read(t, a).StoreID, s.read(t, b).StoreID; x != y {
		t.Fatalf("two handles on one store read identities %q and %q", x, y)
	}
	last := s.read(t, a).Version
	for i := range 5 {
		s.put(t, b, "k", fmt.Sprint(i), nil)
		v := s.read(t, a).Version
		if v < last || (last != 0 && v == last) {
			t.Fatalf("version of a read went from %d to %d over a write", last, v)
		}
		last = v
	}
}
